"""What a call sends again after its link has been interrupted."""

from __future__ import annotations

from typing import Any

from inrush.client._dual import block
from inrush.client._inflight import RECEIVED_BYTES, RESULT_BYTES, Chunk, Fan, One, Result, Stream
from inrush.client._spawned import Awaited, Spawn
from inrush.errors import ExecutionError
from inrush.wire import AwaitCall, EndInputs, Inputs, Received, ResumeCall, StartCall


def fan(sent: int) -> Fan:
    made = Fan("ca-1", "fn-1", "", "")
    made.accepted(1000)
    made.more([bytes([n]) for n in range(sent)])
    return made


def answered(call: Fan, *indexes: int) -> None:
    call.results(indexes, [0] * len(indexes), [b"r"] * len(indexes))


def test_one_call_resumes_and_is_sent_again_where_it_was_lost() -> None:
    start = StartCall("ca-1", "fn-1", payloads=(b"x",))
    call = One(start)
    assert call.resume() == [ResumeCall("ca-1")]
    assert call.resend(True, ()) == [start]


def test_a_map_tells_what_it_has() -> None:
    call = fan(6)
    answered(call, 0, 1, 4)
    assert call.resume() == [ResumeCall("ca-1", ((0, 2), (4, 5)))]


def test_a_map_that_was_lost_sends_what_has_no_result() -> None:
    call = fan(6)
    answered(call, 0, 1, 4)
    call.end()
    begin, *more = call.resend(True, ())
    assert begin == StartCall("ca-1", "fn-1", "map", "", (), 0, 6)
    assert more == [Inputs("ca-1", 2, (b"\2", b"\3")), Inputs("ca-1", 5, (b"\5",)), EndInputs("ca-1", 6)]


def test_a_map_sends_only_the_ranges_that_are_missing() -> None:
    call = fan(6)
    answered(call, 3)
    assert call.resend(False, ((2, 5),)) == [Inputs("ca-1", 2, (b"\2",)), Inputs("ca-1", 4, (b"\4",))]


def test_results_that_come_twice_count_once() -> None:
    call = fan(3)
    answered(call, 0, 1)
    answered(call, 1, 2)
    answered(call, 0)
    chunks = call.out.take(10)
    assert [list(chunk.indexes) for chunk in chunks] == [[0, 1], [2]]  # type: ignore[union-attr]


def test_the_window_opens_with_results() -> None:
    call = fan(0)
    call.accepted(4)
    call.more([b"a"] * 4)
    assert call.free() == 0
    answered(call, 0, 1)
    assert call.free() == 2
    block(call.room())


def test_results_that_nobody_takes_close_the_window() -> None:
    call = fan(0)
    call.more([b"x"] * 12)
    size = RESULT_BYTES // 10
    call.results(range(11), [0] * 11, [bytes(size)] * 11)
    assert call.free() < 0
    call.took(11, 11 * size)
    assert call.free() > 0


def test_results_that_will_be_as_large_as_those_before_count_before_they_are_there() -> None:
    call = fan(0)
    call.accepted(2048)
    call.more([b"x"] * 40)
    call.results(range(20), [0] * 20, [bytes(RESULT_BYTES // 50)] * 20)
    assert call.free() == 10  # 20 are there, and 20 will be
    call.took(20, 20 * (RESULT_BYTES // 50))
    assert call.free() == 30


def test_the_server_is_told_which_large_results_came_and_not_of_small_ones() -> None:
    call = fan(0)
    call.more([b"x"] * 100)
    call.results((0, 1), (0, 0), (bytes(10), bytes(10)))
    assert call.received(1) == []
    call.results((3, 2), (0, 0), (bytes(RECEIVED_BYTES), bytes(10)))
    assert call.received(2) == [Received("ca-1", 2)]
    call.results((4,), (0,), (bytes(10),))
    assert call.received(4) == []


def test_a_generator_starts_again_only_if_nothing_came() -> None:
    start = StartCall("ca-1", "fn-1", "gen", payloads=(b"x",))
    stream = Stream(start)
    assert stream.resend(True, ()) == [start]
    stream.items(0, (b"a", b"b"))
    assert stream.resend(True, ()) == []
    assert [type(item) for item in stream.out.take(5)] == [bytes, bytes, ExecutionError]


def test_items_that_come_twice_count_once() -> None:
    stream = Stream(StartCall("ca-1", "fn-1", "gen"))
    stream.items(0, (b"a", b"b"))
    stream.items(1, (b"b", b"c"))
    stream.results((0,), (0,), (b"",))
    assert stream.out.take(9) == [b"a", b"b", b"c", Result(0, b"")]


def test_a_spawned_call_is_sent_until_it_is_committed() -> None:
    start = StartCall("ca-1", "fn-1", "spawn", payloads=(b"x",))
    call = Spawn(start, [Inputs("ca-1", 1, (b"y",))])
    assert call.resume() == [start, Inputs("ca-1", 1, (b"y",))]
    assert not call.committed.done
    call.accepted(1)
    assert call.committed.done


def test_awaited_results_go_to_everybody_who_waits() -> None:
    from inrush.client._dual import Mailbox

    call = Awaited("ca-1")
    boxes: list[Mailbox] = [Mailbox(), Mailbox()]  # type: ignore[type-arg]
    call.want(boxes[0], range(5, 8), range(5, 8))
    assert call.start() == [AwaitCall("ca-1", 5, 3)]
    call.want(boxes[1], range(2, 8), range(2, 8))
    assert call.start() == [AwaitCall("ca-1", 2, 6)]
    call.results((7,), (0,), (b"r",))
    assert [len(box) for box in boxes] == [1, 1]


def test_awaited_results_that_nobody_asked_for_are_not_kept() -> None:
    from inrush.client._dual import Mailbox

    call, box = Awaited("ca-1"), Mailbox[Any]()
    call.want(box, range(2, 4), range(2, 4))
    call.results((1, 2, 9), (0, 0, 0), (b"a", b"b", b"c"))
    assert box.take(9) == [Chunk([2], [0], [b"b"])]
    call.want(box, range(3, 6), range(4, 6))
    assert call.resume() == [AwaitCall("ca-1", 3, 3)], "after a reconnect all that is missing is asked for"
