"""Importing ahead: which imports a container notes, and how a zygote handles each package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path that counts as installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def python(code: str, *paths: Path) -> Any:
    """What a fresh interpreter prints, as JSON."""
    path = os.pathsep.join(map(str, (*paths, *sys.path)))
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ahead(folder: Path, *names: str) -> dict[str, Any]:
    code = f"import json; from inrush.guest.ahead import import_ahead; print(json.dumps(import_ahead({list(names)!r})))"
    report: dict[str, Any] = python(code, folder)
    return report


SLOW = "import time; time.sleep(0.002)\n"


def test_outermost_installed_imports_are_noted_once_and_the_functions_own_files_are_not(
    installed: Path, tmp_path: Path
) -> None:
    (installed / "outer.py").write_text(SLOW + "import inner")
    (installed / "inner.py").write_text(SLOW)
    (tmp_path / "own.py").write_text(SLOW + "import outer")
    code = """
        import json
        from inrush.guest.learn import Imports
        imports = Imports()
        import own, outer, inner, wave
        first = imports.take()
        print(json.dumps([first, imports.take(), imports.fresh]))
    """
    first, second, fresh = python(code, tmp_path, installed)
    assert [name for name, _ in first] == ["outer"]
    assert first[0][1] >= 4
    assert (second, fresh) == ([], False)


def test_packages_are_imported_in_order_and_told_with_their_times(installed: Path) -> None:
    for name in ("one", "two"):
        (installed / f"{name}.py").write_text("")
    report = ahead(installed, "one", "two")
    assert report["ok"]
    assert [name for name, _ in report["imported"]] == ["one", "two"]


def test_a_package_that_cannot_be_imported_is_skipped_and_the_next_is_imported(installed: Path) -> None:
    (installed / "bad.py").write_text("raise RuntimeError('no model chosen')")
    (installed / "good.py").write_text("")
    report = ahead(installed, "bad", "good")
    assert report["ok"]
    assert "no model chosen" in report["skipped"]["bad"]
    assert [name for name, _ in report["imported"]] == ["good"]


@pytest.mark.parametrize(
    ("leaves", "named"),
    [
        (
            "import threading; threading.Thread(target=threading.Event().wait, name='ticker', daemon=True).start()",
            "ticker",
        ),
        ("import socket; kept = socket.socket()", "socket"),
        ("import subprocess; kept = subprocess.Popen(['sleep', '2'], stdout=-3, stderr=-3)", "sleep"),
    ],
    ids=["thread", "socket", "process"],
)
def test_a_package_that_leaves_something_behind_is_named(installed: Path, leaves: str, named: str) -> None:
    (installed / "leaver.py").write_text(leaves)
    (installed / "after.py").write_text("")
    report = ahead(installed, "leaver", "after")
    assert not report["ok"]
    assert report["offender"] == "leaver"
    assert named in report["why"]


def test_a_file_of_the_function_comes_before_a_package_that_was_imported_ahead(installed: Path, tmp_path: Path) -> None:
    (installed / "tools.py").write_text("WHOSE = 'installed'")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tools.py").write_text("WHOSE = 'own'")
    code = f"""
        import json, sys
        from inrush.guest.ahead import import_ahead, make_way
        import_ahead(["tools"])
        make_way({str(tmp_path / "own")!r}, ["tools"])
        sys.path.insert(0, {str(tmp_path / "own")!r})
        import tools
        print(json.dumps(tools.WHOSE))
    """
    assert python(code, installed) == "own"
