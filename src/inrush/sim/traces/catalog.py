"""The traces that come along: steps, ramps, days, bursts, on and off, crowds, heavy tails, and one that was recorded.

Starts are of four kinds: 5 ms (a fork), about a second (an import), about ten (a model) and forty (a large one).
"""

from __future__ import annotations

from pathlib import Path

from inrush.sim.traces.trace import Trace
from inrush.sim.traffic import Day, Traffic

FORK, IMPORT, MODEL, LARGE = 0.005, 1.0, 10.0, 40.0
RECORDED = str(Path(__file__).with_name("azure_llm_2023.csv"))


def _step(low: float, high: float, begin: float, end: float, until: float) -> Traffic:
    return Traffic(rates=((0, low), (begin, high), (end, low)), until_s=until)


def _waves(low: float, high: float, on_s: float, period_s: float, until: float) -> Traffic:
    """Traffic that is low for most of a period and high at its end."""
    starts = [k * period_s for k in range(int(until / period_s))]
    return Traffic(
        rates=tuple(pair for at in starts for pair in ((at, low), (at + period_s - on_s, high))), until_s=until
    )


def _crowd(low: float, high: float, at: float, half_s: float, until: float) -> Traffic:
    """Traffic that jumps to `high` and then halves every `half_s`."""
    falls = tuple((at + k * half_s, max(low, high / 2**k)) for k in range(12) if at + k * half_s < until)
    return Traffic(rates=((0, low), *falls), until_s=until)


def _irregular(low: float, until: float) -> Traffic:
    """Crowds of many sizes and lengths with pauses of many lengths, so that nothing repeats."""
    waves = ((37, 6, 90), (80, 2, 160), (131, 25, 30), (223, 9, 75), (241, 4, 120), (330, 40, 20), (455, 12, 110))
    rates = [pair for at, length, rate in waves if at < until for pair in ((at, rate), (at + length, low))]
    return Traffic(rates=((0, low), *rates), until_s=until)


def _ramp(low: float, high: float, begin: float, top: float, fall: float, until: float) -> Traffic:
    """Traffic that rises evenly from `begin` to `top`, and falls evenly from `fall` to the end."""
    return Traffic(rates=((0, low), (begin, low), (top, high), (fall, high), (until, low)), ramp=True, until_s=until)


def _steady(rate: float, until: float) -> Traffic:
    return Traffic(rates=((0, rate),), until_s=until)


