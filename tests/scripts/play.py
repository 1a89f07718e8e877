"""Plays decision scripts: commands, `----`, and the effects that the core answered with, each with its why.

    python tests/scripts/play.py --rewrite        writes down anew, on purpose, what the core decides now

A script is read in blocks, separated by blank lines; the cluster lives through all blocks of a file. Lines that start
with `#` say what the block is about. Commands (`[…]` may be left out):

    quotas SETTING                                                 comes first, as the setting `quotas`
    pool TYPE nodes=N gpus=N [cpu=N] [memory=MIB] [region=R] [price=P] [label=K:V]
                                   nodes no-1, no-2, … (TYPE `cpu`: without GPUs)
    function F [gpu=T[:N]] [slots=N] [target=N] [containers=A..B] [buffer=N] [window=S] [retries=N] [delay=S] [cpu=N]
               [memory=MIB] [app=A] [priority=N] [durable=1] [single_use=1] [nonpreemptible=1]
               [cluster=N] [label=K:V] [snapshot=1] [trial=beside]
    calls F N [kind=K] [caller=C]                                  the next call, ca-1, ca-2, …, with N inputs
    ready C…|all [after=S]        container(s) become ready        done C|all [N] [STATUS] [took=S]   N (all) inputs end
    back C N                      gives back all its inputs but N
    end C STATUS                  a container ends                 stopped                   all told to stop have ended
    wait S                        time passes, with its ticks      lose NODE   join NODE like=NODE
    node NODE [unfit=WHY] [drain=1] [holds=F]       what it says of itself (spaces as _; it holds the image of F)
    mute NODE                      it answers nothing by itself   heard NODE C…              it answers: it has these
    cancel CALL [terminate=1]     forget CALL                      remove F [drain=1]        replace F G
    use NODE [F] [serving=CORES] [starting=CORES] [took=S]         what the node saw containers of F use
    override F [containers=A..B] [buffer=N] [window=S]             why F                     what `inrush why` says
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.quotas import parse
from inrush.core.model.wanted import image_key
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Recipe, Resources, Retries, ScalePolicy, Status

HERE = Path(__file__).parent


class Player:
    """One cluster, and what a shell would know of it."""

    def __init__(self) -> None:
        self.cluster = Cluster("script")
        self.now = 0.0
        self.wake_at = math.inf
        self.names: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.runs: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.inventories: dict[str, Inventory] = {}
        self.calls = 0
        self.mute: set[str] = set()
        self.answers: list[events.Event] = []
        self.lines: list[str] = []

    def play(self, command: str) -> None:
        """One command; what the core answers is added to `lines`."""
        verb, *words = command.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        getattr(self, f"_{verb}")(*[word for word in words if "=" not in word], **options)

    def _step(self, event: events.Event) -> None:
        if isinstance(event, events.Tick):
            self.wake_at = math.inf
        for effect in self.cluster.step(event, self.now):
            self.lines += self._told(effect)
        answers, self.answers = self.answers, []
        for answer in answers:
            self._step(answer)
        assert self.cluster.violations() == []

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pool(
        self,
        kind: str,
        nodes: str,
        gpus: str = "0",
        cpu: str = "64",
        memory: str = "65536",
        region: str = "",
        price: str = "0",
        label: str = "",
    ) -> None:
        for _ in range(int(nodes)):
            node = f"no-{len(self.inventories) + 1}"
            devices = tuple(Gpu(type=kind.upper(), index=i, declared=True) for i in range(int(gpus)))
            self.inventories[node] = Inventory(
                cpu=float(cpu),
                memory_mib=int(memory),
                gpus=devices,
                region=region,
                price=float(price),
                labels=_labels(label),
            )
            self._step(events.NodeJoined(node, self.inventories[node]))

    def _function(self, name: str, app: str = "ap", durable: str = "", **options: str) -> None:
        least, most = _bounds(options.get("containers", "0.."))
        scale = ScalePolicy(
            min_containers=least or 0,
            max_containers=most,
            buffer_containers=int(options.get("buffer", 0)),
            scaledown_window_s=float(options.get("window", 60)),
            max_inputs=int(options.get("slots", 1)),
            target_inputs=int(options["target"]) if "target" in options else None,
            single_use=bool(options.get("single_use")),
        )
        resources = Resources(
            cpu=float(options.get("cpu", 0.125)),
            memory_mib=int(options.get("memory", 128)),
            gpu=tuple(_gpu(text) for text in options.get("gpu", "").split(",") if text),
        )
        retries = Retries(max_retries=int(options.get("retries", 0)), initial_delay_s=float(options.get("delay", 1)))
        priority = int(options.get("priority", 0))
        spec = FunctionSpec(
            name=name,
            scale=scale,
            resources=resources,
            retries=retries,
            priority=priority,
            image=Recipe(base=options.get("image", "host")),
            snapshot="snapshot" in options,
            nonpreemptible="nonpreemptible" in options,
            cluster_size=int(options.get("cluster", 0)),
            node_labels=_labels(options.get("label", "")),
        )
        self._step(events.FunctionAdded(name, app, spec, bool(durable), options.get("trial", "")))

    def _calls(self, function: str, count: str, kind: str = "map", caller: str = "") -> None:
        self.calls += 1
        from_id = self.ids[caller] if caller else ""
        self._step(events.CallArrived(f"ca-{self.calls}", function, kind, int(count), caller=from_id))
        self._step(events.InputsArrived(f"ca-{self.calls}", 0, int(count)))

    def _ready(self, *containers: str, after: str = "0") -> None:
        self._wait(after)
        starting = [self.names[c.id] for c in self.cluster.containers.values() if c.state == "starting"]
        for name in starting if containers == ("all",) else containers:
            self._step(events.ContainerReady(self.ids[name], "fork", 5.0))

    def _done(self, container: str, count: str = "0", status: str = "OK", took: str = "-1") -> None:
        for key in list(self.runs) if container == "all" else [self.ids[container]]:
            some = self.runs[key][: int(count) or None]
            self.runs[key] = self.runs[key][len(some) :]
            for call in dict.fromkeys(call for call, _ in some):
                indexes = tuple(index for other, index in some if other == call)
                statuses = (int(Status[status]),) * len(indexes)
                refs, spent_s = (None,) * len(indexes), float(took) * len(indexes)
                self._step(events.AttemptsEnded(key, call, indexes, statuses, refs, spent_s))

    def _back(self, container: str, keep: str) -> None:
        key = self.ids[container]
        some, self.runs[key] = self.runs[key][int(keep) :], self.runs[key][: int(keep)]
        for call in dict.fromkeys(call for call, _ in some):
            self._step(events.InputsReturned(key, call, tuple(index for other, index in some if other == call)))

    def _end(self, container: str, status: str) -> None:
        self.runs.pop(self.ids[container], None)
        self._step(events.ContainerEnded(self.ids[container], int(Status[status]), f"it ended with {status}", "ref"))

    def _stopped(self) -> None:
        for container in [c.id for c in self.cluster.containers.values() if c.state == "stopping"]:
            self._end(self.names[container], "OK")

    def _wait(self, seconds: str) -> None:
        until = self.now + float(seconds)
        while self.wake_at < until:
            self.now = max(self.now, self.wake_at)
            self._step(events.Tick())
        if until > self.now:
            self.now = until
            self._step(events.Tick())

    def _lose(self, node: str) -> None:
        for container in [c.id for c in self.cluster.nodes[node].containers.values()]:
            self.runs.pop(container, None)
        self._step(events.NodeLeft(node, "its link broke"))

    def _join(self, node: str, like: str) -> None:
        self.inventories[node] = self.inventories[like]
        self._step(events.NodeJoined(node, self.inventories[like]))

    def _node(self, node: str, unfit: str = "", drain: str = "", holds: str = "") -> None:
        spec = self.cluster.functions[holds].spec if holds else None
        held = (image_key(spec.image), holds) if spec is not None else ()
        self._step(events.NodeChanged(node, held, unfit.replace("_", " "), bool(drain)))

    def _mute(self, node: str) -> None:
        self.mute.add(node)

    def _heard(self, node: str, *containers: str) -> None:
        known = self.cluster.nodes[node]
        there = tuple(self.ids.get(name, name) for name in containers)
        self._step(events.NodeContainers(node, known.questions, there))

    def _use(self, node: str, function: str = "", serving: str = "-1", starting: str = "-1", took: str = "-1") -> None:
        uses = ((function, float(serving), float(starting), float(took)),) if function else ()
        self._step(events.CpuUsed(node, uses))

    def _quotas(self, **quotas: str) -> None:
        self.cluster = Cluster("script", quotas=parse(",".join(map("=".join, quotas.items()))))

    def _cancel(self, call: str, terminate: str = "") -> None:
        self._step(events.CallCancelled(call, "by its caller", bool(terminate)))

    def _forget(self, call: str) -> None:
        self._step(events.CallForgotten(call))

    def _remove(self, function: str, drain: str = "") -> None:
        self._step(events.FunctionRemoved(function, "its app was stopped", bool(drain)))

    def _replace(self, old: str, new: str) -> None:
        self._step(events.FunctionReplaced(old, new))

    def _override(self, function: str, containers: str = "..", buffer: str = "", window: str = "") -> None:
        least, most = _bounds(containers)
        extra = int(buffer) if buffer else None
        self._step(events.ScaleOverridden(function, least, most, extra, float(window) if window else None))

    def _why(self, function: str) -> None:
        self.lines += (self._renamed(line) for line in self.cluster.explain(function))

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _told(self, effect: effects.Effect) -> list[str]:
        match effect:
            case effects.StartContainer():
                name = self._name(effect.container)
                gpus = f" with {effect.gpu_type} {','.join(map(str, effect.gpus))}" if effect.gpus else ""
                share = f" at {effect.gpu_share:g}" if effect.gpu_share < 1 else ""
                rank = f" as {effect.rank} of {self._name(effect.cluster)}" if effect.cluster else ""
                return [f"start {name} {effect.function} on {effect.node}{gpus}{share}{rank}    why: {effect.why}"]
            case effects.StopContainer():
                how = " at once" if effect.kill else f" within {effect.grace_s:g} s"
                return [f"stop {self._name(effect.container)}{how}    why: {effect.why}"]
            case effects.Dispatch():
                self.runs[effect.container] += ((effect.call, index) for index in effect.indexes)
                return [f"run {self._name(effect.container)} {effect.call} {_spans(effect.indexes)}"]
            case effects.CancelRun():
                return [f"cancel {self._name(effect.container)} {effect.call} {_spans(effect.indexes)}"]
            case effects.Recall():
                return [f"recall {self._name(effect.container)}"]
            case effects.Resolve():
                names = ",".join(dict.fromkeys(Status(status).name for status in effect.statuses))
                why = f"    why: {effect.why}" if effect.why else ""
                return [f"resolve {effect.call} {_spans(effect.indexes)} {names}{why}"]
            case effects.Waiting():
                return [f"waiting {effect.function}: {effect.why or 'no longer'}"]
            case effects.Decided():
                return [f"decided {effect.function}    why: {effect.why}"]
            case effects.ListContainers() if effect.node not in self.mute:
                there = tuple(self.cluster.nodes[effect.node].containers)
                self.answers.append(events.NodeContainers(effect.node, effect.number, there))
            case effects.ContainerLost():
                return [f"lost {self._name(effect.container)}    why: {effect.why}"]
            case effects.Tried():
                return [f"tried {effect.function}: {effect.outcome}" + (f"    why: {effect.why}" if effect.why else "")]
            case effects.WakeAt():
                self.wake_at = min(self.wake_at, effect.at)
        return []

    def _name(self, container: str) -> str:
        if container not in self.names:
            self.names[container] = f"co-{len(self.names) + 1}"
            self.ids[self.names[container]] = container
        return self.names[container]

    def _renamed(self, line: str) -> str:
        for container, name in self.names.items():
            line = line.replace(container, name)
        return line


def _gpu(text: str) -> GpuRequest:
    kind, _, count = text.partition(":")
    if "." in count:
        return GpuRequest(type=kind.upper(), share=float(count))
    return GpuRequest(type=kind.upper(), count=int(count or 1))


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    key, _, value = text.partition(":")
    return ((key, value),) if key else ()


def _bounds(text: str) -> tuple[int | None, int | None]:
    least, _, most = text.partition("..")
    return int(least) if least else None, int(most) if most else None


def _spans(indexes: tuple[int, ...]) -> str:
    spans: list[list[int]] = []
    for index in indexes:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(a) if a == b else f"{a}..{b}" for a, b in spans)


def written_anew(script: str) -> str:
    """The script with what the core decides now in place of what it says."""
    player: Any = Player()
    blocks = []
    for block in script.strip().split("\n\n"):
        commands = block.split("\n----", 1)[0].splitlines()
        player.lines = []
        for command in commands:
            if command and not command.startswith("#"):
                player.play(command)
        comments_only = all(command.startswith("#") for command in commands)
        blocks.append("\n".join(commands if comments_only else [*commands, "----", *player.lines]))
    return "\n\n".join(blocks) + "\n"


def main() -> None:
    for path in sorted(HERE.glob("*.txt")):
        before = path.read_text()
        after = written_anew(before)
        if after != before:
            print(f"{path.name}: {'rewritten' if '--rewrite' in sys.argv else 'differs; --rewrite accepts it'}")
            if "--rewrite" in sys.argv:
                path.write_text(after)


if __name__ == "__main__":
    main()
