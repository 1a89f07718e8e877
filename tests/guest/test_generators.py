"""Generators: items are sent as they are yielded, and no faster than credit is granted."""

from __future__ import annotations

import pytest

from guest.guest_process import CANCELLED, ERROR, OK, GuestProcess, arguments, failure, value

SYNC = """
made = []
def f(n):
    try:
        for x in range(n):
            made.append(x)
            yield x
    finally:
        print("closed")
"""
ASYNC = SYNC.replace("def f", "async def f")


def grant(guest: GuestProcess, call: str, credit: int) -> None:
    guest.send({"t": "grant", "c": call, "i": 0, "x": credit})


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_items_come_in_order_and_then_the_end(guest: GuestProcess, source: str) -> None:
    guest.load(source)
    guest.run("ca-1", arguments(1000), kind="gen")
    grant(guest, "ca-1", 2000)
    status, payload = guest.result("ca-1")
    assert (status, value(payload)) == (OK, None)
    assert [value(item) for item in guest.items("ca-1")] == list(range(1000))
    assert len([h for h, _ in guest.frames if h["t"] == "item"]) < 1000


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_no_more_items_leave_than_were_granted(guest: GuestProcess, source: str) -> None:
    guest.load(
        source + "\nclass C:\n    f = staticmethod(f)\n    def made(self):\n        return list(made)\n",
        "C",
        is_class=True,
        methods=["f", "made"],
        max_inputs=2,
    )
    guest.run("ca-1", arguments(100), method="f", kind="gen")
    grant(guest, "ca-1", 3)
    guest.expect_items("ca-1", 3)
    guest.until(lambda: True if len(guest.call(method="made")) == 4 else None, "the fourth was made")
    assert len(guest.items("ca-1")) == 3
    grant(guest, "ca-1", 2)
    guest.expect_items("ca-1", 5)
    grant(guest, "ca-1", 1000)
    assert guest.result("ca-1")[0] == OK
    assert len(guest.items("ca-1")) == 100


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_generator_that_waits_for_credit_is_cancelled_and_closed(guest: GuestProcess, source: str) -> None:
    guest.load(source)
    guest.run("ca-1", arguments(100), kind="gen")
    grant(guest, "ca-1", 1)
    guest.expect_items("ca-1", 1)
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    guest.expect_log("closed", call="ca-1")


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_an_exception_ends_a_generator_after_its_items(guest: GuestProcess, source: str) -> None:
    guest.load(source.replace("    finally", "        raise ValueError('enough')\n    finally"))
    guest.run("ca-1", arguments(3), kind="gen")
    grant(guest, "ca-1", 10)
    status, payload = guest.result("ca-1")
    assert status == ERROR
    assert isinstance(failure(payload)[0], ValueError)
    assert len(guest.items("ca-1")) == 3


def test_an_item_leaves_though_the_next_one_takes_long(guest: GuestProcess) -> None:
    guest.load("import threading\ndef f():\n    yield 1\n    yield 2\n    threading.Event().wait(20)\n    yield 3\n")
    guest.run("ca-1", arguments(), kind="gen")
    grant(guest, "ca-1", 10)
    assert [value(item) for item in guest.expect_items("ca-1", 2)] == [1, 2]


def test_a_generator_that_is_called_as_a_function_says_what_is_wrong(guest: GuestProcess) -> None:
    guest.load(SYNC)
    assert guest.call(3)["code"] == "SerializationError"
