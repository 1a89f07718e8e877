"""The SDK in this process, against a real server with real containers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inrush.client import _link

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def connected(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """This process uses the server of the tests."""
    monkeypatch.setenv("INRUSH_HOME", str(server.home))
    yield server
    _link.disconnect()


@pytest.fixture
def calling(connected: Any) -> Iterator[ModuleType]:
    """The program, imported as a container imports it, with its app running."""
    module = program("calling")
    with module.app.run():
        yield module


def program(name: str) -> ModuleType:
    """A module of the folder `programs`."""
    if str(PROGRAMS) not in sys.path:
        sys.path.insert(0, str(PROGRAMS))
    return importlib.import_module(name)
