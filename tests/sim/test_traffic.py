"""When calls arrive: rates, ramps, days, bursts and recorded traces, each with the counts it was asked for."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from inrush.errors import InvalidError
from inrush.sim.recorded import Durations, recorded
from inrush.sim.traffic import Day, Traffic


def times(traffic: Traffic, seed: int = 7) -> list[float]:
    """When its calls come."""
    found = [arrival.at for arrival in traffic.arrivals(seed, "f")]
    assert found == sorted(found)
    return found


def counts(found: list[float], *edges: float) -> list[int]:
    """Calls between each two edges."""
    return [sum(a <= at < b for at in found) for a, b in pairwise(edges)]


def test_steps_give_the_rates_they_name() -> None:
    found = times(Traffic(rates=((0, 1), (10, 100), (12, 0), (20, 1)), until_s=25, poisson=False))
    assert counts(found, 0, 10, 12, 20, 25) == pytest.approx([10, 200, 0, 5], abs=1)


def test_a_ramp_goes_evenly_from_one_rate_to_the_next() -> None:
    found = times(Traffic(rates=((0, 0), (10, 100)), ramp=True, until_s=15, poisson=False))
    assert counts(found, 0, 5, 10, 15) == pytest.approx([125, 375, 500], abs=1)


def test_a_day_is_quiet_at_its_begin_and_busy_in_its_middle_and_comes_again() -> None:
    found = times(Traffic(day=Day(low=1, high=9, period_s=100), until_s=200, poisson=False))
    first, second = counts(found, 0, 100, 200)
    assert first == pytest.approx(500, abs=3)
    assert second == pytest.approx(500, abs=3)
    night, noon = counts(found, 95, 105)[0], counts(found, 45, 55)[0]
    assert noon > 7 * night


def test_independent_calls_have_the_mean_and_the_spread_of_such() -> None:
    seconds = counts(times(Traffic(rates=((0, 50),), until_s=200)), *range(201))
    mean = sum(seconds) / 200
    assert mean == pytest.approx(50, abs=2)
    assert 35 < sum((count - mean) ** 2 for count in seconds) / 200 < 65


def test_bursts_come_at_once_and_add_to_the_rates() -> None:
    found = times(Traffic(rates=((0, 1),), bursts=((5, 100), (7, 3)), until_s=10, poisson=False))
    assert found.count(5.0) >= 100
    assert len(found) == pytest.approx(113, abs=1)


def test_a_rate_without_an_end_is_refused() -> None:
    with pytest.raises(InvalidError, match="until_s"):
        list(Traffic(rates=((0, 1),)).arrivals(7, "f"))


def written(folder: Path, text: str) -> str:
    """A CSV file of this text."""
    path = folder / "trace.csv"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "arrivals"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5000000,1000,100\n2023-11-16 18:15:48,0,5\n",
         [(0.0, 2.2), (1.5, 0.1)]),
        ("timestamp,duration\n10,0.5\n12.5,2\n", [(0.0, 0.5), (2.5, 2.0)]),
        ("Arrival Time (ms);Latency_ms\n1000;250\n500;100\n", [(0.0, 0.1), (0.5, 0.25)]),
        ("arrived_at\tuser\n1700000000000\ta\n1700000001000\tb\n", [(0.0, None), (1.0, None)]),
        ("app,func,end_timestamp,duration\na,f,10,4\na,g,11,1\n", [(0.0, 4.0), (4.0, 1.0)]),
        ("time,requests\n0,2\n10,1\n", [(0.0, None), (5.0, None), (10.0, None)]),
        ("3.5\n4\n\n7\n", [(0.0, None), (0.5, None), (3.5, None)]),
        ("\ufeffts,prompt_tokens,completion_tokens\n2024-05-01T00:00:00+00:00,,50\n2024-05-01T00:00:01Z,500,0\n",
         [(0.0, 1.0), (1.0, 0.1)]),
        ("timestamp,duration\n", []),
        ("Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens\n5,,1.5,m,472,18\n45,x,,m,1000,0\n",
         [(0.0, 1.5), (40.0, 0.2)]),
        ('{"timestamp": 27482, "input_length": 1000, "output_length": 10}\n\n'
         '{"timestamp": 30482, "output_length": null}\n',
         [(0.0, 0.4), (3000.0, 0.0)]),
        ("job_id,submit_time,start_time,end_time\na,2020-05-01 10:00:00,2020-05-01 10:05:00,2020-05-01 10:05:30\n"
         "b,2020-05-01 10:00:02,2020-05-01 10:06:00,2020-05-01 10:07:00\n", [(0.0, 30.0), (2.0, 60.0)]),
        ("# made by hand\ntime | latency(ms)\n18:15:46.5 | 20\n18:15:47 | nan\n", [(0.0, 0.02), (0.5, None)]),
        ("when,n\n2023/11/16 18:00:00,1\n2023/11/16 18:00:09,0\n", [(0.0, None)]),
        ("HashApp,Trigger," + ",".join(map(str, range(1, 13))) + "\na,http,1,0,2" + ",0" * 9
         + "\nb,queue,1" + ",0" * 11,
         [(0.0, None), (30.0, None), (120.0, None), (150.0, None)]),
    ],
    ids=[
        *("azure tokens", "seconds", "milliseconds", "epoch", "ends", "counts", "no header", "byte order mark"),
        *("empty", "tokens and elapsed", "json lines", "submit start end", "times of day", "other dates", "minutes"),
    ],
)  # fmt: skip
def test_a_trace_is_read_whatever_its_columns_are_called(
    tmp_path: Path, text: str, arrivals: list[tuple[float, float | None]]
) -> None:
    found = list(recorded(written(tmp_path, text), Durations()))
    assert [at for at, _ in found] == pytest.approx([at for at, _ in arrivals], abs=1e-5)
    assert [service for _, service in found] == pytest.approx([service for _, service in arrivals])


def test_a_packed_trace_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("timestamp\n1\n3\n")
    assert [at for at, _ in recorded(str(path), Durations())] == [0.0, 2.0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("timestamp,duration\n1,2\nsoon,3\n", "line 3: 'soon'"),
        ("colour,size\nred,3\n", "colour, size"),
        ("timestamp,duration\n1,long\n", "line 2"),
        ("timestamp,duration\n1\n", "line 2"),
        ("timestamp\nnan\n", "line 2"),
        ("timestamp,duration\n1,inf\n", "line 2: 'inf'"),
        ('{"timestamp": 1}\n{"timestamp"\n', "line 2: not an object"),
        ("\x1f\x8b what is not packed", "none of its columns"),
    ],
)
def test_a_trace_that_cannot_be_read_is_refused_with_the_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InvalidError, match=what):
        list(recorded(written(tmp_path, text), Durations()))


def test_a_trace_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(InvalidError, match=r"nowhere\.csv"):
        list(recorded("nowhere.csv", Durations()))


def test_a_trace_may_be_played_faster_and_cut_short(tmp_path: Path) -> None:
    path = written(tmp_path, "timestamp\n" + "".join(f"{second}\n" for second in range(100)))
    assert times(Traffic(trace=path, speed=10, until_s=2)) == pytest.approx([k / 10 for k in range(20)])
