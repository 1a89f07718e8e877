"""The program of a `function` step, run inside the image: it calls the function in a cloudpickle."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys


def main(path: str) -> None:
    """Calls the function in the pickle at `path` with its arguments."""
    sys.dont_write_bytecode = True  # the source goes again after the step, and so must its bytecode
    sys.path.insert(0, "/root")
    sys.path += ["/opt/inrush/lib", "/opt/inrush/deps"]
    with open(path, "rb") as file:
        function, args, kwargs = pickle.load(file)  # noqa: S301 (the user's own, in the user's image)
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result):
        asyncio.run(result)


if __name__ == "__main__":
    main(sys.argv[1])
