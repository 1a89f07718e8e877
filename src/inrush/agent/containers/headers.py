"""The schema of the frames that a guest may send: a struct for each kind of frame, with bounds on every field.

The guest runs user code, so its frames are untrusted. `read` decodes each frame once and returns only values of the
types and within the bounds that are declared here: counts and lengths are not negative and add up, numbers are finite,
text is Unicode and short, keys are known. Anything else raises `FrameError`, and the container that sent it is ended.
`docs/architecture.md` has the same list in words. `guest.headers` checks the frames of the other direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from inrush import frames
from inrush.wire import INLINE_LIMIT_BYTES, Status

MAX_HEADER_BYTES = 512 * 1024
"""The longest header of a guest's frame, in bytes."""
MAX_ID_CHARS = 100
MAX_TEXT_CHARS = 32 * 1024
"""The longest message, and the longest traceback, of a start that failed, in characters."""
MAX_PHASES = 64
MAX_IMPORTS = 512
MAX_OUT_BYTES = 4 * 1024 * 1024
"""The most bytes of results in one frame. A single result has at most `INLINE_LIMIT_BYTES`; a larger one is sent as a
blob."""
MAX_ITEM_BYTES = 16 * 1024 * 1024
"""The most bytes of items in one frame, and so the largest message of a web socket."""
MAX_LOG_BYTES = 1024 * 1024

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Tag = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
"""The id of a call, or an empty string."""
Word = Annotated[str, Meta(max_length=1024)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Index = Annotated[int, Meta(ge=0, lt=2**31)]
Indexes = Annotated[tuple[Index, ...], Meta(min_length=1, max_length=frames.MAX_PAYLOADS)]
Length = Annotated[int, Meta(ge=0, le=frames.LIMIT_BYTES)]
Ms = Annotated[float, Meta(ge=0, le=1e9)]
Name = Annotated[str, Meta(max_length=200)]

_ENDS = (Status.OK, Status.ERROR, Status.TIMEOUT, Status.CANCELLED, Status.INTERNAL)
"""The statuses of an ended attempt that a guest may report. Only the agent reports the others."""
End = Literal[0, 1, 2, 6, 8]
assert tuple(map(int, _ENDS)) == (0, 1, 2, 6, 8)


class Header(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True, gc=False):
    """What all frames have in common. `lengths` are the lengths of the payloads in bytes."""

    lengths: Annotated[list[Length], Meta(max_length=frames.MAX_PAYLOADS)] = msgspec.field(
        name="n", default_factory=list
    )


class Out(Header, frozen=True, kw_only=True, tag="out"):
    """Attempts that ended, with a payload for each. `spent_us` is the sum of their running times in µs, or -1 if it is
    not known."""

    call: Id = msgspec.field(name="c")
    indexes: Indexes = msgspec.field(name="i")
    statuses: tuple[End, ...] = msgspec.field(name="s")
    spent_us: Annotated[int, Meta(ge=-1, le=2**53)] = msgspec.field(name="w", default=-1)


class Back(Header, frozen=True, kw_only=True, tag="back"):
    """Inputs that the guest returns without having begun them."""

    call: Id = msgspec.field(name="c")
    indexes: Indexes = msgspec.field(name="i")


class Item(Header, frozen=True, kw_only=True, tag="item"):
    """Items that a generator yielded, the first of which has the number `first`; or pieces of a web response."""

    call: Id = msgspec.field(name="c")
    indexes: tuple[Index] = msgspec.field(name="i")
    first: Index = msgspec.field(name="f")


class Took(Header, frozen=True, kw_only=True, tag="took"):
    """The web app has consumed this many more bytes of the input that was sent to it."""

    call: Id = msgspec.field(name="c")
    indexes: tuple[Index] = msgspec.field(name="i")
    taken_bytes: Annotated[int, Meta(ge=0, lt=2**53)] = msgspec.field(name="x")


class Log(Header, frozen=True, kw_only=True, tag="log"):
    """Output that Python code in the container printed."""

    call: Tag = msgspec.field(name="c")
    stream: Literal["stdout", "stderr"] = msgspec.field(name="s")


class Blob(Header, frozen=True, kw_only=True, tag="blob"):
    """A piece of a large payload."""

    id: Id
    last: bool


class Link(Header, frozen=True, kw_only=True, tag="link"):
    """A frame from the SDK in the container, for its link to the server."""


class Ready(Header, frozen=True, kw_only=True, tag="ready"):
    """The container has run its enter hooks and can take inputs."""

    phases: Annotated[tuple[tuple[Name, Ms], ...], Meta(max_length=MAX_PHASES)] = ()
    why: Word = ""


class Imported(Header, frozen=True, kw_only=True, tag="imported"):
    """Installed packages that user code imported, with the time that each took."""

    imports: Annotated[tuple[tuple[Name, Ms], ...], Meta(max_length=MAX_IMPORTS)]


class Leaving(Header, frozen=True, kw_only=True, tag="leaving"):
    """The guest ends on its own initiative: once its running inputs have ended, or at once if it is `stuck` with an
    input that does not release its slot."""

    why: Word
    stuck: bool


class Failed(Header, frozen=True, kw_only=True, tag="failed"):
    """The container cannot take inputs. `type` and `traceback` describe the exception of user code."""

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
    """Decodes the header of a guest's frame, and returns it with the lengths of its payloads. Raises `FrameError` for
    anything that an unmodified guest would not send."""
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
    """A parser for the frames of one guest."""
    return frames.Parser(read, MAX_HEADER_BYTES)
