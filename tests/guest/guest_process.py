"""A real guest in a process of its own; the test takes the part of its agent."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deadline import DEADLINE_S
from inrush import frames

OK, ERROR, TIMEOUT, CANCELLED = 0, 1, 2, 6


def arguments(*args: Any, **kwargs: Any) -> bytes:
    return b"P" + pickle.dumps((args, kwargs))


class GuestProcess:
    """`frames` are all that it has said so far."""

    def __init__(self, root: Path, argv: list[str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.attach(ours, root)
        command = argv or [sys.executable, "-m", "inrush.guest"]
        self.process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=root,
            env={**os.environ, "INRUSH_IS_REMOTE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()

    def attach(self, sock: socket.socket, root: Path) -> None:
        """Speak with the guest at the other end of `sock`."""
        self.socket = sock
        self.root = root
        self.frames: list[tuple[dict[str, Any], list[bytes]]] = []
        self._parser = frames.Parser(frames.plain_header)
        self._ended = False

    # ── to the guest ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, header: dict[str, Any], *payloads: bytes) -> None:
        self.socket.sendall(frames.pack(header, payloads))

    def load(self, source: str, qualname: str = "f", **spec: Any) -> GuestProcess:
        """Write the module, and wait until it is ready."""
        self.begin(source, qualname, **spec)
        self.expect("ready")
        return self

    def begin(self, source: str, qualname: str = "f", code: bytes = b"", **spec: Any) -> None:
        """The same, without waiting. `code`: a pickle of the function, instead of a module."""
        (self.root / "program.py").write_text(source)
        defaults = {
            "module": "program",
            "qualname": qualname,
            "root": str(self.root),
            "function": qualname,
            "pickled": bool(code),
            "max_inputs": 1,
            "timeout_s": 300,
        }
        self.send({"t": "load", "spec": {**defaults, **spec}}, *filter(None, [code]))

    def run(self, call: str, *payloads: bytes, method: str = "", kind: str = "map", first: int = 0) -> None:
        indexes = list(range(first, first + len(payloads)))
        self.send({"t": "run", "c": call, "m": method, "k": kind, "i": indexes}, *payloads)

    def call(self, *args: Any, method: str = "", **kwargs: Any) -> Any:
        """Run one input to its end; the value, or what it failed with."""
        name = f"ca-{len(self.frames)}-{time.monotonic_ns()}"
        self.run(name, arguments(*args, **kwargs), method=method, kind="remote")
        status, payload = self.result(name)
        return value(payload) if status == OK else failure(payload)

    def stop(self, grace: float = 5.0) -> int:
        self.send({"t": "stop", "grace": grace})
        return self.wait()

    # ── from the guest ───────────────────────────────────────────────────────────────────────────────────────────────

    def until(self, found: Any, what: str, deadline_s: float = DEADLINE_S) -> Any:
        """Read until `found()` gives something other than None."""
        deadline = time.monotonic() + deadline_s
        while (got := found()) is None:
            if self._ended:
                raise AssertionError(f"the guest ended before: {what}; it said {self.said()}\n{self.leftovers()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {deadline_s} s: {what}; it said {self.said()}")
            self.read(0.05)
        return got

    def read(self, timeout_s: float) -> None:
        if select.select([self.socket], [], [], timeout_s)[0]:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            self._ended = not data
            self.frames += self._parser.feed(data)

    def expect(self, kind: str) -> tuple[dict[str, Any], list[bytes]]:
        return self.until(
            lambda: next((frame for frame in self.frames if frame[0]["t"] == kind), None), f"a frame {kind}"
        )

    def result(self, call: str, index: int = 0) -> tuple[int, bytes]:
        return self.until(lambda: self.results(call).get(index), f"the end of {call}[{index}]")

    def all_results(self, call: str, count: int) -> dict[int, tuple[int, bytes]]:
        return self.until(lambda: r if len(r := self.results(call)) >= count else None, f"{count} results of {call}")

    def results(self, call: str) -> dict[int, tuple[int, bytes]]:
        ends = [f for f in self.frames if f[0]["t"] == "out" and f[0]["c"] == call]
        return {
            index: (status, payload)
            for header, payloads in ends
            for index, status, payload in zip(header["i"], header["s"], payloads, strict=True)
        }

    def items(self, call: str) -> list[bytes]:
        found = [f for f in self.frames if f[0]["t"] == "item" and f[0]["c"] == call]
        numbered = [(header["f"] + n, payload) for header, payloads in found for n, payload in enumerate(payloads)]
        assert [number for number, _ in numbered] == list(range(len(numbered)))
        return [payload for _, payload in numbered]

    def expect_items(self, call: str, count: int) -> list[bytes]:
        return self.until(lambda: got if len(got := self.items(call)) >= count else None, f"{count} items of {call}")

    def logs(self, stream: str = "stdout", call: str | None = None) -> str:
        found = [f for f in self.frames if f[0]["t"] == "log" and f[0]["s"] == stream and call in (None, f[0]["c"])]
        return b"".join(payloads[0] for _, payloads in found).decode()

    def expect_log(self, text: str, stream: str = "stdout", call: str | None = None) -> str:
        return self.until(lambda: log if text in (log := self.logs(stream, call)) else None, f"{text!r} in {stream}")

    def wait(self) -> int:
        """Its exit code, after all it had to say."""
        self.until(lambda: True if self._ended else None, "its end")
        return self.process.wait(DEADLINE_S)

    def said(self) -> str:
        return str([header for header, _ in self.frames])[-2000:]

    def leftovers(self) -> str:
        """What reached descriptors 1 and 2, once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def close(self) -> None:
        self.socket.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def value(payload: bytes) -> Any:
    assert payload[:1] == b"P", payload[:200]
    return pickle.loads(payload[1:])


def failure(payload: bytes) -> Any:
    """(exception, traceback) of user code, or a system failure as a dict."""
    return pickle.loads(payload[1:]) if payload[:1] == b"P" else json.loads(payload[1:])
