"""Compares all policies on all traces, and writes the outcome as a page: `make compare` writes
`docs/autoscaling-compared.md`.

A policy *beats* another on a trace with a lower p99 of the queue delay at no more container seconds. It *dominates* the
other with both a lower p99 and fewer container seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from inrush.core.model.tuning import TUNING, Tuning
from inrush.errors import InvalidError
from inrush.sim.oracle import oracle_s, work_s
from inrush.sim.rivals.arena import Outcome
from inrush.sim.rivals.beta9 import Beta9Endpoint, Beta9Queue
from inrush.sim.rivals.crowd import Crowd, Rival
from inrush.sim.rivals.fixed import WarmCrowd
from inrush.sim.rivals.keda import Keda
from inrush.sim.rivals.knative import Knative
from inrush.sim.rivals.ours import Ours
from inrush.sim.rivals.ray_serve import RayServe
from inrush.sim.rivals.runpod import QueueDelay, RequestCount
from inrush.sim.traces.trace import Trace
from inrush.sim.traffic import Traffic

RIVALS: tuple[Rival, ...] = (Knative, RayServe, Keda, QueueDelay, RequestCount, Beta9Endpoint, Beta9Queue)
SEED = 7
DENSE = 10.0
"""From so many busy containers on average on, a trace is dense."""
SHARE, DISTANCE = 0.8, 1.3
"""The goals: the part of the traces on which each rival is beaten, and the distance to the oracle."""


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of all policies on one trace."""

    trace: Trace
    ours: Outcome
    rivals: tuple[Outcome, ...]
    work_s: float
    oracle_s: float
    bound_s: float
    """What the oracle pays for the lowest p99 of all rivals."""

    @property
    def dense(self) -> bool:
        return self.work_s / self.ours.end_s >= DENSE

    @property
    def distance(self) -> float:
        """How much more container time ours pays than the oracle, at equal p99."""
        return self.ours.gpu_s / self.oracle_s


def compare(traces: Iterable[Trace], seed: int = SEED, tuning: Tuning = TUNING) -> list[Row]:
    """Plays each of the traces with every policy."""
    return [_row(trace, seed, tuning) for trace in traces]


def recorded(path: str, starts_s: Iterable[float], slots: int = 1, service_s: float = 1.0) -> Iterator[Trace]:
    """The arrivals in a file as traces, one for each length of a start. `service_s` is used where the file does not say
    how long they run. Raises `InvalidError` for a file that cannot be read or is empty."""
    traffic = Traffic(trace=path)
    if next(iter(traffic.arrivals(0, "")), None) is None:
        raise InvalidError(f"{path} holds no arrivals: a row for each call, with a column that says when")
    for start_s in starts_s:
        name = f"{Path(path).stem}-{start_s:g}s"
        yield Trace(name=name, about="recorded", traffic=traffic, start_s=start_s, service_s=service_s, slots=slots)


def beats(one: Outcome, other: Outcome) -> bool:
    """Whether a policy has a lower p99 at no more container seconds. A fixed pool is sized to cost the same, rounded up
    to a container."""
    return one.p99_s < other.p99_s and (one.gpu_s <= other.gpu_s or other.policy == "fixed")


def dominates(one: Outcome, other: Outcome) -> bool:
    """Whether a policy has both a lower p99 and fewer container seconds."""
    return one.p99_s < other.p99_s and one.gpu_s < other.gpu_s


def beaten(rows: list[Row]) -> dict[str, int]:
    """For each rival, the traces on which ours beats it."""
    names = [rival.policy for rival in rows[0].rivals]
    return {name: sum(beats(row.ours, row.rivals[k]) for row in rows) for k, name in enumerate(names)}


def unbeatable(row: Row) -> str:
    """Why no policy can beat all rivals of the trace at once; empty where one may. A fixed pool costs what ours
    does."""
    least = min(row.rivals, key=lambda rival: rival.p99_s)
    if not least.p99_s:
        return f"{least.policy}'s p99 is 0"
    cheapest = min((rival for rival in row.rivals if rival.policy != "fixed"), key=lambda rival: rival.gpu_s)
    if row.bound_s <= cheapest.gpu_s:
        return ""
    paid, bound = cheapest.gpu_s / row.work_s, row.bound_s / row.work_s
    return f"at {least.policy}'s p99 the oracle pays {bound:.2f}, {cheapest.policy} {paid:.2f}"


def dominated(rows: list[Row]) -> list[str]:
    """The traces on which a rival dominates ours."""
    return [f"{rival.policy} on {row.trace.name}" for row in rows for rival in row.rivals if dominates(rival, row.ours)]


