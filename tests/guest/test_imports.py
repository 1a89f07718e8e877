"""The modules that an executed guest imports before it can serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import inrush

SLOW = {"ast", "asyncio", "ctypes", "dataclasses", "inspect", "pathlib", "subprocess", "traceback", "urllib.parse"}
"""Modules of the standard library that take long to import, and that most guests do without."""
OURS = {"inrush.wire", "inrush.client", "inrush.guest.template", "inrush.guest.fork", "inrush.guest.site"}


def test_a_guest_is_there_without_what_only_some_need() -> None:
    path = str(Path(inrush.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {path!r}); import inrush.guest.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "inrush.guest.main" in loaded
    assert loaded & (SLOW | OURS) == set()


def test_a_zygote_has_it_all() -> None:
    code = "import sys, inrush.guest.warm; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (SLOW | OURS) - set(done.stdout.split()) <= {"inrush.guest.site"}
