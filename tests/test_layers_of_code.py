"""House rules that are no lint: sizes of files and functions, names of modules, and what is loaded when.

Import layers, types, style and formatting are checked by `make lint`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "inrush").rglob("*.py"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_file_is_short_and_opens_with_what_it_is_for(path: Path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module begins with a docstring that says what it is for"
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno + 1 > LONGEST_FUNCTION}
    assert not long


def test_no_module_has_a_name_that_says_nothing():
    assert not [path for path in SOURCES if VAGUE_NAMES & {path.stem, *path.parent.parts}]


def test_importing_inrush_loads_neither_asyncio_nor_a_transport():
    heavy = ("asyncio", "httpx", "websockets", "starlette", "uvicorn", "sqlalchemy", "rich", "click", "cryptography")
    code = f"import inrush, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_verb_and_nothing_heavy():
    heavy = ("rich", "httpx", "asyncio", "inrush.client", "inrush.server", "msgspec")
    code = (
        "import sys; from inrush.cli.screen.failures import status_of; from inrush.cli.verbs import root;"
        f"assert status_of(root, ['--help']) == 0; print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