def as_dict(row: Row) -> dict[str, Any]:
    """A row for machines: the outcome of each policy, and how ours compares."""
    return {
        "trace": row.trace.name,
        "start_s": row.trace.start_s,
        "slots": row.trace.slots,
        "work_s": row.work_s,
        "oracle_s": row.oracle_s,
        "dense": row.dense,
        "policies": {outcome.policy: asdict(outcome) for outcome in (row.ours, *row.rivals)},
        "beaten": [rival.policy for rival in row.rivals if beats(row.ours, rival)],
        "dominated_by": [rival.policy for rival in row.rivals if dominates(rival, row.ours)],
    }


def line(row: Row) -> str:
    """A row of the table. A star marks a rival that ours beats, an exclamation mark one that dominates ours."""
    cells = [f"{row.trace.name}", f"{row.trace.start_s:g}", _cell(row.ours, row.work_s)]
    for rival in row.rivals:
        mark = " *" if beats(row.ours, rival) else " !" if dominates(rival, row.ours) else ""
        cells.append(_cell(rival, row.work_s) + mark)
    return f"| {' | '.join(cells)} | {row.distance:.2f}{' (dense)' if row.dense else ''} |"


def page(rows: list[Row]) -> str:
    """The measured part of the page: goals and results, then the table."""
    lines = [line(row) for row in rows]
    names = ["trace", "start, s", "inrush", *(rival.policy for rival in rows[0].rivals), "to the oracle"]
    digest = blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
    table = [f"| {' | '.join(names)} |", "|---" * len(names) + "|", *lines]
    return "\n".join([*_claims(rows), "", *table, "", f"Digest of the table: `{digest}`.", ""])


def _claims(rows: list[Row]) -> list[str]:
    need = math.ceil(SHARE * len(rows))
    found = [f"| rival | beaten on, of {len(rows)} traces | aim: {need} |", "|---|---|---|"]
    for name, count in beaten(rows).items():
        found.append(f"| {name} | {count} | {'reached' if count >= need else f'missed by {need - count}'} |")
    worse, dense = dominated(rows), [row for row in rows if row.dense]
    far = [f"{row.trace.name} {row.distance:.2f}" for row in dense if row.distance > DISTANCE]
    found += ["", f"Dominated by a rival: {'; '.join(worse) or 'nowhere'} (aim: nowhere)."]
    near = len(dense) - len(far)
    found += ["", f"Within {DISTANCE} times the oracle on {near} of {len(dense)} dense traces (aim: all)."]
    if far:
        found.append(f"Further: {', '.join(far)}.")
    never = [f"{row.trace.name} ({why})" for row in rows if (why := unbeatable(row))]
    return [*found, "", f"No policy beats all rivals at once on {len(never)} traces: {'; '.join(never) or 'none'}."]


def computing(traces: Iterable[Trace], seed: int = SEED) -> list[tuple[Trace, list[Outcome]]]:
    """What ours, and then the rivals, make of traces in which containers share cores."""
    found = []
    for trace in traces:
        ours = Ours(trace, seed).run()
        fixed = WarmCrowd(trace, seed, max(1, math.ceil(ours.gpu_s / ours.end_s)))
        found.append((trace, [ours, *(Crowd(trace, seed, rival(trace)).run() for rival in RIVALS), fixed.run()]))
    return found


def computing_page(found: list[tuple[Trace, list[Outcome]]]) -> str:
    """The section of these traces. Where containers compete an input takes longer too, so what counts is the p99 until
    it has ended."""
    names = ["trace", *(outcome.policy for outcome in found[0][1])]
    lines = [
        f"| {' | '.join([trace.name, *(f'{o.answer_p99_s:.3g} s · {o.gpu_s:.0f} s' for o in outcomes)])} |"
        for trace, outcomes in found
    ]
    about = [f"- `{trace.name}`: {trace.about}" for trace, _ in found]
    title = "## Where inputs compute\n\nThe p99 from arrival until an input has ended, and the seconds of containers:\n"
    return "\n".join([title, f"| {' | '.join(names)} |", "|---" * len(names) + "|", *lines, "", *about, ""])


def _cell(outcome: Outcome, work: float) -> str:
    return f"{outcome.p99_s:.3g} s · {outcome.gpu_s / work:.2f}"


def _row(trace: Trace, seed: int, tuning: Tuning) -> Row:
    ours = Ours(trace, seed, tuning).run()
    size = max(1, math.ceil(ours.gpu_s / ours.end_s))
    rivals = [Crowd(trace, seed, rival(trace)).run() for rival in RIVALS]
    rivals.append(WarmCrowd(trace, seed, size).run())
    requests = trace.requests(seed)
    near, bound = (oracle_s(trace, requests, p99_s) for p99_s in (ours.p99_s, min(rival.p99_s for rival in rivals)))
    return Row(trace, ours, tuple(rivals), work_s(trace, requests), near, bound)
