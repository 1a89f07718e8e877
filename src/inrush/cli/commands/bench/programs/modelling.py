"""A small language model that is loaded before the snapshot, and the same loaded by a plain interpreter."""

import smollm
from recipe import image

import inrush

app = inrush.App("bench-model")

PLAIN = """
import sys, time
sys.path.insert(0, "/root")
import smollm
parts = smollm.load()
ready = time.monotonic()
smollm.say(*parts, "The capital of France is", 8)
print((ready - float(sys.argv[1])) * 1000, smollm.pss_mib(["self"]))
"""


@app.cls(image=image, timeout=120, startup_timeout=300, enable_memory_snapshot=True)
class Model:
    @inrush.enter(snap=True)
    def load(self):
        self.parts = smollm.load()

    @inrush.method()
    def generate(self, prompt: str, max_tokens: int) -> tuple[float, str]:
        """When it began to run, on the clock that all processes of a machine share, and what the model says."""
        import time

        began = time.monotonic()
        return began, smollm.say(*self.parts, prompt, max_tokens)

    @inrush.method()
    def weigh(self, prompt: str, until: float) -> tuple[str, float, bool]:
        """The container, its memory once it has answered and all others have too, and whether it was in time."""
        import os
        import time

        smollm.say(*self.parts, prompt, 8)
        in_time = time.monotonic() < until
        time.sleep(max(0.0, until - time.monotonic()))
        mib = smollm.pss_mib()
        time.sleep(1.0)  # while the others weigh themselves, it is there to share with
        return os.environ["INRUSH_CONTAINER_ID"], mib, in_time


@app.function(image=image, timeout=300, memory=2048)
def plain(x: int) -> tuple[float, float]:
    """Milliseconds until a fresh interpreter could generate, and its memory in MiB."""
    import subprocess
    import sys
    import time

    command = [sys.executable, "-c", PLAIN, str(time.monotonic())]
    milliseconds, mib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(milliseconds), float(mib)
