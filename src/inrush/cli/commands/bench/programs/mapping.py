"""Functions that do nothing, in containers of one and of 64 slots."""

import inrush

app = inrush.App("bench-maps")


@app.function(min_containers=10, max_containers=10, cpu=0.1)
@inrush.concurrent(max_inputs=64)
def ten(x: int) -> int:
    return x


@app.function(max_containers=1)
@inrush.concurrent(max_inputs=64)
def one(x: int) -> int:
    return x


@app.function(min_containers=10, max_containers=10, cpu=0.1)
def single(x: int) -> int:
    return x
