"""The link to one guest: frames on the socket that its container inherited.

The guest runs user code, so nothing it says is trusted: every frame is checked before it becomes a message, and a guest
that breaks the protocol, or does not read what it is sent, loses its container. Inputs and results pass without a task
of their own; only runs with blobs get one, since those are streamed as fast as the guest reads.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import msgspec

from inrush import frames
from inrush.agent.payloads.blobs import Blobs, Inbound, is_reference, referred_id
from inrush.agent.payloads.descriptors import Descriptors
from inrush.errors import Error
from inrush.wire import Run, Status, system_failure

MAX_UNREAD_BYTES = 256 * 1024 * 1024
"""What may wait for a guest to read; one that lets more pile up is stuck, and its container is killed."""

_SPLIT_BYTES = 4 * 1024 * 1024
"""A run with more payload than this is cut into several frames."""

_ANSWERS = frozenset({Status.OK, Status.ERROR, Status.TIMEOUT, Status.CANCELLED, Status.INTERNAL})
"""Ends of an attempt that a guest may report; all else is for the agent to say."""


class Listener(Protocol):
    """Who hears what the guest says."""

    def ready(self, phases: list[tuple[str, float]], why: str) -> None: ...
    def failed(self, code: str, message: str, payload: bytes) -> None: ...
    def answered(
        self,
        call: str,
        indexes: tuple[int, ...],
        statuses: tuple[int, ...],
        payloads: tuple[bytes, ...],
        spent_s: float = -1.0,
    ) -> None: ...
    def returned(self, call: str, indexes: tuple[int, ...]) -> None: ...
    def yielded(self, call: str, index: int, first: int, payloads: tuple[bytes, ...]) -> None: ...
    def printed(self, call: str, stream: str, text: str) -> None: ...
    def imported(self, imports: list[tuple[str, float]]) -> None: ...
    def linked(self, frame: bytes) -> None: ...
    def broken(self, why: str) -> None:
        """The guest broke the protocol or does not read: its container must go."""

    def disconnected(self) -> None: ...


class Guest(asyncio.Protocol):
    """One guest. Its methods may be called from its connection on; before, frames are kept."""

    def __init__(self, listener: Listener, blobs: Blobs, max_payload_bytes: int) -> None:
        self._listener = listener
        self._blobs = blobs
        self._descriptors = Descriptors()
        self._inbound = Inbound(blobs, max_payload_bytes, self._descriptors.take)
        self._parser = frames.Parser(msgspec.json.decode)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._streams: dict[asyncio.Task[None], Run] = {}
        self._handlers: dict[str, Callable[[dict[str, Any], list[bytes]], None]] = {
            "out": self._out,
            "back": self._back,
            "item": self._item,
            "log": self._log,
            "blob": self._blob,
            "link": self._link,
            "ready": self._ready,
            "failed": self._failed,
            "imported": self._imported,
        }

    # ── to the guest ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, header: dict[str, Any], payloads: Sequence[bytes] = ()) -> None:
        """One frame; never blocks."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(frames.pack(header, payloads, msgspec.json.encode))
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._break(f"it left {MAX_UNREAD_BYTES >> 20} MiB of its inputs unread")

    def about(self, call: str, header: dict[str, Any], payloads: Sequence[bytes] = ()) -> None:
        """A frame about a call; behind its run, should that still wait for its blobs."""
        for task, run in self._streams.items():
            if run.call == call:
                task.add_done_callback(lambda _: self.send(header, payloads))
                return
        self.send(header, payloads)

    def load(self, spec: dict[str, Any], payloads: Sequence[bytes], sock: socket.socket) -> None:
        """The first frame. With it the guest gets what large payloads are passed by."""
        if self._transport is not None and not self._transport.is_closing():
            frame = frames.pack({"t": "load", "spec": spec}, payloads)
            self._transport.write(self._descriptors.greet(sock, frame))

    def run(self, run: Run) -> None:
        """Inputs for the guest; those with blobs follow when their blobs have been sent."""
        if any(map(is_reference, run.payloads)):
            task = asyncio.create_task(self._run_with_blobs(run))
            self._streams[task] = run
            task.add_done_callback(self._streams.pop)
        elif len(run.payloads) > 1 and sum(map(len, run.payloads)) > _SPLIT_BYTES:
            for index, payload in zip(run.indexes, run.payloads, strict=True):
                self._run_frame(run, (index,), (payload,))
        else:
            self._run_frame(run, run.indexes, run.payloads)

    def cancel(self, call: str, indexes: tuple[int, ...]) -> None:
        """Ends runs, those too whose blobs are still on their way."""
        for task, run in list(self._streams.items()):
            if run.call == call and set(run.indexes) & set(indexes):
                task.cancel()
                cancelled = (int(Status.CANCELLED),) * len(run.indexes)
                failure = system_failure("CancelledError", "cancelled before it began")
                self._listener.answered(call, run.indexes, cancelled, (failure,) * len(run.indexes))
        self.send({"t": "cancel", "c": call, "i": indexes})

    def close(self) -> None:
        for task in list(self._streams):
            task.cancel()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._descriptors.close()

    def _run_frame(self, run: Run, indexes: Sequence[int], payloads: Sequence[bytes]) -> None:
        self.send({"t": "run", "c": run.call, "m": run.method, "k": run.kind, "i": indexes}, payloads)

    async def _run_with_blobs(self, run: Run) -> None:
        for index, payload in zip(run.indexes, run.payloads, strict=True):
            try:
                if is_reference(payload):
                    await self._send_blob(referred_id(payload))
                self._run_frame(run, (index,), (payload,))
            except (Error, OSError) as error:
                code = type(error).__name__ if isinstance(error, Error) else "InternalError"
                failure = system_failure(code, f"an argument could not be read: {error}")
                self._listener.answered(run.call, (index,), (int(Status.INTERNAL),), (failure,))

    async def _send_blob(self, id: str) -> None:
        fd = await asyncio.to_thread(self._blobs.descriptor, id)
        try:
            if self._descriptors.give(id, os.fstat(fd).st_size, fd):
                return
        finally:
            os.close(fd)
        await self._stream_blob(id)

    async def _stream_blob(self, id: str) -> None:
        reader = await asyncio.to_thread(self._blobs.open, id)
        try:
            piece = await asyncio.to_thread(reader.read, frames.CHUNK_BYTES)
            while True:
                following = await asyncio.to_thread(reader.read, frames.CHUNK_BYTES)
                self.send({"t": "blob", "id": id, "last": not following}, (piece,))
                await self._writable.wait()
                if not following:
                    return
                piece = following
        finally:
            reader.close()

    # ── from the guest ───────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            for header, payloads in self._parser.feed(data):
                self._handlers[header["t"]](header, payloads)
        except (frames.FrameError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            self._break(f"it broke the protocol ({type(error).__name__}: {error})")

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        for task in list(self._streams):
            task.cancel()
        self._inbound.close()
        self._descriptors.close()
        self._listener.disconnected()

    def _break(self, why: str) -> None:
        assert self._transport is not None
        self._transport.abort()
        self._listener.broken(why)

    def _out(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        call, indexes, statuses = header["c"], tuple(header["i"]), tuple(header["s"])
        if (
            not len(indexes) == len(statuses) == len(payloads)
            or not _all_ints(indexes)
            or not _ANSWERS.issuperset(statuses)
        ):
            raise frames.FrameError("malformed out")
        if any(map(is_reference, payloads)):
            statuses, payloads = self._resolve(statuses, payloads)
        spent_us = header.get("w", -1)
        if not _all_ints((spent_us,)):
            raise frames.FrameError("malformed out")
        self._listener.answered(_text(call), indexes, statuses, tuple(payloads), spent_us / 1e6)

    def _back(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        indexes = tuple(header["i"])
        if not _all_ints(indexes):
            raise frames.FrameError("malformed back")
        self._listener.returned(_text(header["c"]), indexes)

    def _resolve(self, statuses: tuple[int, ...], payloads: list[bytes]) -> tuple[tuple[int, ...], list[bytes]]:
        """With references to the guest's blobs replaced by those to the store's."""
        ends, resolved = list(statuses), list(payloads)
        for at, payload in enumerate(payloads):
            if is_reference(payload):
                resolved[at], good = self._inbound.resolve(payload)
                ends[at] = statuses[at] if good else int(Status.ERROR)
        return tuple(ends), resolved

    def _item(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        index, first = header["i"], header["f"]
        index = index[0] if isinstance(index, list) else index
        if not _all_ints((index, first)):
            raise frames.FrameError("malformed item")
        stored = [self._inbound.resolve(p)[0] if is_reference(p) else p for p in payloads]
        self._listener.yielded(_text(header["c"]), index, first, tuple(stored))

    def _log(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        stream = header["s"]
        if stream not in ("stdout", "stderr"):
            raise frames.FrameError(f"no stream is called {stream!r}")
        self._listener.printed(_text(header["c"]), stream, payloads[0].decode("utf-8", "replace"))

    def _blob(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self._inbound.piece(_text(header["id"]), payloads[0], bool(header["last"]))

    def _link(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self._listener.linked(payloads[0])

    def _ready(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        phases = [(_text(name), float(ms)) for name, ms in header.get("phases", ())]
        self._listener.ready(phases, _text(header.get("why", "")))

    def _imported(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self._listener.imported([(_text(name), float(ms)) for name, ms in header["imports"]])

    def _failed(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        code, message = _text(header["code"]), _text(header["message"])
        failure = system_failure(code, message, _text(header.get("type", "")), _text(header.get("tb", "")))
        self._listener.failed(code, message, payloads[0] if payloads else failure)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise frames.FrameError(f"{value!r} is not text")
    return value


def _all_ints(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int}
