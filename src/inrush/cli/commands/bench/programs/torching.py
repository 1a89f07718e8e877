"""A function that imports torch, in no snapshot: its app's zygote learns that, and does it ahead."""

from recipe import image

import inrush

app = inrush.App("bench-torch")


@app.function(image=image)
def uses_torch(x: int) -> float:
    import torch

    return float(torch.ones(2).sum())


@app.function(image=image)
def plain(x: int) -> float:
    """Milliseconds in which a fresh interpreter imports torch."""
    import subprocess
    import sys
    import time

    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch; float(torch.ones(2).sum())"], check=True)
    return (time.monotonic() - began) * 1000
