"""Small worlds made up from a seed and full of trouble, to check that the core is sound after every step and that
everything ends.

A world may have pools that are static, elastic or out of stock; functions with and without GPUs, with parts of them,
priorities, bounds and retries; starts and inputs that crash; nodes that die, fall silent, flap, are slow or lose orders
and reports. Nodes always come back, so every call must end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from inrush.errors import Error
from inrush.sim.chance import uniform
from inrush.sim.run import simulate
from inrush.sim.scenario import Fault, Override, Pool, Scenario, Workload
from inrush.sim.traffic import Traffic
from inrush.wire import FunctionSpec, GpuRequest, Resources, Retries, ScalePolicy

T = TypeVar("T")

END_S = 7200.0
"""Virtual seconds within which everything must have ended. What runs in these worlds takes minutes."""


class Dice:
    """Choices by name."""

    def __init__(self, seed: int, *key: object) -> None:
        self._seed, self._key = seed, key

    def among(self, name: str, choices: Sequence[T]) -> T:
        """One of these values."""
        return choices[int(uniform(self._seed, *self._key, name) * len(choices))]

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number between these, both included."""
        return self.among(name, range(least, most + 1))

    def between(self, name: str, least: float, most: float) -> float:
        """A number between these."""
        return least + (most - least) * uniform(self._seed, *self._key, name)

    def chance(self, name: str, share: float) -> bool:
        """True in this part of all cases."""
        return uniform(self._seed, *self._key, name) < share


def failure(seed: int) -> str:
    """What is wrong with the world of this seed; empty when nothing is."""
    try:
        report = simulate(scenario(seed), seed)
    except Error as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"{report.calls_open} of {report.calls} calls have not ended after {END_S:g} s" if report.calls_open else ""


def scenario(seed: int) -> Scenario:
    """The world of a seed."""
    dice = Dice(seed, "fuzz")
    pools = [_pool(seed, number) for number in range(dice.whole("pools", 1, 3))]
    workloads = [_workload(seed, number, pools) for number in range(dice.whole("workloads", 1, 4))]
    return Scenario(
        about=f"made up from seed {seed}",
        pools=tuple(pools),
        workloads=tuple(workloads),
        faults=tuple(_fault(seed, number) for number in range(dice.whole("faults", 0, 4))),
        overrides=tuple(_override(seed, w.function) for w in workloads if dice.chance(f"override {w.function}", 0.2)),
        end_s=END_S,
        check_s=0.0,
    )


def _pool(seed: int, number: int) -> Pool:
    dice = Dice(seed, "pool", number)
    nodes = dice.whole("nodes", 1, 4) if number == 0 else dice.whole("nodes", 0, 2)
    out = dice.between("out", 0, 40)
    return Pool(
        name=f"pool{number + 1}",
        nodes=nodes,
        nodes_max=nodes + dice.whole("more", 1, 4) if number or dice.chance("elastic", 0.3) else None,
        cpu=dice.among("cpu", (4.0, 16.0)),
        gpu_type=dice.among("type", ("A100", "H100", "A10G")),
        gpus=dice.among("gpus", (1, 2, 4, 8)),
        price=dice.between("price", 1, 20),
        node_s=dice.between("node_s", 1, 60),
        stockouts=((out, out + 60),) if dice.chance("stockout", 0.3) else (),
    )


def _workload(seed: int, number: int, pools: list[Pool]) -> Workload:
    dice = Dice(seed, "workload", number)
    until_s = dice.between("until", 2, 15)
    gpu = _gpu(dice, pools[0])
    return Workload(
        spec=FunctionSpec(
            name=f"f{number}",
            resources=Resources(cpu=dice.among("cpu", (0.125, 1.0)), gpu=gpu),
            scale=_scale(dice, may_stay=not gpu),
            retries=Retries(max_retries=dice.whole("retries", 0, 3), initial_delay_s=0.2),
            priority=dice.among("priority", (0, 0, 5)),
        ),
        app=dice.among("app", ("a", "b")),
        traffic=Traffic(
            rates=((0, dice.between("first", 0.1, 8)), (until_s / 2, dice.between("then", 0.1, 8))),
            until_s=until_s,
            bursts=((dice.between("burst at", 0, until_s), dice.whole("burst", 1, 30)),) if number % 2 else (),
        ),
        inputs=dice.among("inputs", (1, 1, 1, 7)),
        start_s=dice.among("start", (0.005, 0.5, 5.0)),
        service_s=dice.among("service", (0.0005, 0.05, 0.5, 2.0)),
        start_fails=dice.among("start fails", (0.0, 0.0, 0.1)),
        input_crashes=dice.among("crashes", (0.0, 0.0, 0.02)),
    )


def _gpu(dice: Dice, pool: Pool) -> tuple[GpuRequest, ...]:
    """A GPU request that the first pool can meet."""
    own = GpuRequest(type=pool.gpu_type, count=dice.whole("count", 1, pool.gpus))
    part = GpuRequest(type=pool.gpu_type, share=dice.among("share", (0.25, 0.5)))
    return dice.among("gpu", ((), (own,), (part,), (GpuRequest(type="ANY"),), (GpuRequest(type="H100"), own)))


def _scale(dice: Dice, may_stay: bool) -> ScalePolicy:
    """A scaling policy. Only with `may_stay` may it have a minimum, since a minimum could hold all GPUs for ever."""
    slots = dice.among("slots", (1, 1, 2, 5))
    return ScalePolicy(
        min_containers=dice.among("min", (0, 0, 0, 1)) if may_stay else 0,
        max_containers=dice.among("max", (None, None, 1, 4)),
        buffer_containers=dice.among("buffer", (0, 0, 1)),
        scaledown_window_s=dice.among("window", (1.0, 60.0)),
        max_inputs=slots,
        target_inputs=dice.among("target", (None, 1)),
        single_use=dice.chance("single use", 0.1),
    )


def _fault(seed: int, number: int) -> Fault:
    dice = Dice(seed, "fault", number)
    return Fault(
        kind=dice.among("kind", ("loss", "silence", "slow", "forgetful")),
        at_s=dice.between("at", 0, 20),
        nodes=dice.whole("nodes", 1, 3),
        for_s=dice.between("for", 0.1, 20),
        noticed_s=dice.between("noticed", 0.5, 6),
        times=dice.whole("times", 1, 4),
        every_s=dice.between("every", 1, 10),
    )


def _override(seed: int, function: str) -> Override:
    dice = Dice(seed, "override", function)
    return Override(at_s=dice.between("at", 0, 15), function=function, max_containers=dice.whole("max", 1, 3))
