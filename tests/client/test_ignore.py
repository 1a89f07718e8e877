"""Patterns of files, by Docker's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from inrush import FilePatternMatcher
from inrush.client._ignore import ignore
from inrush.client._tar import tree
from inrush.errors import InvalidError

CASES: list[tuple[list[str], str, bool]] = [
    (["*.py[co]"], "a.pyc", True),
    (["*.py[co]"], "a.py", False),
    (["*.py[co]"], "d/a.pyc", False),
    (["**/*.py[co]"], "d/e/a.pyo", True),
    (["[^a]"], "b", True),
    (["[^a]"], "a", False),
    (["[a-c]x"], "bx", True),
    (["[a-c]x"], "dx", False),
    (["*", "!d/keep.py"], "d/keep.py", False),
    (["*", "!d/keep.py"], "d/x.py", True),
    (["d", "!d/keep.py", "d/keep.*"], "d/keep.py", True),
    (["./b"], "b/o", True),
    (["a//b"], "a/b", True),
    (["a/../b"], "b", True),
    (["/b/"], "b/o", True),
    (["  b  "], "b", True),
    (["! b", "b"], "b", True),
    (["b", "! b"], "b", False),
    ([r"\*"], "*", True),
    ([r"\*"], "a", False),
    ([r"a\?b"], "a?b", True),
    (["a.b"], "axb", False),
    (["a+(b)|{c}$"], "a+(b)|{c}$", True),
    (["**"], "a/b", True),
    (["**/b"], "b", True),
    (["**/b"], "a/c/b/d", True),
    (["a/**/z"], "a/z", True),
    (["a/**/z"], "a/b/c/z", True),
    (["a/**"], "a", False),
    (["a**z"], "a/b/z", True),
    (["a?c"], "abc", True),
    (["a?c"], "a/c", False),
    (["", "  "], "a", False),
]


@pytest.mark.parametrize(("patterns", "path", "matched"), CASES)
def test_a_pattern_matches_what_docker_matches(patterns: list[str], path: str, matched: bool) -> None:
    assert FilePatternMatcher(*patterns)(Path(path)) is matched
    assert (~FilePatternMatcher(*patterns))(Path(path)) is not matched


@pytest.mark.parametrize("pattern", ["[a", "!", "! ", "[z-a]"])
def test_a_pattern_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="pattern"):
        FilePatternMatcher(pattern)


def test_one_string_is_one_pattern() -> None:
    assert ignore("*.pyc")(Path("a.pyc"))
    assert not ignore("*.pyc")(Path("c"))


def test_a_file_of_patterns_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes("\ufeff# no pattern\n*.log\r\n\n!keep.log\n".encode())
    matcher = FilePatternMatcher.from_file(tmp_path / ".dockerignore")
    assert [matcher(Path(name)) for name in ("a.log", "keep.log", "# no pattern")] == [True, False, False]


def named(folder: Path, *patterns: str) -> list[str]:
    return sorted(name for name, _ in tree(folder, "", FilePatternMatcher(*patterns)))


def test_what_is_taken_back_below_an_ignored_folder_is_sent(tmp_path: Path) -> None:
    for name in ("a.pyc", "d/keep.py", "d/x.py", "b/o"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert named(tmp_path, "*", "!d/keep.py") == ["/d/keep.py"]
    assert named(tmp_path, "*.py[co]", "./b") == ["/d/keep.py", "/d/x.py"]
    only = sorted(name for name, _ in tree(tmp_path, "", ~FilePatternMatcher("**/*.py")))
    assert only == ["/d/keep.py", "/d/x.py"]


def test_links_and_empty_folders_are_sent_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    (inner / "real").mkdir(parents=True)
    (inner / "real" / "x").write_text("")
    (inner / "empty").mkdir()
    outer.mkdir()
    (outer / "y").write_text("")
    (inner / "link").symlink_to("real")
    (inner / "file").symlink_to("real/x")
    (inner / "away").symlink_to(outer)
    (inner / "dangling").symlink_to("not-there")
    sent = dict(tree(inner, "/u", lambda path: False))
    assert sorted(sent) == ["/u/away/y", "/u/dangling", "/u/empty", "/u/file", "/u/link", "/u/real/x"]
    assert getattr(sent["/u/link"], "target", "") == "real"
    (inner / "gone").symlink_to("/not/there")
    with pytest.raises(InvalidError, match="gone"):
        tree(inner, "/u", lambda path: False)
    (inner / "gone").unlink()
    (inner / "around").symlink_to(tmp_path)
    with pytest.raises(InvalidError, match="around"):
        tree(inner, "/u", lambda path: False)


def test_an_empty_folder_is_a_folder(tmp_path: Path) -> None:
    assert tree(tmp_path, "/u/", lambda path: False) == [("/u", tmp_path)]
