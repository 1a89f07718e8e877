"""Pages that lead through the code name files and functions that exist, and lines of docs are short."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "inrush"
STEP = re.compile(r"`(?P<file>[a-z_/]+\.py)`, `(?P<name>[A-Za-z_.]+)`")
PAGES = ("a-calls-way.md", "a-containers-start.md")
LONGEST_LINE = 120
OF_NUMBERS = {"autoscaling-compared.md", "benchmarks.md"}
"""Pages whose tables of measured numbers may be wider."""


def steps() -> list[tuple[str, str]]:
    return [(found["file"], found["name"]) for page in PAGES for found in STEP.finditer(text(page))]


def text(page: str) -> str:
    """The page with its lines joined, since a step may span two."""
    return re.sub(r"\n +", " ", (ROOT / "docs" / page).read_text())


@pytest.mark.parametrize(("file", "name"), steps())
def test_a_step_names_a_function_of_its_file(file: str, name: str) -> None:
    tree = ast.parse((SOURCE / file).read_text())
    assert name in names(tree.body), f"{file} has no {name}: the page that leads through it is out of date"


def names(body: list[ast.stmt], before: str = "") -> set[str]:
    """Functions and classes, and methods behind the name of their class."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(before + node.name)
        if isinstance(node, ast.ClassDef):
            found |= names(node.body, f"{before}{node.name}.")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_steps_are_numbered_in_order_and_each_names_where_it_happens(page: str) -> None:
    lines = [line for line in text(page).splitlines() if re.match(r"\d+\. ", line)]
    assert [int(line.partition(".")[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert not [line for line in lines if not STEP.match(line.partition(". ")[2])]


def test_no_other_file_of_src_is_named_on_a_page_without_being_there() -> None:
    named = {file for page in PAGES for file in re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", text(page))}
    assert not [file for file in named if not (SOURCE / file).exists()]


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_lines_of_docs_are_short(path: Path) -> None:
    """Paragraphs are wrapped, and a table whose rows are long is a list instead."""
    lines = path.read_text().splitlines()
    wide = [number for number, line in enumerate(lines, 1) if len(line) > LONGEST_LINE]
    assert not [number for number in wide if not (path.name in OF_NUMBERS and lines[number - 1].startswith("|"))]
