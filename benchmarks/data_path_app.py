"""The functions that `data_path.py` calls."""

from __future__ import annotations

import pickle
from typing import Any

import inrush

app = inrush.App("bench-calls")
large = inrush.App("bench-large")


class Block:
    """Pickles as a numpy array does, with its buffer out of band, and needs no package."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Block, (pickle.PickleBuffer(self.data),)

    def touch(self) -> int:
        """Reads a byte of each page."""
        return sum(self.data[::4096])


@app.function(max_containers=10, min_containers=10, cpu=0.1)
@inrush.concurrent(max_inputs=64)
def many(x: int) -> int:
    return x


@app.function(max_containers=10, min_containers=10, cpu=0.1)
def single(x: int) -> int:
    return x


@large.function(memory=4096)
def touched(block: Block) -> int:
    return block.touch()


@large.function(memory=4096)
def made(size: int) -> Block:
    return Block(b"x" * size)
