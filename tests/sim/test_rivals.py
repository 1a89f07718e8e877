"""The comparison with other autoscalers: each policy does what its source says, and the page has the current
measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from click.testing import CliRunner

from inrush.cli.commands.sim import command
from inrush.errors import InvalidError
from inrush.sim.compare import (
    RIVALS,
    beaten,
    compare,
    computing,
    computing_page,
    dominated,
    line,
    page,
    recorded,
    unbeatable,
)
from inrush.sim.oracle import oracle_s, work_s
from inrush.sim.rivals.arena import Box
from inrush.sim.rivals.beta9 import Beta9Endpoint, Beta9Queue
from inrush.sim.rivals.crowd import Crowd, Rival, View
from inrush.sim.rivals.fixed import WarmCrowd
from inrush.sim.rivals.keda import Keda
from inrush.sim.rivals.knative import Knative
from inrush.sim.rivals.ours import Ours
from inrush.sim.rivals.ray_serve import RayServe
from inrush.sim.rivals.runpod import QueueDelay, RequestCount
from inrush.sim.traces import COMPUTING, TRACES, Request, Trace
from inrush.sim.traffic import Traffic

PAGE = Path(__file__).parents[2] / "docs" / "autoscaling-compared.md"
QUICK = ("step-fork", "step-import", "step-model", "bursts-fork", "onoff-import", "crowd-fork")
TRACE = Trace(name="plain", about="steady", traffic=Traffic(rates=((0, 5),), until_s=60), start_s=1.0, service_s=1.0)


def view(now: float, **changes: float) -> View:
    plain = {"queued": 0, "running": 0, "starting": 0, "ready": 0, "demand_s": 0.0, "oldest_s": 0.0}
    return View(now=now, **(plain | changes))  # type: ignore[arg-type]


def test_there_are_twenty_traces_or_more_of_every_kind_and_each_is_the_same_twice() -> None:
    assert len(TRACES) >= 20
    assert len({trace.name for trace in TRACES}) == len(TRACES)
    kinds = {trace.name.split("-")[0] for trace in TRACES}
    assert kinds >= {"step", "ramp", "day", "bursts", "onoff", "poisson", "crowd", "tail", "azure"}
    for trace in TRACES[:3]:
        assert trace.requests(7) == trace.requests(7) != trace.requests(8)


@pytest.mark.parametrize("rival", [Knative, RayServe, Keda, QueueDelay, RequestCount, Beta9Endpoint, Beta9Queue])
def test_every_rival_serves_every_input_and_pays_for_more_than_the_work(rival: Rival) -> None:
    crowd = Crowd(TRACE, 7, rival(TRACE))
    outcome = crowd.run()
    assert len(crowd.waited_s) == len(TRACE.requests(7))
    assert outcome.gpu_s > work_s(TRACE, TRACE.requests(7))
    assert outcome == Crowd(TRACE, 7, rival(TRACE)).run()


def test_the_real_core_serves_every_input_in_the_arena_and_contradicts_itself_nowhere() -> None:
    ours = Ours(TRACE, 7)
    ours.run()
    assert len(ours.waited_s) == len(TRACE.requests(7))
    assert ours.cluster.violations() == []


def test_knative_panics_at_twice_its_capacity_and_does_not_shrink_while_it_does() -> None:
    knative = Knative(TRACE)
    assert knative.desired(view(2, running=1, ready=1, demand_s=2.0)) == 2
    assert knative.desired(view(4, running=1, queued=20, ready=2, demand_s=44.0)) >= 15
    assert knative.desired(view(6, running=1, ready=20, demand_s=46.0)) >= 15
    assert knative.desired(view(200, running=1, ready=20, demand_s=240.0)) == 10, "at most by half in one step"


def test_ray_serve_goes_up_only_after_thirty_seconds_of_the_same_wish() -> None:
    ray = RayServe(TRACE)
    assert ray.desired(view(0.1, queued=10, demand_s=1.0)) == 10
    ray = RayServe(TRACE)
    assert ray.desired(view(0.1, queued=1, demand_s=1.0)) == 1
    wishes = [ray.desired(view(k / 10, running=1, queued=9, ready=1, demand_s=k)) for k in range(2, 400)]
    assert wishes[250] == 1
    assert wishes[-1] == 10


def test_hpa_grows_by_four_or_by_all_and_shrinks_to_the_highest_wish_of_five_minutes() -> None:
    keda = Keda(TRACE)
    assert keda.desired(view(15, queued=9)) == 0
    assert keda.desired(view(30, queued=9)) == 1
    assert keda.desired(view(45, queued=50, ready=1)) == 5
    assert keda.desired(view(60, queued=50, ready=5)) == 10
    assert keda.desired(view(75, running=2, ready=10)) == 10
    assert keda.desired(view(500, running=2, ready=10)) == 2


def test_runpod_adds_one_worker_when_one_has_waited_for_four_seconds_or_counts_requests() -> None:
    delay, count = QueueDelay(TRACE), RequestCount(TRACE)
    assert delay.desired(view(1, queued=5)) == 1
    assert delay.desired(view(2, queued=5, running=1, ready=1, oldest_s=3.9)) == 1
    assert delay.desired(view(3, queued=5, running=1, ready=1, oldest_s=4.1)) == 2
    assert count.desired(view(3, queued=5, running=1, ready=1)) == 6


def test_a_fixed_pool_is_warm_from_the_first_moment() -> None:
    outcome = WarmCrowd(TRACE, 7, 30).run()
    assert outcome.p99_s == 0.0
    assert outcome.gpu_s == pytest.approx(30 * outcome.end_s)


def test_the_oracle_pays_the_work_and_its_starts_and_less_when_inputs_may_wait() -> None:
    apart = [Request(0.0, 1.0), Request(0.5, 1.0), Request(100.0, 1.0)]
    assert oracle_s(TRACE, apart, 0.0) == pytest.approx(3 + 3 * 1.0)
    assert oracle_s(TRACE, apart, 1.0) == pytest.approx(3 + 2 * 1.0)
    requests = TRACE.requests(7)
    assert work_s(TRACE, requests) < oracle_s(TRACE, requests, 5.0) <= oracle_s(TRACE, requests, 0.0)


def test_jumps_are_met_sooner_and_cheaper_than_by_the_field_and_the_page_says_so() -> None:
    rows = compare(trace for trace in TRACES if trace.name in QUICK)
    counts = beaten(rows)
    assert dominated(rows) == []
    for rival in ("knative", "ray-serve", "keda-hpa", "runpod-count", "beta9-queue", "fixed"):
        assert counts[rival] >= 0.8 * len(rows), rival
    written = PAGE.read_text()
    for row in rows:
        assert line(row) in written, "the page is out of date: run `make compare`"


def test_no_rival_dominates_ours_on_the_recorded_trace_however_long_its_starts_happen_to_take() -> None:
    (trace,) = (trace for trace in TRACES if trace.name == "azure-model")
    assert [dominated(compare([trace], seed)) for seed in range(8, 14)] == [[]] * 6


def test_the_page_claims_what_its_table_shows_and_misses_the_aim_with_one_rival_at_most() -> None:
    written = PAGE.read_text()
    rows = [text for text in written.splitlines() if text.startswith(tuple(f"| {trace.name} |" for trace in TRACES))]
    assert len(rows) == len(TRACES)
    assert not any(" !" in row for row in rows)
    cells = [row.split(" | ") for row in rows]
    rivals = [rival(TRACE).name for rival in RIVALS] + ["fixed"]
    for column, rival in enumerate(rivals, start=3):
        won = sum(row[column].endswith("*") for row in cells)
        assert f"| {rival} | {won} |" in written
        assert won >= 0.8 * len(TRACES) or rival == "beta9-endpoint"


class Watched(Ours):
    """Counts containers that were let go before they were ready."""

    called_off = 0

    def stop(self, box: Box) -> None:
        self.called_off += not box.ready
        super().stop(box)


def test_what_starts_is_called_off_when_its_burst_is_over() -> None:
    rates = ((0, 0.5), (60, 40), (64, 0.5))
    burst = Trace(name="burst", about="short", traffic=Traffic(rates=rates, until_s=120), start_s=20.0, service_s=0.2)
    ours = Watched(burst, 7)
    ours.run()
    assert 0 < ours.called_off < ours.starts
    assert len(ours.waited_s) == len(burst.requests(7))
    assert ours.cluster.violations() == []


def test_the_digest_on_the_page_is_that_of_its_table() -> None:
    written = PAGE.read_text()
    table = [text for text in written.splitlines() if text.startswith(tuple(f"| {trace.name} |" for trace in TRACES))]
    assert len(table) == len(TRACES)
    assert blake2b("\n".join(table).encode(), digest_size=8).hexdigest() in written


def test_a_page_names_what_is_missed() -> None:
    text = page(compare([TRACE]))
    assert "Dominated by a rival" in text
    assert "dense traces" in text
    assert "No policy beats all rivals at once on 1 traces: plain (at fixed" in text


def test_no_policy_beats_who_never_waits_nor_who_pays_less_than_the_oracle() -> None:
    (row,) = compare([TRACE])
    first, *others = row.rivals
    modest = replace(row, bound_s=row.work_s)
    assert unbeatable(modest) == ""
    assert unbeatable(replace(modest, rivals=(replace(first, p99_s=0.0), *others))) == f"{first.policy}'s p99 is 0"
    cheap = unbeatable(replace(modest, rivals=(replace(first, gpu_s=0.9 * row.work_s), *others)))
    assert cheap.endswith(f"the oracle pays 1.00, {first.policy} 0.90")


def test_the_command_has_all_policies_serve_the_arrivals_in_a_file_once_for_each_start(tmp_path: Path) -> None:
    arrivals, numbers = tmp_path / "mine.csv", tmp_path / "numbers.json"
    arrivals.write_text("timestamp,duration\n" + "".join(f"{k / 4},1.5\n" for k in range(200)))
    given = ["compare", str(arrivals), "--start-s", "1", "--start-s", "8", "--slots", "2", "--json", str(numbers)]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first, second = json.loads(numbers.read_text())
    assert (first["trace"], second["trace"], first["slots"]) == ("mine-1s", "mine-8s", 2)
    assert first["work_s"] == pytest.approx(200 * 1.5 / 2)
    assert {"inrush", "fixed"} | {rival(TRACE).name for rival in RIVALS} == first["policies"].keys()
    assert first["policies"]["inrush"]["p99_s"] < second["policies"]["inrush"]["p99_s"]
    assert set(first["beaten"]) & set(first["dominated_by"]) == set()
    assert "mine-8s: 150 s of work, a start takes 8 s, 2 slots" in done.output
    assert "beaten, of 2" in done.output


def test_a_file_without_arrivals_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("timestamp\n")
    with pytest.raises(InvalidError, match="holds no arrivals"):
        list(recorded(str(empty), [1.0]))


def test_nobody_dominates_ours_where_inputs_compute_and_the_page_has_these_rows() -> None:
    found = computing(COMPUTING)
    for trace, (ours, *rivals) in found:
        worse = [r.policy for r in rivals if r.answer_p99_s < ours.answer_p99_s and r.gpu_s < ours.gpu_s]
        assert worse == [], trace.name
        most = ours.answer_p99_s * ours.gpu_s
        assert sum(r.answer_p99_s * r.gpu_s > 2 * most for r in rivals) >= 5, "most swamp the cores"
    assert computing_page(found) in PAGE.read_text()
