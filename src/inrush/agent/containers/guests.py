"""The link to one guest: frames on the socket that its container inherited.

The guest runs user code, so nothing it says is trusted: `headers` decodes every frame, `held` says what it may speak
about, and a guest that breaks the protocol, sends half a frame and stops, or does not read what it is sent, loses its
container. More frames than `pace` allows wait in the socket. An exception of ours is another matter: it is logged with
an id, and the container ends with a sentence that blames us. Inputs and results pass without a task of their own; only
runs with blobs get one, since those are streamed as fast as the guest reads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import msgspec

from inrush import frames
from inrush.agent.containers import headers
from inrush.agent.containers.intake import PARTIAL_FREE_BYTES, UNREAD_FREE_BYTES, Intake
from inrush.agent.containers.pace import Pace
from inrush.agent.payloads.blobs import Blobs, Inbound, is_reference, reference, referred_id
from inrush.agent.payloads.descriptors import Descriptors
from inrush.errors import Error
from inrush.wire import Codec, Run, Status, system_failure

MAX_UNREAD_BYTES = 256 * 1024 * 1024
"""What may wait for a guest to read; one that lets more pile up is stuck, and its container is killed."""

FRAME_S = 60.0
"""A frame whose first byte has come is whole within this time, or its container is killed."""

LINK_COST = 4
"""A frame of the SDK has the server decode up to sixteen messages: it counts as so many more frames."""

_SPLIT_BYTES = 4 * 1024 * 1024
"""A run with more payload than this is cut into several frames."""


class Listener(Protocol):
    """Who hears what the guest says. What the guest may not say raises `FrameError`."""

    def ready(self, phases: Sequence[tuple[str, float]], why: str) -> None: ...
    def failed(self, message: str, payload: bytes, traceback: str) -> None: ...
    def check(self, call: str, indexes: tuple[int, ...]) -> None:
        """Raises `FrameError` unless the guest may speak about these inputs."""

    def answered(
        self,
        call: str,
        indexes: tuple[int, ...],
        statuses: tuple[int, ...],
        payloads: tuple[bytes, ...],
        spent_s: float = -1.0,
    ) -> None: ...
    def settled(
        self, call: str, indexes: tuple[int, ...], statuses: tuple[int, ...], payloads: tuple[bytes, ...]
    ) -> None:
        """We answer in place of the guest."""

    def returned(self, call: str, indexes: tuple[int, ...]) -> None: ...
    def yielded(self, call: str, index: int, first: int, payloads: tuple[bytes, ...]) -> None: ...
    def taken(self, call: str, index: int, size: int) -> None: ...
    def printed(self, call: str, stream: str, text: str) -> None: ...
    def imported(self, imports: Sequence[tuple[str, float]]) -> None: ...
    def leaving(self, why: str, stuck: bool) -> None: ...
    def linked(self, frame: bytes) -> None: ...
    def broken(self, why: str) -> None:
        """The guest broke the protocol or does not read: its container must go."""

    def defect(self, what: str) -> None:
        """We failed while we handled what it said; the exception is the current one."""

    def disconnected(self) -> None: ...


class Guest(asyncio.Protocol):
    """One guest, of an app. Its methods may be called from its connection on; before, frames are kept."""

    def __init__(
        self, listener: Listener, blobs: Blobs, max_payload_bytes: int, intake: Intake | None = None, app: str = ""
    ) -> None:
        self.app = app
        self._listener = listener
        self._blobs = blobs
        self._intake = intake or Intake()
        self._descriptors = Descriptors(
            lambda: self._intake.take_descriptor(app), lambda: self._intake.give_descriptor(app)
        )
        self._inbound = Inbound(blobs, max_payload_bytes, self._descriptors, app)
        self._parser = headers.parser()
        self._pace = Pace()
        self._late: deque[tuple[headers.FromGuest, list[bytes]]] = deque()
        """Frames that came too fast; nothing more is read until they are handled."""
        self._begun_at = 0.0
        """When the frame that is not whole began to arrive."""
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._streams: dict[asyncio.Task[None], Run] = {}
        self._deferred_bytes = 0
        self._handlers: dict[type, Callable[[Any, list[bytes]], None]] = {
            headers.Out: self._out,
            headers.Back: self._back,
            headers.Item: self._item,
            headers.Took: self._took,
            headers.Log: self._log,
            headers.Blob: self._blob,
            headers.Link: self._link,
            headers.Ready: self._ready,
            headers.Failed: self._failed,
            headers.Imported: self._imported,
            headers.Leaving: self._leaving,
        }

    # ── to the guest ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, header: dict[str, Any], payloads: Sequence[bytes] = ()) -> None:
        """One frame; never blocks."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(frames.pack(header, payloads, msgspec.json.encode))
        if (waits := transport.get_write_buffer_size()) > UNREAD_FREE_BYTES:
            self._unread(waits + self._deferred_bytes)

    def _unread(self, waits: int) -> None:
        if waits > MAX_UNREAD_BYTES:
            self._break(f"it left {MAX_UNREAD_BYTES >> 20} MiB of its inputs unread")
        else:
            self._intake.waiting(self, waits)

    def unread_bytes(self) -> int:
        """What waits for it."""
        return self._deferred_bytes + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def overran(self, why: str) -> None:
        """All guests together hold too much, and this one has to go."""
        self._break(why)

    def about(self, call: str, header: dict[str, Any], payloads: Sequence[bytes] = ()) -> None:
        """A frame about a call; behind its run, should that still wait for its blobs."""
        for task, run in self._streams.items():
            if run.call == call:
                self._deferred_bytes += sum(map(len, payloads))
                task.add_done_callback(lambda _: self._send_deferred(header, payloads))
                self._unread(self.unread_bytes())
                return
        self.send(header, payloads)

    def _send_deferred(self, header: dict[str, Any], payloads: Sequence[bytes]) -> None:
        self._deferred_bytes -= sum(map(len, payloads))
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
        elif len(run.payloads) > frames.MAX_PAYLOADS:
            for at in range(0, len(run.payloads), frames.MAX_PAYLOADS):
                part = slice(at, at + frames.MAX_PAYLOADS)
                self._run_frame(run, run.indexes[part], run.payloads[part])
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
                    payload = await self._send_blob(referred_id(payload))
                self._run_frame(run, (index,), (payload,))
            except (Error, OSError, frames.FrameError) as error:
                code = type(error).__name__ if isinstance(error, Error) else "InternalError"
                failure = system_failure(code, f"an argument could not be read: {error}")
                self._listener.settled(run.call, (index,), (int(Status.INTERNAL),), (failure,))

    async def _send_blob(self, id: str) -> bytes:
        """What stands for it in its input: our own words, whatever else its caller wrote."""
        fd = await asyncio.to_thread(self._blobs.descriptor, id)
        try:
            size = os.fstat(fd).st_size
            if self._descriptors.give(id, size, fd):
                return reference(id, size)
        finally:
            os.close(fd)
        await self._stream_blob(id)
        return reference(id, size)

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
            found = self._parser.feed(data)
            if self._late or not self._pace.allows(len(found)):
                self._late.extend(found)
                self._hold()
            else:
                for header, payloads in found:
                    self._handlers[type(header)](header, payloads)
            if (pending := self._parser.pending_bytes) or self._begun_at:
                self._arriving(pending, bool(found))
        except frames.FrameError as error:
            self._break(f"it broke the protocol of its link: {error}")
        except Exception:
            self._abort()
            self._listener.defect("a frame of its guest")

    def _arriving(self, pending: int, whole: bool) -> None:
        """Part of a frame is here."""
        if whole or not self._begun_at:
            self._begun_at = time.monotonic() if pending else 0.0
        if pending > PARTIAL_FREE_BYTES or not pending:
            self._intake.arriving(self, pending)

    def check_time(self, now: float) -> None:
        """Ends a guest that began a frame and does not finish it."""
        if self._begun_at and now - self._begun_at > FRAME_S:
            self._break(f"it left a frame unfinished for {FRAME_S:g} s")

    def _hold(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(self._pace.rest_s(), self._go_on)

    def _go_on(self) -> None:
        """Handles some of the frames that came too fast."""
        if self._transport is None or self._transport.is_closing():
            return
        self._handle_late(self._pace.take())
        if self._transport.is_closing():
            return
        if self._late:
            asyncio.get_running_loop().call_later(self._pace.rest_s(), self._go_on)
        else:
            self._transport.resume_reading()

    def _handle_late(self, most: int) -> None:
        try:
            while self._late and most > 0:
                most -= 1
                header, payloads = self._late.popleft()
                self._handlers[type(header)](header, payloads)
        except frames.FrameError as error:
            self._break(f"it broke the protocol of its link: {error}")
        except Exception:
            self._abort()
            self._listener.defect("a frame of its guest")

    def connection_lost(self, error: Exception | None) -> None:
        self._handle_late(len(self._late))
        self._writable.set()
        for task in list(self._streams):
            task.cancel()
        self._begun_at = 0.0
        self._intake.gone(self)
        self._inbound.close()
        self._descriptors.close()
        self._listener.disconnected()

    def _break(self, why: str) -> None:
        self._abort()
        self._listener.broken(why)

    def _abort(self) -> None:
        self._late.clear()
        if self._transport is not None:
            self._transport.abort()

    def _out(self, out: headers.Out, payloads: list[bytes]) -> None:
        statuses: tuple[int, ...] = out.statuses
        if any(map(is_reference, payloads)):
            self._listener.check(out.call, out.indexes)
            statuses, payloads = self._resolve(statuses, payloads)
        self._listener.answered(out.call, out.indexes, statuses, tuple(payloads), out.spent_us / 1e6)

    def _back(self, back: headers.Back, payloads: list[bytes]) -> None:
        self._listener.returned(back.call, back.indexes)

    def _resolve(self, statuses: tuple[int, ...], payloads: list[bytes]) -> tuple[tuple[int, ...], list[bytes]]:
        """With references to the guest's blobs replaced by those to the store's."""
        ends, resolved = list(statuses), list(payloads)
        for at, payload in enumerate(payloads):
            if is_reference(payload):
                resolved[at], good = self._inbound.resolve(payload)
                ends[at] = statuses[at] if good else int(Status.ERROR)
        return tuple(ends), resolved

    def _item(self, item: headers.Item, payloads: list[bytes]) -> None:
        (index,) = item.indexes
        self._listener.check(item.call, item.indexes)
        stored = [self._inbound.resolve(p)[0] if is_reference(p) else p for p in payloads]
        self._listener.yielded(item.call, index, item.first, tuple(stored))

    def _took(self, took: headers.Took, payloads: list[bytes]) -> None:
        (index,) = took.indexes
        self._listener.taken(took.call, index, took.taken_bytes)

    def _log(self, header: headers.Log, payloads: list[bytes]) -> None:
        self._listener.printed(header.call, header.stream, payloads[0].decode("utf-8", "replace"))

    def _blob(self, blob: headers.Blob, payloads: list[bytes]) -> None:
        self._inbound.piece(blob.id, payloads[0], blob.last)

    def _link(self, link: headers.Link, payloads: list[bytes]) -> None:
        self._pace.spend(LINK_COST)
        self._listener.linked(payloads[0])

    def _ready(self, ready: headers.Ready, payloads: list[bytes]) -> None:
        self._listener.ready(ready.phases, ready.why)

    def _imported(self, imported: headers.Imported, payloads: list[bytes]) -> None:
        self._listener.imported(imported.imports)

    def _leaving(self, leaving: headers.Leaving, payloads: list[bytes]) -> None:
        self._listener.leaving(leaving.why, leaving.stuck)

    def _failed(self, failed: headers.Failed, payloads: list[bytes]) -> None:
        failure = payloads[0] if payloads else b""
        if failure and failure[:1] != Codec.PICKLE.value:
            raise frames.FrameError("the payload of a failed start is not a pickled exception")
        told = failure or system_failure(failed.code, failed.message, failed.type, failed.traceback)
        self._listener.failed(failed.message, told, failed.traceback)
