"""A function in containers of its own image, called once and many times.

inrush run examples/hello.py --n 100        (where there is no A10G: INRUSH_GPUS=A10G:8)
"""

import inrush

app = inrush.App("hello")
image = inrush.Image.debian_slim().pip_install("numpy")


@app.function(image=image, gpu="A10G", timeout=60)
def norm(xs: list[float]) -> float:
    import numpy

    return float(numpy.linalg.norm(xs))


@app.local_entrypoint()
def main(n: int = 1000):
    print(norm.remote([3.0, 4.0]))
    print(sum(norm.map([float(i), 1.0] for i in range(n))))
