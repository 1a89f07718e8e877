"""The smallest program: a function that runs in a container.

inrush run examples/hello.py --name you
"""

import os

import inrush

app = inrush.App("hello")


@app.function()
def greet(name: str) -> str:
    where = os.environ.get("INRUSH_CONTAINER_ID", "no container")
    return f"Hello, {name}, from {where}"


@app.local_entrypoint()
def main(name: str = "world"):
    print(greet.remote(name))
    print(greet.local(name))
