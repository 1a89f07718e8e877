"""A function that reads all of a large array."""

from recipe import image

import inrush

app = inrush.App("bench-payload")


@app.function(image=image, memory=2048, min_containers=1, max_containers=1)
def total(array) -> float:
    return float(array.sum())
