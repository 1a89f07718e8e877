"""The SDK with a server on another machine, over its HTTP port and with a token."""

from __future__ import annotations

from typing import Any

import pytest

from inrush import errors
from inrush.client import _link

from . import conftest


@pytest.fixture
def elsewhere(connected: Any, home: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server of the tests, as if on another machine."""
    import json

    described = json.loads((connected.home / "run" / "server.json").read_text())
    monkeypatch.setenv("INRUSH_HOME", str(home))
    monkeypatch.setenv("INRUSH_SERVER_URL", described["url"])
    monkeypatch.setenv("INRUSH_TOKEN", (connected.home / "token").read_text().strip())


def test_calls_and_maps_run_there(elsewhere: None) -> None:
    calling = conftest.program("calling")
    with calling.app.run():
        assert calling.square.remote(5) == 25
        assert list(calling.square.map(range(2000))) == [x * x for x in range(2000)]
        data = bytes(3_000_000)
        assert calling.measure.remote(data) == data


def test_a_wrong_token_is_told(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRUSH_TOKEN", "wrong")
    _link.disconnect()
    with pytest.raises(errors.AuthError), conftest.program("calling").app.run():
        pass
