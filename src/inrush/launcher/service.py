"""Serves the agent's requests in the launcher, and reports the ends of containers.

A request is `{"rid", "do", "spec"}` with descriptors; its answer is `{"rid", "ok"}` or `{"rid", "error": {code,
message, detail}}`. The end of a container is `{"exited"}`. The agent is not privileged, and an attacker may have taken
it over: before anything is done, `orders` checks every value and `places` every path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inrush.launcher import fingerprint, kept, orders, programs, specs, trees, workers
from inrush.launcher.launch import Code, Failure
from inrush.launcher.machine import Machine
from inrush.launcher.places import Refused
from inrush.launcher.programs import Container
from inrush.launcher.specs import EnterSpec, Exited, ForkSpec, RootSpec, RunSpec, Started, TemplateSpec, TemplateUp
from inrush.launcher.templates import Templates
from inrush.linux import messages, paths

MAX_CONTAINERS = 20_000
"""The most containers, and programs entered into them, that one launcher runs at once."""
MAX_WORKERS = 256
"""The most trees that are copied, shifted or removed at once."""
MAX_WORDS = 20_000
"""The most characters of an error's message, and of its detail, each of which JSON makes up to twelve bytes of."""

Fds = list[int]


class Refusal(Exception):
    """A request that the launcher cannot carry out."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


class Service:
    """Carries out the agent's requests until it hangs up."""

    def __init__(self, agent: socket.socket, machine: Machine) -> None:
        self._agent = agent
        self._machine = machine
        self._containers: dict[str, Container] = {}
        self._templates = Templates(machine, self._ended)
        self._requests: dict[str, Callable[[int, dict[str, Any], Fds], None]] = {
            "open_template": self._open_template,
            "close_template": self._close_template,
            "fork": self._fork,
            "run": self._run,
            "enter": self._enter,
            "kill": self._kill,
            "signal": self._signal,
            "usage": self._usage,
            "threads": self._threads,
            "normalise": self._normalise,
            "remove_tree": self._remove_tree,
            "fingerprint": lambda rid, data, fds: self._read_tree(rid, data, fingerprint.of_tree),
            "measure": lambda rid, data, fds: self._read_tree(rid, data, lambda top: str(trees.measure(top))),
            "entrance": lambda rid, data, fds: self._entrance(rid),
            "probe": lambda rid, data, fds: self._answer(rid, self._machine.report()),
        }
        self._working = 0
        self._weight = 0
        """The weight of the order that is carried out now."""
        machine.loop.watch(agent.fileno(), self._hear)
        machine.loop.idle = machine.idle

    def _hear(self) -> None:
        try:
            (body, fds, _), data = messages.receive_whole(self._agent)
        except (OSError, ValueError, RecursionError):
            body, fds, data = None, [], b""
        if not isinstance(body, dict) or type(rid := body.get("rid")) is not int or abs(rid) >> 63:
            messages.close_all(fds)
            self._machine.loop.running = False  # it has hung up, or breaks the protocol
            return
        self._weight = kept.of_message(data)
        try:
            self._carry_out(rid, str(body.get("do")), body.get("spec", {}), fds)
        finally:
            messages.close_all(fds)

    def _carry_out(self, rid: int, do: str, spec: Any, fds: Fds) -> None:
        if do in self._requests and isinstance(spec, dict):
            self._guarded(rid, do, lambda: self._requests[do](rid, spec, fds))
        else:
            self._refuse(rid, Failure("refused", f"{do[:40]!r} is not a request that the launcher knows"))

    def _guarded(self, rid: int, do: str, act: Callable[[], None]) -> None:
        """Carries out a part of a request; an exception becomes its answer."""
        try:
            act()
        except Refusal as refusal:
            self._refuse(rid, refusal.failure)
        except kept.Full as full:
            self._refuse(rid, Failure("busy", str(full)))
        except Refused as error:
            self._refuse(rid, Failure("refused", f"{do}: {error}"))
        except OSError as error:
            self._refuse(rid, Failure("system", f"{do}: {_words(error)}"))
        except Exception as error:  # a malformed order must not end the launcher, and with it all containers
            self._refuse(rid, Failure("refused", f"{do}: not a request that the launcher knows ({error!r})"))

    def _say(self, body: dict[str, Any], fds: Fds | None = None) -> None:
        try:
            messages.send(self._agent, body, fds or [])
        except OSError as error:
            if error.errno == errno.EMSGSIZE and "ok" in body:
                self._refuse(body["rid"], Failure("system", "the answer does not fit into a message"))
            else:
                self._machine.loop.running = False

    def _answer(self, rid: int, result: Any = None) -> None:
        self._say({"rid": rid, "ok": result})

    def _refuse(self, rid: int, failure: Failure) -> None:
        told = replace(failure, message=failure.message[:MAX_WORDS], detail=failure.detail[-MAX_WORDS:])
        self._say({"rid": rid, "error": specs.to_json(told)})

    def _answerer(self, rid: int) -> Callable[[Started | TemplateUp | Failure], None]:
        def answer(result: Started | TemplateUp | Failure) -> None:
            if isinstance(result, Failure):
                self._refuse(rid, result)
            else:
                self._answer(rid, specs.to_json(result))

        return answer

    def _ended(self, exited: Exited) -> None:
        self._say({"exited": specs.to_json(exited)})

    def _new(self, name: str) -> Container:
        if name in self._containers:
            raise Refusal("busy", f"container id {name!r} is in use")
        if len(self._containers) >= MAX_CONTAINERS:
            raise Refusal("busy", f"{MAX_CONTAINERS} containers run on this node already")
        give = self._machine.kept.take(self._weight)
        container = Container(name, lambda: None, self._ended, lambda: self._forget(name, give))
        self._containers[name] = container
        return container

    def _forget(self, name: str, give: Callable[[], None]) -> None:
        self._containers.pop(name, None)
        give()

    def _known(self, name: object) -> Container:
        container = self._containers.get(orders.name(name, "the container id"))
        if container is None or not container.pid:
            raise Refusal("unknown", f"no container {name!r} runs on this node")
        return container

    def _open_template(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = orders.decode(TemplateSpec, data)
        if not self._machine.features.templates:
            raise Refusal("template", f"templates are {self._machine.why['templates']}")
        self._check_root(spec.root)
        orders.check_streams(fds, 2)
        give = self._machine.kept.take(self._weight)
        stdio = (os.dup(fds[0]), os.dup(fds[1]))
        self._with_layers(
            rid,
            spec.root,
            spec.uid_base,
            list(stdio),
            lambda: self._templates.open(spec, stdio, self._answerer(rid), give),
            give,
        )

    def _close_template(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        self._templates.close(orders.name(data.get("key"), "the template key"))
        self._answer(rid)

    def _fork(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = orders.decode(ForkSpec, data)
        self._machine.places.check_devices(spec.devices)
        orders.check_streams(fds, 3)
        template = self._templates.get(spec.template)
        if template is None:
            raise Refusal("unknown", f"template {spec.template!r} is not open: it was closed, or it died")
        self._check_root(spec.root)
        container = self._new(spec.id)
        kept = [os.dup(fd) for fd in fds]
        self._with_layers(
            rid,
            spec.root,
            template.uid_base,
            kept,
            lambda: template.fork(spec, kept, container, self._answerer(rid)),
            container.forget,
            container,
        )

    def _run(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = orders.decode(RunSpec, data)
        self._machine.places.check_devices(spec.devices)
        orders.check_streams(fds, 3)
        self._check_root(spec.root)
        container = self._new(spec.id)
        kept = [os.dup(fd) for fd in fds]
        stdio = (kept[0], kept[1], kept[2])
        self._with_layers(
            rid,
            spec.root,
            spec.uid_base,
            kept,
            lambda: programs.run(self._machine, spec, stdio, container, self._answerer(rid)),
            container.forget,
            container,
        )

    def _enter(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = orders.decode(EnterSpec, data)
        orders.check_streams(fds, 3)
        into = self._known(spec.container)
        container = self._new(spec.id)
        try:
            programs.enter(self._machine, spec, into, (fds[0], fds[1], fds[2]), container, self._answerer(rid))
        except OSError:
            container.forget()
            raise

    def _with_layers(
        self,
        rid: int,
        root: RootSpec,
        uid_base: int,
        kept: Fds,
        act: Callable[[], None],
        forget: Callable[[], None],
        container: Container | None = None,
    ) -> None:
        """Calls `act` once the copies of layers that this kernel needs exist, and then closes the descriptors `kept`.
        If either fails, calls `forget`."""

        def go(failed: str, _: str = "") -> None:
            try:
                if failed:
                    raise Refusal("root", f"a layer could not be copied for this app: {failed}")
                if container and container.killed:
                    raise Refusal("system", "the container was killed while its layers were copied")
                act()
            except (Refusal, OSError) as error:
                forget()
                self._refuse(rid, _failure(error))
            finally:
                messages.close_all(kept)

        base = self._machine.users.base(uid_base)
        missing = self._machine.overlays.missing(root.layers, base)
        if not missing:
            go("")
            return

        workers.work(self._machine.loop, lambda: self._machine.overlays.copy(missing, base), go)

    def _kill(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        container = self._containers.get(orders.name(data.get("id"), "the container id"))
        if container:
            container.killed = True
            container.kill()
            if container.held and container.group:
                container.group.kill()
        self._answer(rid)

    def _signal(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        signum = orders.signum(data.get("signum"))
        self._known(data.get("id")).signal(signum)
        self._answer(rid)

    def _usage(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        group = self._known(data.get("id")).group
        self._answer(rid, specs.to_json(group.usage() if group else specs.Usage()))

    def _threads(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        asked = orders.names(data.get("ids"), "the container ids")
        groups = {id: self._containers[id].group for id in asked if id in self._containers}
        times = {id: group.threads() for id, group in groups.items() if group}
        self._answer(rid, {"at": time.monotonic(), "times": times})

    def _entrance(self, rid: int) -> None:
        network = self._machine.network
        if network is None:
            raise Refusal("system", f"containers have no network here: {self._machine.why.get('nat', '')}")
        self._say({"rid": rid, "ok": None}, [network.entrance().fileno()])

    def _normalise(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        upper, layer = (orders.path(data.get(key), key) for key in ("upper", "layer"))
        base = self._machine.users.base(orders.uid_base(data.get("base_uid")))
        for path in (upper, layer):  # checked now, and opened for work once nobody can write there any more
            os.close(self._machine.places.parent(path)[0])

        give = self._machine.kept.take(self._weight)

        def sealed(wrong: str) -> None:
            give()
            if wrong:
                self._refuse(rid, Failure("busy", wrong))
            else:
                self._guarded(rid, "normalise", lambda: self._publish(rid, upper, layer, base))

        self._machine.seals.wait(upper, sealed)

    def _publish(self, rid: int, upper: str, layer: str, base: int) -> None:
        places, store_uid = self._machine.places, self._machine.store_uid
        with contextlib.ExitStack() as opened:
            above, name = places.parent(upper)
            opened.callback(os.close, above)
            into, wanted = places.parent(layer)
            opened.callback(os.close, into)
            made = os.open(name, paths.DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            opened.callback(os.close, made)

            def act() -> None:
                trees.normalise(made, base, store_uid)
                trees.remove(above, f"{name}.work")
                os.rename(name, wanted, src_dir_fd=above, dst_dir_fd=into)

            self._work(rid, act)

    def _remove_tree(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        path = orders.path(data.get("path"), "path")
        try:
            above, name = self._machine.places.parent(path)
        except FileNotFoundError:
            self._answer(rid)  # there is nothing to remove
            return
        try:
            self._machine.overlays.forget(path)
            self._machine.seals.forget(path)
            self._templates.forget(path)

            def act() -> None:
                trees.remove(above, name)
                self._machine.overlays.remove_copies(path)

            self._work(rid, act)
        finally:
            os.close(above)

    def _read_tree(self, rid: int, data: dict[str, Any], read: Callable[[int], str]) -> None:
        """Answers with what `read` tells of a directory of the store, in a worker."""
        above, name = self._machine.places.parent(orders.path(data.get("path"), "path"))
        try:
            top = os.open(name, paths.DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        finally:
            os.close(above)
        try:
            self._work(rid, lambda: read(top))
        finally:
            os.close(top)

    def _work(self, rid: int, act: Callable[[], str | None]) -> None:
        """Carries out `act` in a worker, a fork that has all descriptors which are open now, and answers with what it
        returns."""

        def done(wrong: str, result: str) -> None:
            self._working -= 1
            if wrong:
                self._refuse(rid, Failure("system", wrong))
            else:
                self._answer(rid, result or None)

        if self._working >= MAX_WORKERS:
            raise Refusal("busy", f"{MAX_WORKERS} trees are being worked on already; ask again")
        self._working += 1
        workers.work(self._machine.loop, act, done)

    def _check_root(self, root: RootSpec) -> None:
        """Refuses layers outside the store before anything of a container is made. `places` checks the paths fully when
        it opens them."""
        for path in [*root.layers, *filter(None, [root.upper])]:
            if not self._machine.places.in_store(path):
                raise Refused(f"{path} is not in the store of this node")


def _failure(error: Refusal | OSError) -> Failure:
    if isinstance(error, Refusal):
        return error.failure
    return Failure("refused" if isinstance(error, Refused) else "root", _words(error))


def _words(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"
