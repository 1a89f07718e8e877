"""Exceptions whose classes can be imported only in the container."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from types import ModuleType

import pytest

from inrush import by_value
from inrush.client._payload import error_of, load
from inrush.client._traceback import RemoteTraceback
from inrush.errors import DeserializationError, RemoteError

TRACEBACK = 'Traceback (most recent call last):\n  File "/root/p.py", line 3, in f\nelsewhere.Refused: no entry\n'


class Refused(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (Refused, "by_name")

    @classmethod
    def by_name(cls) -> Refused:
        return cls()


def payload_of(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """As a container sends it that has a module `elsewhere`."""
    module = ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    monkeypatch.setattr(error, "__module__", "elsewhere")
    setattr(module, error.__name__, error)
    payload = b"P" + pickle.dumps((error("no entry"), TRACEBACK))
    monkeypatch.delitem(sys.modules, "elsewhere")
    return payload


class Plain(Exception):
    pass


@pytest.mark.parametrize("error", [Plain, Refused])
def test_an_exception_whose_class_is_not_here_still_says_what_and_where(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = payload_of(error, monkeypatch)
    with pytest.raises(DeserializationError):
        load(payload)
    raised = error_of(1, payload)
    assert isinstance(raised, RemoteError)
    assert str(raised).startswith("elsewhere.Refused: no entry (")
    assert "No module named 'elsewhere'" in str(raised)
    assert isinstance(raised.__cause__, RemoteTraceback)
    assert raised.__cause__.text == TRACEBACK


def test_what_is_no_pickle_at_all_is_an_error_in_words() -> None:
    assert "cannot be unpickled here" in str(error_of(1, b"Pnonsense"))


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


def test_an_exception_whose_class_forbids_assignments_has_its_traceback_too() -> None:
    raised = error_of(1, b"P" + by_value.dumps((Frozen(3), TRACEBACK), errors_anew=True))
    assert isinstance(raised, Frozen)
    assert isinstance(raised.__cause__, RemoteTraceback)
