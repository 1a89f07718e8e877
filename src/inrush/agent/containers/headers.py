"""The one schema of what a guest may say: a struct for each kind of frame, with bounds on every field.

The guest runs user code, so a frame is decoded once, by `read`, and whatever comes out is of the types and within the
bounds that are written here: counts and lengths are not negative and add up, numbers are finite, text is Unicode and
short, keys are known. Anything else raises `FrameError`, and the container that sent it is ended. The file
`docs/architecture.md` has the same list in words. What the agent says to a guest is checked by `guest.headers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from inrush import frames
from inrush.wire import INLINE_LIMIT_BYTES, Status

MAX_HEADER_BYTES = 512 * 1024
"""A longer header of a guest's frame is a violation."""
MAX_ID_CHARS = 100
MAX_TEXT_CHARS = 32 * 1024
"""The message, and the traceback, of a start that failed."""
MAX_PHASES = 64
MAX_IMPORTS = 512
MAX_OUT_BYTES = 4 * 1024 * 1024
"""Results in one frame; a single one is at most `INLINE_LIMIT_BYTES`, and a larger one is a blob."""
MAX_ITEM_BYTES = 16 * 1024 * 1024
"""Items in one frame. One message of a web socket is as large as this at most."""
MAX_LOG_BYTES = 1024 * 1024

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Tag = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
"""A call, or nothing."""
Word = Annotated[str, Meta(max_length=1024)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Index = Annotated[int, Meta(ge=0, lt=2**31)]
Indexes = Annotated[tuple[Index, ...], Meta(min_length=1, max_length=frames.MAX_PAYLOADS)]
Length = Annotated[int, Meta(ge=0, le=frames.LIMIT_BYTES)]
Ms = Annotated[float, Meta(ge=0, le=1e9)]
Name = Annotated[str, Meta(max_length=200)]

_ENDS = (Status.OK, Status.ERROR, Status.TIMEOUT, Status.CANCELLED, Status.INTERNAL)
"""Ends of an attempt that a guest may report; all else is for the agent to say."""
End = Literal[0, 1, 2, 6, 8]
assert tuple(map(int, _ENDS)) == (0, 1, 2, 6, 8)


class Header(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True, gc=False):
    """`lengths` are those of the payloads."""

    lengths: Annotated[list[Length], Meta(max_length=frames.MAX_PAYLOADS)] = msgspec.field(
        name="n", default_factory=list
    )


class Out(Header, frozen=True, kw_only=True, tag="out"):
    """Attempts that ended, a payload each. `spent_us` is how long they ran, together; -1 where that is not known."""

    call: Id = msgspec.field(name="c")
    indexes: Indexes = msgspec.field(name="i")
    statuses: tuple[End, ...] = msgspec.field(name="s")
    spent_us: Annotated[int, Meta(ge=-1, le=2**53)] = msgspec.field(name="w", default=-1)


class Back(Header, frozen=True, kw_only=True, tag="back"):
    """Inputs that have not begun and will not."""

    call: Id = msgspec.field(name="c")
    indexes: Indexes = msgspec.field(name="i")


class Item(Header, frozen=True, kw_only=True, tag="item"):
    """What a generator yielded, from item `first` on; or pieces of a web response."""

    call: Id = msgspec.field(name="c")
    indexes: tuple[Index] = msgspec.field(name="i")
    first: Index = msgspec.field(name="f")


class Took(Header, frozen=True, kw_only=True, tag="took"):
    """The web app has taken so many bytes more of what it was fed."""

    call: Id = msgspec.field(name="c")
    indexes: tuple[Index] = msgspec.field(name="i")
    taken_bytes: Annotated[int, Meta(ge=0, lt=2**53)] = msgspec.field(name="x")


class Log(Header, frozen=True, kw_only=True, tag="log"):
    """Output of Python code."""

    call: Tag = msgspec.field(name="c")
    stream: Literal["stdout", "stderr"] = msgspec.field(name="s")


class Blob(Header, frozen=True, kw_only=True, tag="blob"):
    """A piece of a large payload."""

    id: Id
    last: bool


class Link(Header, frozen=True, kw_only=True, tag="link"):
    """A frame of the SDK in the container."""


class Ready(Header, frozen=True, kw_only=True, tag="ready"):
    """Enter hooks have run."""

    phases: Annotated[tuple[tuple[Name, Ms], ...], Meta(max_length=MAX_PHASES)] = ()
    why: Word = ""


class Imported(Header, frozen=True, kw_only=True, tag="imported"):
    """Installed packages that user code imported."""

    imports: Annotated[tuple[tuple[Name, Ms], ...], Meta(max_length=MAX_IMPORTS)]


class Leaving(Header, frozen=True, kw_only=True, tag="leaving"):
    """The guest ends by itself: when what it runs has ended, or at once, because it is `stuck` with an input that does
    not let go of its slot."""

    why: Word
    stuck: bool


class Failed(Header, frozen=True, kw_only=True, tag="failed"):
    """The container cannot serve. `type` and `traceback` are those of user code's exception."""

    code: Annotated[str, Meta(pattern="^[A-Za-z]{1,64}$")]
    message: Text
    type: Word = ""
    traceback: Text = msgspec.field(name="tb", default="")


FromGuest = Out | Back | Item | Took | Log | Blob | Link | Ready | Imported | Leaving | Failed

_MAX_PAYLOADS: dict[type, int] = {
    Log: 1,
    Blob: 1,
    Link: 1,
    Ready: 0,
    Imported: 0,
    Leaving: 0,
    Failed: 1,
    Back: 0,
    Took: 0,
}
_MAX_BYTES: dict[type, int] = {
    Out: MAX_OUT_BYTES,
    Item: MAX_ITEM_BYTES,
    Log: MAX_LOG_BYTES,
    Blob: frames.CHUNK_BYTES,
    Failed: INLINE_LIMIT_BYTES,
}
_ONE = (Log, Blob, Link)

_decode = msgspec.json.Decoder(FromGuest).decode


def read(head: bytes, body: int) -> tuple[FromGuest, Sequence[int]]:
    """A header of a guest's frame, and its payloads' lengths. Raises `FrameError` for what no guest of ours says."""
    try:
        header = _decode(head)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise frames.FrameError(f"malformed header: {error}") from None
    lengths, kind = header.lengths, type(header)
    if sum(lengths) != body:
        raise frames.FrameError("the lengths of payloads do not add up to the bytes of the frame")
    if body > _MAX_BYTES.get(kind, frames.LIMIT_BYTES):
        raise frames.FrameError(f"{body} bytes are too many for one {kind.__name__.lower()}")
    if isinstance(header, Out):
        _check_out(header)
    elif len(lengths) > _MAX_PAYLOADS.get(kind, frames.MAX_PAYLOADS) or (not lengths and kind in _ONE):
        raise frames.FrameError(f"{len(lengths)} payloads are not those of one {kind.__name__.lower()}")
    return header, lengths


def _check_out(out: Out) -> None:
    if not len(out.indexes) == len(out.statuses) == len(out.lengths):
        raise frames.FrameError("the columns of its results differ in length")
    if max(out.lengths) > INLINE_LIMIT_BYTES:
        raise frames.FrameError("a result inside a frame is too large")


def parser() -> frames.Parser[FromGuest]:
    """Of one guest's frames."""
    return frames.Parser(read, MAX_HEADER_BYTES)