TRACES: tuple[Trace, ...] = (
    Trace(name="step-fork", about="100x for 2 min", traffic=_step(1, 100, 60, 180, 300), start_s=FORK, service_s=0.3),
    Trace(
        name="step-import", about="100x for 2 min", traffic=_step(0.5, 50, 60, 180, 360), start_s=IMPORT, service_s=0.5
    ),
    Trace(
        name="step-model", about="100x for 5 min", traffic=_step(0.3, 30, 120, 420, 720), start_s=MODEL, service_s=1.5
    ),
    Trace(
        name="step-large", about="100x for 10 min", traffic=_step(0.2, 20, 200, 800, 1200), start_s=LARGE, service_s=3
    ),
    Trace(
        name="step-long-inputs",
        about="100x for 10 min, a minute an input",
        traffic=_step(0.01, 1, 200, 800, 1400),
        start_s=5.0,
        service_s=60,
    ),
    Trace(
        name="step-slots", about="10x, 8 slots", traffic=_step(2, 20, 120, 480, 720), start_s=30, service_s=5, slots=8
    ),
    Trace(
        name="ramp-fork", about="to 60x in 2 min", traffic=_ramp(1, 60, 30, 150, 200, 300), start_s=FORK, service_s=0.4
    ),
    Trace(
        name="ramp-model", about="to 40x in 2 min", traffic=_ramp(1, 40, 60, 180, 400, 600), start_s=MODEL, service_s=1
    ),
    Trace(
        name="ramp-large",
        about="to 20x in 10 min",
        traffic=_ramp(0.5, 10, 60, 660, 900, 1500),
        start_s=LARGE,
        service_s=4,
    ),
    Trace(
        name="day-fork",
        about="a day in 10 min, twice",
        traffic=Traffic(day=Day(low=1, high=30, period_s=600), until_s=1200),
        start_s=FORK,
        service_s=0.5,
    ),
    Trace(
        name="day-model",
        about="a day in 20 min, twice",
        traffic=Traffic(day=Day(low=0.5, high=15, period_s=1200), until_s=2400),
        start_s=MODEL,
        service_s=2,
    ),
    Trace(
        name="day-large",
        about="a day in an hour",
        traffic=Traffic(day=Day(low=0.2, high=5, period_s=3600), until_s=3600),
        start_s=LARGE,
        service_s=5,
    ),
    Trace(
        name="bursts-fork", about="60x, 5 s a minute", traffic=_waves(1, 60, 5, 60, 600), start_s=FORK, service_s=0.2
    ),
    Trace(
        name="bursts-import", about="50x, 10 s in 40", traffic=_waves(1, 50, 10, 40, 400), start_s=IMPORT, service_s=0.4
    ),
    Trace(
        name="bursts-model", about="40x, 20 s in 120", traffic=_waves(0.5, 20, 20, 120, 960), start_s=MODEL, service_s=1
    ),
    Trace(name="bursts-irregular", about="of all sizes", traffic=_irregular(1, 500), start_s=3, service_s=0.4),
    Trace(name="onoff-import", about="20 s in 40", traffic=_waves(0, 30, 20, 40, 400), start_s=IMPORT, service_s=0.7),
    Trace(name="onoff-large", about="1 min in 5", traffic=_waves(0, 10, 60, 300, 1800), start_s=LARGE, service_s=2),
    Trace(name="poisson-fork", about="steady, dense", traffic=_steady(40, 300), start_s=FORK, service_s=0.5),
    Trace(name="poisson-model", about="steady, dense", traffic=_steady(20, 600), start_s=MODEL, service_s=1.5),
    Trace(name="poisson-sparse", about="one in 20 s", traffic=_steady(0.05, 4000), start_s=3, service_s=0.8),
    Trace(name="poisson-rare", about="one in 2 min", traffic=_steady(1 / 120, 20000), start_s=LARGE, service_s=5),
    Trace(
        name="crowd-fork",
        about="100x, halved each 20 s",
        traffic=_crowd(1, 100, 60, 20, 300),
        start_s=FORK,
        service_s=0.4,
    ),
    Trace(
        name="crowd-model",
        about="60x, halved each min",
        traffic=_crowd(0.5, 30, 120, 60, 720),
        start_s=MODEL,
        service_s=1,
    ),
    Trace(
        name="tail-fork", about="heavy-tailed service", traffic=_steady(30, 300), start_s=0.02, service_s=0.5, tail=1.6
    ),
    Trace(
        name="tail-model",
        about="10x, heavy-tailed service",
        traffic=_step(1.5, 15, 120, 420, 600),
        start_s=MODEL,
        service_s=1.5,
        tail=1.6,
    ),
    Trace(
        name="maps",
        about="2,000 inputs at once, each 2 min",
        traffic=Traffic(bursts=tuple((5 + 120 * k, 2000) for k in range(4)), until_s=480),
        start_s=0.5,
        service_s=0.3,
    ),
    Trace(name="azure-model", about="recorded", traffic=Traffic(trace=RECORDED), start_s=20, slots=4),
    Trace(name="azure-fork", about="recorded", traffic=Traffic(trace=RECORDED), start_s=FORK),
)

COMPUTING: tuple[Trace, ...] = (
    Trace(
        name="computing-maps",
        about="200 inputs at once, each 2 min, that compute for 0.2 s, on 4 cores; imports too",
        traffic=Traffic(bursts=tuple((5 + 120 * k, 200) for k in range(4)), until_s=480),
        start_s=IMPORT,
        service_s=0.2,
        cores=4,
        start_cpu=1.0,
        service_cpu=1.0,
    ),
    Trace(
        name="computing-step",
        about="2 and 12 a second that compute for 0.2 s, on 4 cores; imports too",
        traffic=_step(2, 12, 60, 180, 240),
        start_s=IMPORT,
        service_s=0.2,
        cores=4,
        start_cpu=1.0,
        service_cpu=1.0,
    ),
)
"""Traces of functions that compute on few cores, where more containers make each slower."""
