"""The guest's main program: `Guest.live` is the whole life of a container.

The main thread loads user code and then runs inputs and the event loop; the pump's thread reads the socket. A forked
child calls `live`, and so does `python -m inrush.guest FD`, after the container has been isolated. An executed
container waits for every import of this file, so what only templates or failures need is imported where they need it.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import socket
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from inrush.errors import StartupError
from inrush.guest import environment, orphans, process, randomness, results
from inrush.guest.channel import Channel
from inrush.guest.descriptors import Descriptors
from inrush.guest.learn import Imports
from inrush.guest.link import Link
from inrush.guest.load import SOURCE_ROOT, Loaded
from inrush.guest.main_thread import MainThread
from inrush.guest.outbox import Outbox
from inrush.guest.output import Output
from inrush.guest.process import Process
from inrush.guest.protocol import INLINE_LIMIT_BYTES, MAX_PAYLOAD_BYTES, MAX_SAID_CHARS, PICKLE
from inrush.guest.pump import Pump
from inrush.guest.runner import EXIT_HOOKS_S, Runner
from inrush.guest.tracebacks import traceback_text, type_name

if TYPE_CHECKING:
    from inrush.guest.template import Template


MAX_PHASES = 64


class Guest:
    """The parts of a guest, put together. A zygote's child makes it before it knows what to serve; it is idle until
    `live`."""

    def __init__(self, template: Template | None = None) -> None:
        if template:
            template.inherited.renew()
        else:
            randomness.reseed()
        self._template = template
        self._channel = Channel()
        self._descriptors = Descriptors()
        self._outbox = Outbox(self._channel, self._descriptors)
        self._output = template.inherited.output if template else Output()
        self._orphans = orphans.Orphans()
        self._pump = Pump(self._channel, self._on_end)
        self._pump.on_descriptor = self._descriptors.open
        self._outbox.on_hold = self._pump.nudge
        self._link = Link(self._channel)
        self._specs: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
        self._process: Process
        self._runner: Runner | None = None
        self._startup_s = self._start_by = math.inf
        self._terminated = False
        self._reap_at = math.inf
        self._imports: Imports | None = None

    def live(self, sock: socket.socket) -> int:
        """Loads user code, runs inputs until told to stop, and runs exit hooks. Returns the exit code."""
        self._channel.open(sock)
        self._output.connect(self._outbox)
        self._process = Process(self._channel, self._outbox, self._output, self._on_term)
        self._pump.on_signals = self._process.on_signals
        self._reap_at = time.monotonic() + orphans.REAP_EVERY_S
        self._pump.handlers = {"load": self._on_load, "stop": self._on_early_stop}
        self._pump.tick = self._tick
        threading.Thread(target=self._pump.run, name="inrush-pump", daemon=True).start()
        spec, pickled = self._specs.get()
        runner = Runner(
            self._outbox,
            int(spec.get("max_inputs") or 1),
            float(spec.get("timeout_s") or math.inf),
            self._output,
            self._descriptors,
            MainThread(),
        )
        try:
            self._load(runner, spec, pickled)
        except BaseException as error:
            self._fail(error)
            return process.FAILED
        runner.work()
        self._finish(runner)
        return 0

    # ── the main thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, runner: Runner, spec: dict[str, Any], pickled: bytes) -> None:
        env = {name: str(value) for name, value in (spec.get("env") or {}).items()}
        environment.add(env)
        if "TZ" in env:
            time.tzset()
        self._outbox.max_payload_bytes = int(spec.get("max_payload_bytes") or MAX_PAYLOAD_BYTES)
        self._link.restricted = bool(spec.get("restrict_access"))
        self._pump.handlers["link"] = self._link.on_link
        loaded = self._loaded(runner, spec, pickled)
        loaded.enter(False, runner.tasks.run)
        loaded.open(runner.tasks.run)
        runner.loaded = loaded
        if spec.get("web"):
            gc.freeze()  # clients that leave have garbage collected (`Tasks`), and this need not look at all modules
        self._start_by = math.inf
        self._pump.handlers.update(runner.handlers())
        self._runner = runner
        self._tell_imports()
        self._outbox.say({"t": "ready", "phases": loaded.phases[:MAX_PHASES], "why": ""})

    def _loaded(self, runner: Runner, spec: dict[str, Any], pickled: bytes) -> Loaded:
        """User code whose `enter(snap=True)` hooks have run, in the template or now."""
        if self._template is not None:
            inherited = self._template.take(str(spec.get("root") or SOURCE_ROOT))
            if inherited is not None:
                return inherited
        if spec.get("learn"):
            self._imports = Imports()
        loaded = Loaded(spec, pickled)
        loaded.enter(True, runner.tasks.run)
        return loaded

    def _tell_imports(self) -> None:
        """Reports what user code has imported meanwhile, so that zygotes import it ahead."""
        if self._imports is not None and self._imports.fresh:
            self._outbox.say({"t": "imported", "imports": self._imports.take()}, wait=False)

    def _fail(self, error: BaseException) -> None:
        self._start_by = math.inf
        self._output.flush()
        said = f"{type_name(error)}: {error}"
        message = str(error) if isinstance(error, StartupError) else f"the container could not start: {said}"
        if isinstance(error, ModuleNotFoundError):
            message += "; add it to the image (pip_install, or add_local_python_source for modules of your own)"
        _, payload = results.failed(error)
        header = {
            "t": "failed",
            "code": "StartupError",
            "message": message[:MAX_SAID_CHARS],
            "type": type_name(error)[:1024],
            "tb": traceback_text(error)[-MAX_SAID_CHARS:],
        }
        pickled = payload[:1] == PICKLE and len(payload) <= INLINE_LIMIT_BYTES
        in_hook = pickled and not isinstance(error, StartupError | ImportError | SyntaxError)
        self._outbox.say(header, (payload,) if in_hook else ())
        self._process.flush()

    def _finish(self, runner: Runner) -> None:
        runner.leave_by = time.monotonic() + EXIT_HOOKS_S
        runner.loaded.exit(runner.tasks.run)
        self._tell_imports()
        atexit._run_exitfuncs()
        self._process.flush()

    # ── the pump's thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _on_load(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        spec = header["spec"]
        self._startup_s = float(spec.get("startup_timeout_s") or math.inf)
        self._start_by = time.monotonic() + self._startup_s
        self._specs.put((spec, payloads[0] if payloads else b""))

    def _on_early_stop(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        """Leaves at once: before the guest is ready there is nothing to finish."""
        self._process.flush()
        process.leave(0)

    def _on_term(self) -> None:
        if not self._terminated:
            self._terminated = True
            self._channel.wake()

    def _on_end(self, why: str) -> None:
        if why:
            os.write(2, f"inrush: the guest ends: {why}\n".encode())
        process.leave(process.AGENT_GONE)

    def _tick(self) -> float:
        now = time.monotonic()
        self._look_after(now)
        runner = self._runner
        if runner is None:
            self._outbox.flush(wait=False)
            return min(1.0, max(0.0, self._start_by - now)) if self._start_by < math.inf else math.inf
        if self._terminated and runner.stop(process.TERM_GRACE_S):
            self._outbox.say({"t": "leaving", "why": "its own code sent it SIGTERM", "stuck": False}, wait=False)
        seconds = runner.tick()
        self._tell_imports()
        if now > runner.leave_by:
            runner.leave_stuck(f"its exit hooks took longer than {EXIT_HOOKS_S:g} s")
        if runner.stuck:
            self._process.flush()
            process.leave(process.STUCK)
        return min(seconds, orphans.REAP_EVERY_S)

    def _look_after(self, now: float) -> None:
        if now >= self._reap_at:
            self._reap_at = now + orphans.REAP_EVERY_S
            self._orphans.reap()
        if self._terminated and self._runner is None:
            self._process.flush()
            process.leave(0)
        if now >= self._start_by:
            why = f"its imports and enter hooks took longer than startup_timeout={self._startup_s:g} s"
            self._outbox.say({"t": "failed", "code": "StartupError", "message": why, "type": "", "tb": ""})
            self._process.flush()
            process.leave(process.FAILED)
