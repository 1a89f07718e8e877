"""The schema of frames from agent to guest: the fields of each kind, checked with the standard library alone, since a
user's image may lack msgspec. `agent.containers.headers` is the schema of the other direction.

The agent is trusted. Its frames are checked nevertheless, so that a frame that the guest does not understand ends it
with a sentence that says so, and not with an exception in the middle of the handler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inrush import frames

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return type(value) is str


def _flag(value: Any) -> bool:
    return type(value) is bool


def _index(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1e9


def _indexes(value: Any) -> bool:
    return (
        type(value) is list and set(map(type, value)) <= {int} and (not value or 0 <= min(value) <= max(value) < 2**31)
    )


def _object(value: Any) -> bool:
    return type(value) is dict


FIELDS: dict[str, dict[str, Check]] = {
    "load": {"spec": _object},
    "run": {"c": _text, "m": _text, "k": _text, "i": _indexes},
    "cancel": {"c": _text, "i": _indexes},
    "recall": {},
    "grant": {"c": _text, "i": _index, "x": _count},
    "feed": {"c": _text, "last": _flag, "gone": _flag},
    "blob": {"id": _text, "last": _flag},
    "link": {},
    "stop": {"grace": _seconds},
}
"""The fields of each kind of frame. A frame has all of them and no others."""

_PAYLOADS: dict[str, range] = {"load": range(2), "feed": range(1, 2), "blob": range(1, 2), "link": range(1, 2)}


def read(head: bytes, body: int) -> tuple[dict[str, Any], Sequence[int]]:
    """Decodes a header, and the lengths of its payloads. Raises `FrameError` where the frame breaks the schema."""
    header, lengths = frames.plain_header(head, body)
    kind = header["t"]
    fields = FIELDS.get(kind)
    if fields is None:
        raise frames.FrameError(f"no frame is called {kind!r}")
    if len(header) - 1 - ("n" in header) != len(fields):
        raise frames.FrameError(f"{kind} with other fields than {', '.join(fields)}")
    for name, good in fields.items():
        if not good(header.get(name)):
            raise frames.FrameError(f"{kind} without a good {name!r}")
    if len(lengths) != len(header["i"]) if kind == "run" else len(lengths) not in _PAYLOADS.get(kind, range(1)):
        raise frames.FrameError(f"{kind} with {len(lengths)} payloads")
    return header, lengths


def parser() -> frames.Parser[dict[str, Any]]:
    """A parser of frames from the agent."""
    return frames.Parser(read)
