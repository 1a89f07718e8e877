"""The launcher's side of its one conversation: requests of the agent in, answers and ends of containers out.

A request is `{"rid", "do", "spec"}` with descriptors; its answer `{"rid", "ok"}` or `{"rid", "error": {code,
message, detail}}`. An end is `{"exited"}`. The agent is not privileged, so what it may ask is limited: trees are
changed below the state directory only.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inrush.launcher import programs, specs, trees, workers
from inrush.launcher.launch import Failure
from inrush.launcher.machine import Machine
from inrush.launcher.programs import Container
from inrush.launcher.specs import EnterSpec, Exited, RootSpec, Started, TemplateUp
from inrush.launcher.templates import Templates
from inrush.linux import messages

Fds = list[int]


class Refusal(Exception):
    """A request that cannot be carried out."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


class Service:
    """Carries out the agent's requests until it goes away."""

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
            "normalise": self._normalise,
            "remove_tree": self._remove_tree,
            "probe": lambda rid, data, fds: self._answer(rid, self._machine.report()),
        }
        machine.loop.watch(agent.fileno(), self._hear)
        machine.loop.idle = machine.idle

    def _hear(self) -> None:
        try:
            body, fds, _ = messages.receive(self._agent)
        except OSError:
            body, fds = None, []
        if body is None:
            self._machine.loop.running = False
            return
        rid = int(body["rid"])
        try:
            self._requests[body["do"]](rid, body.get("spec", {}), fds)
        except Refusal as refusal:
            self._refuse(rid, refusal.failure)
        except OSError as error:
            self._refuse(rid, Failure("system", f"{body['do']}: {_words(error)}"))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self._refuse(
                rid, Failure("refused", f"{body.get('do')}: not a request that the launcher knows ({error!r})")
            )
        finally:
            messages.close_all(fds)

    def _say(self, body: dict[str, Any]) -> None:
        try:
            messages.send(self._agent, body)
        except OSError:
            self._machine.loop.running = False

    def _answer(self, rid: int, result: Any = None) -> None:
        self._say({"rid": rid, "ok": result})

    def _refuse(self, rid: int, failure: Failure) -> None:
        self._say({"rid": rid, "error": specs.to_json(failure)})

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
        if name in self._containers or not _is_name(name):
            raise Refusal("busy", f"container id {name!r} is in use or not a plain name")
        container = Container(name, lambda: None, self._ended, lambda: self._forget(name))
        self._containers[name] = container
        return container

    def _forget(self, name: str) -> None:
        self._containers.pop(name, None)

    def _known(self, name: str) -> Container:
        container = self._containers.get(name)
        if container is None or not container.pid:
            raise Refusal("unknown", f"no container {name!r} runs on this node")
        return container

    def _open_template(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = specs.template_from(data)
        if not self._machine.features.templates:
            raise Refusal("template", f"templates are {self._machine.why['templates']}")
        self._check_root(spec.root)
        if not _is_name(spec.key):
            raise Refusal("refused", f"template key {spec.key!r} is not a plain name")
        stdio = (os.dup(fds[0]), os.dup(fds[1]))
        self._with_layers(
            rid, spec.root, spec.uid_base, list(stdio), lambda: self._templates.open(spec, stdio, self._answerer(rid))
        )

    def _close_template(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        self._templates.close(str(data["key"]))
        self._answer(rid)

    def _fork(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = specs.fork_from(data)
        template = self._templates.get(spec.template)
        if template is None:
            raise Refusal("unknown", f"template {spec.template!r} is not open (it was closed, or it died)")
        self._check_root(spec.root)
        container = self._new(spec.id)
        kept = [os.dup(fd) for fd in fds]
        self._with_layers(
            rid,
            spec.root,
            template.uid_base,
            kept,
            lambda: template.fork(spec, kept, container, self._answerer(rid)),
            container,
        )

    def _run(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = specs.run_from(data)
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
            container,
        )

    def _enter(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        spec = EnterSpec(**data)
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
        container: Container | None = None,
    ) -> None:
        """Do `act` when the copies of layers that this kernel needs are there; then `kept` descriptors are closed."""

        def go(failed: str) -> None:
            try:
                if failed:
                    raise Refusal("root", f"a layer could not be copied for this app: {failed}")
                if container and container.killed:
                    raise Refusal("system", "the container was killed while its layers were copied")
                act()
            except (Refusal, OSError) as error:
                if container:
                    container.forget()
                self._refuse(rid, error.failure if isinstance(error, Refusal) else Failure("root", _words(error)))
            finally:
                messages.close_all(kept)

        base = self._machine.users.base(uid_base)
        missing = self._machine.overlays.missing(root.layers, base)
        if not missing:
            go("")
            return

        def copy() -> None:
            for layer, place in missing:
                trees.shift(layer, base, place)

        workers.work(self._machine.loop, copy, go)

    def _kill(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        container = self._containers.get(str(data["id"]))
        if container:
            container.killed = True
            container.kill()
            if container.held and container.group:
                container.group.kill()
        self._answer(rid)

    def _signal(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        self._known(str(data["id"])).signal(signal.Signals(int(data["signum"])))
        self._answer(rid)

    def _usage(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        group = self._known(str(data["id"])).group
        self._answer(rid, specs.to_json(group.usage() if group else specs.Usage()))

    def _normalise(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        upper, layer = (self._inside(str(data[key])) for key in ("upper", "layer"))
        base = self._machine.users.base(int(data["base_uid"]))

        def sealed(wrong: str) -> None:
            if wrong:
                self._refuse(rid, Failure("busy", wrong))
            else:
                self._work(rid, lambda: trees.normalise(upper, base, layer))

        self._machine.seals.wait(upper, sealed)

    def _remove_tree(self, rid: int, data: dict[str, Any], fds: Fds) -> None:
        path = self._inside(str(data["path"]), link=True)
        self._machine.overlays.forget(path)
        self._machine.seals.forget(path)
        self._templates.forget(path)
        self._work(rid, lambda: trees.remove(path))

    def _work(self, rid: int, act: Callable[[], None]) -> None:
        workers.work(
            self._machine.loop,
            act,
            lambda wrong: self._refuse(rid, Failure("system", wrong)) if wrong else self._answer(rid),
        )

    def _check_root(self, root: RootSpec) -> None:
        if not root.layers:
            raise Refusal("root", "a container needs at least one layer")
        for path in [root.upper, *(b.src for b in root.binds if not b.readonly)]:
            if path:
                self._inside(path)

    def _inside(self, path: str, link: bool = False) -> str:
        """`path`, which must be below the state directory, whatever symbolic links say. It may itself be a `link` only
        where that is not followed.
        """
        parent = Path(path).parent.resolve()
        place = parent / Path(path).name
        refused = place.is_symlink() and not link
        if not parent.is_relative_to(self._machine.state) or place.name in ("", ".", "..") or refused:
            raise Refusal("refused", f"{path} is not below {self._machine.state}, where alone the launcher writes")
        return str(place)


def _words(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= 100 and name.isascii() and all(c.isalnum() or c in "-_." for c in name) and name[0] not in "."
    )
