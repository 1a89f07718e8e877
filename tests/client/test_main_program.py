"""In a program that is run by `python program.py`, its classes and functions are the same objects in its containers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

PROGRAM = """
    import inrush

    app = inrush.App()
    print("top level of", __name__)

    class Thing:
        def __init__(self, x):
            self.x = x

    class Refused(Exception):
        pass

    @app.function()
    def double(thing):
        assert isinstance(thing, Thing), type(thing)
        return Thing(2 * thing.x)

    @app.function()
    def refuse(with_):
        raise Refused(with_(3))

    if __name__ == "__main__":
        with app.run():
            got = double.remote(Thing(4))
            assert isinstance(got, Thing), type(got)
            try:
                refuse.remote(lambda n: n + got.x)
            except Refused as refused:
                print("refused with", refused)
"""


def test_its_classes_functions_and_exceptions_keep_their_identity(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "own_program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run([sys.executable, str(path)], env=server.env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "top level of __main__\nrefused with 11\n", done.stderr
