"""Text that others wrote is shown to people as text, and their terminal never interprets it as commands."""

from __future__ import annotations

import ast
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inrush.cli
from inrush import wire
from inrush.cli import api
from inrush.cli.screen import failures, output, screen
from inrush.client import _output
from inrush.client._traceback import RemoteTraceback
from inrush.shown import RESET, harmless

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202efdp.exe\u2066\u2028\x85\x0b\x0c\x08\U000e0041"
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_KEPT = "\n\t\u200c\u200d"
"""Joiners are part of how words of some scripts, and emoji, are written."""


def is_obeyed(text: str) -> bool:
    """Whether a terminal would do something else with it than show it in colours."""
    rest = _COLOUR.sub("", text)
    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") and c not in _KEPT for c in rest) or any(
        unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") for c in rest
    )


@given(st.text(st.characters(codec=None)) | st.lists(st.sampled_from(list(HOSTILE) + list("[]0;m "))).map("".join))
def test_no_text_is_obeyed(text: str) -> None:
    assert not is_obeyed(harmless(text))


def test_words_of_all_scripts_and_colours_are_shown_as_they_are() -> None:
    for text in ("plain", "Grüße\t日本語\u3000です", "👩‍💻 שלום", "two\nlines", f"\x1b[31mred{RESET} and more{RESET}"):
        assert harmless(text) == text
    assert harmless("\x1b[7mto the end") == f"\x1b[7mto the end{RESET}"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    seen = capsys.readouterr()
    assert not is_obeyed(seen.out + seen.err)
    return (seen.out + seen.err).splitlines()


def test_each_line_of_a_log_stands_behind_its_container(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"one\nerror: forged\n{HOSTILE}forged\n"
    output.Plain().log(wire.Log(1, 0.0, "co-1", "f", "", "stdout", text))
    screen.log_line({"container": "co-1", "stream": "stdout", "text": text}, machine=False)
    shown = lines(capsys)
    assert len(shown) == 6
    assert all(line.startswith("co-1 ") for line in shown)


def test_builds_waits_tables_and_facts_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    for plain in (output.Plain(patience_s=0), _output.Lines()):
        plain.log(wire.Log(1, 0.0, "co-1", "f", "", "stderr", HOSTILE))
        plain.progress(wire.Progress(1, "step", HOSTILE))
        plain.progress(wire.Progress(1, "line", HOSTILE))
    _output.Lines().state(wire.State(1, "waiting", HOSTILE, "", HOSTILE))
    screen.table(("name",), [(HOSTILE,)])
    screen.facts({"name": HOSTILE, "more": [{"name": HOSTILE}]})
    screen.listing([{"name": HOSTILE}], machine=True, columns=("name",))
    assert lines(capsys)


def test_what_rich_draws_is_words() -> None:
    assert not is_obeyed(screen.drawn(HOSTILE).plain)
    assert screen.drawn(f"\x1b[31mred{RESET}").plain == "red"


def test_an_exception_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (inrush.errors.ExecutionError(HOSTILE), ValueError(HOSTILE)):
        error.__cause__ = RemoteTraceback(f"Traceback:\n{HOSTILE}")
        error.add_note(HOSTILE)
        failures.report(error)
    assert lines(capsys)


def test_a_line_of_the_api_ends_where_json_ends_it() -> None:
    text = '{"text": "a\u2028b\x85c\x0cd"}\n'.encode()
    pieces: Any = iter([text[:12], text[12:] + text, b"\n" + text[:-1]])
    assert list(api._lines(pieces)) == [text[:-1]] * 3


def test_all_commands_print_by_one_way() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(inrush.cli.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "click.secho")
        if path.name != "screen.py" and "rivals" not in path.parts  # those are programs of their own
    ]
    assert found == []
