"""Functions that do nothing, so that what is measured is what is around them."""

import inrush

app = inrush.App("bench-nothing")


@app.function()
def nothing(x: int) -> int:
    return x


@app.function(max_containers=1)
@inrush.concurrent(max_inputs=64)
def many(x: int) -> int:
    return x
