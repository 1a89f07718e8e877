"""Functions that do nothing, so that what is measured is what is around them."""

import inrush

app = inrush.App("bench-calls")


@app.function(min_containers=1)
def nothing(x: int) -> int:
    return x


@app.function(min_containers=10, max_containers=10, cpu=0.1)
@inrush.concurrent(max_inputs=64)
def durable(x: int) -> int:
    return x
