"""Every decision script says what the core decides. On purpose: `python tests/scripts/play.py --rewrite`."""

from __future__ import annotations

import difflib

import pytest

from scripts.play import HERE, written_anew

SCRIPTS = sorted(path.name for path in HERE.glob("*.txt"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_core_decides_as_the_script_says(name: str) -> None:
    script = (HERE / name).read_text()
    changes = difflib.unified_diff(script.splitlines(), written_anew(script).splitlines(), name, "decided now", n=2)
    assert not "\n".join(changes), "decisions changed; if on purpose, run: python tests/scripts/play.py --rewrite"


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 8
