"""The functions that `data_path.py` calls."""

import inrush

app = inrush.App("bench-data-path")


@app.function(max_containers=10, min_containers=10)
@inrush.concurrent(max_inputs=64)
def many(x: int) -> int:
    return x


@app.function(max_containers=10, min_containers=10)
def single(x: int) -> int:
    return x


@app.function(memory=4096)
def total(array):  # type: ignore[no-untyped-def]
    return int(array.sum())


@app.function(memory=4096)
def zeros(count: int):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.zeros(count)
