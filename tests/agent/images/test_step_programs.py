"""What a step becomes before it is run, and what its output becomes before it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.images.imaging import pip, run, step
from inrush.agent.images.base import Base
from inrush.agent.images.build import MAX_LINE_CHARS, clean
from inrush.agent.images.steps import UV, program, understood_by_uv
from inrush.errors import ImageBuildError, InvalidError

DEBIAN = Base(("l",), "/usr/bin/python3.11", "3.11", release="bookworm")
HOST = Base(("l",), "/opt/inrush/venv/bin/python3.11", "3.11")


@pytest.mark.parametrize(
    ("options", "uv"),
    [
        ([], True),
        (["--no-deps", "-U", "--index-url", "https://x/"], True),
        (["--index-url=https://x/", "-c", "/c.txt"], True),
        (["--use-pep517"], False),
        (["--no-deps", "--user"], False),
        (["--index-url"], False),
        (["-c", "--ignore-installed"], True),
    ],
)
def test_options_go_to_uv_where_it_means_the_same_by_them(options: list[str], uv: bool) -> None:
    assert understood_by_uv(options) is uv


def test_packages_that_look_like_options_are_still_packages() -> None:
    argv = program(pip("--target=/etc", "six"), DEBIAN, {}).argv
    assert argv == (UV, "pip", "install", "--python", "/usr/bin/python3.11", "--", "--target=/etc", "six")


def test_places_to_find_packages_and_prereleases_are_said_in_options() -> None:
    asked = pip("x", index_url="https://i/", extra_index_url=["https://e/"], find_links=["https://f/"], pre=True)
    assert program(asked, DEBIAN, {}).argv[5:] == (
        "--index-url=https://i/",
        "--extra-index-url=https://e/",
        "--find-links=https://f/",
        "--pre",
        "--",
        "x",
    )


def test_options_of_uv_itself_are_passed_on_as_they_are() -> None:
    asked = program(pip("x", uv=True, extra_options="--exclude-newer 2026-01-01 --offline"), HOST, {})
    assert asked.argv[:9] == (
        UV,
        "pip",
        "install",
        "--python",
        HOST.python,
        "--exclude-newer",
        "2026-01-01",
        "--offline",
        "--",
    )


def test_requirements_files_are_bound_one_by_one() -> None:
    made = program(pip(), HOST, {"requirements.txt": [Path("/b/1"), Path("/b/2")]})
    assert [bind.src for bind in made.binds] == ["/b/1", "/b/2"]
    assert [a for a in made.argv if a.startswith("--requirement")] == [f"--requirement={b.dst}" for b in made.binds]


def test_steps_without_anything_to_install_or_run_are_refused() -> None:
    for empty in (pip(), step("apt"), step("function", name="f")):
        with pytest.raises(InvalidError, match="image step"):
            program(empty, DEBIAN, {})
    with pytest.raises(InvalidError, match="runs no program"):
        program(step("copy"), DEBIAN, {})


def test_apt_needs_a_debian() -> None:
    assert program(step("apt", packages=["curl"]), DEBIAN, {}).argv[-1] == "curl"
    with pytest.raises(ImageBuildError, match=r"Image\.debian_slim\(\)"):
        program(step("apt", packages=["curl"]), HOST, {})


def test_commands_are_one_script_that_ends_at_the_first_failure() -> None:
    assert program(run("cd /x", "make"), HOST, {}).argv == ("/bin/sh", "-e", "-c", "cd /x\nmake")


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"plain", ["plain"]),
        (b"  indented \r", ["  indented "]),
        (b"", []),
        (b"   ", []),
        (b"10%\r50%\r100%", ["100%"]),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x07", ["red text"]),
        (b"https://user:pass@host/path and http://tok@h/", ["https://host/path and http://h/"]),
        (b"\xff\xfe", ["\ufffd\ufffd"]),
        (b"x" * 5000, ["x" * (MAX_LINE_CHARS - 1) + "…"]),
    ],
)
def test_output_is_shown_without_control_characters_credentials_or_endless_lines(raw: bytes, lines: list[str]) -> None:
    assert list(clean(raw)) == lines
