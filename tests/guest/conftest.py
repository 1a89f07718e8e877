"""Guests for tests: each a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.guest_process import GuestProcess


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[GuestProcess]:
    made = GuestProcess(tmp_path)
    yield made
    made.close()
