"""Each method of the SDK has a blocking and an async form of one implementation."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator

import pytest

from inrush.client._dual import DualScope, Mailbox, Waiter, block, drive, dual, dual_iter, dual_scope
from inrush.errors import TimeoutError


class Box:
    """A thing with a method of each kind."""

    def __init__(self) -> None:
        self.waiter: Waiter[int] = Waiter()
        self.events: list[str] = []

    @dual
    async def get(self, plus: int = 0) -> int:
        """The value, and so much more."""
        try:
            return await self.waiter + plus
        finally:
            self.events.append("left")

    @dual_iter
    async def items(self, n: int) -> AsyncGenerator[int, None]:
        try:
            for i in range(n):
                yield i
            yield await self.waiter
        finally:
            self.events.append("left")

    @dual_scope
    async def open(self) -> AsyncGenerator[str, None]:
        self.events.append("in")
        try:
            yield "opened"
        finally:
            self.events.append("out")


def set_soon(waiter: Waiter[int], value: int) -> None:
    threading.Timer(0.02, waiter.set, [value]).start()


def test_the_blocking_face_waits_for_another_thread() -> None:
    box = Box()
    set_soon(box.waiter, 3)
    assert box.get(plus=1) == 4
    assert box.get.__doc__ == "The value, and so much more."


async def test_the_async_face_lets_the_loop_go_on() -> None:
    box = Box()
    waiting = asyncio.create_task(box.get.aio())
    await asyncio.sleep(0)
    box.waiter.set(5)
    assert await waiting == 5


async def test_many_tasks_wait_for_one_value() -> None:
    box = Box()
    tasks = [asyncio.create_task(box.get.aio(i)) for i in range(10)]
    set_soon(box.waiter, 1)
    assert await asyncio.gather(*tasks) == [1 + i for i in range(10)]


async def test_a_cancelled_task_is_cancelled_inside() -> None:
    box = Box()
    task = asyncio.create_task(box.get.aio())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert box.events == ["left"]


def test_an_error_is_raised_where_the_value_is_awaited() -> None:
    box = Box()
    box.waiter.fail(KeyError("gone"))
    with pytest.raises(KeyError, match="gone"):
        box.get()


def test_the_first_value_counts() -> None:
    waiter: Waiter[int] = Waiter()
    waiter.set(1)
    waiter.set(2)
    waiter.fail(KeyError())

    async def get() -> int:
        return await waiter

    assert block(get()) == 1


async def test_what_comes_too_late_is_a_timeout_on_both_faces() -> None:
    async def wait() -> None:
        await Waiter[None](0.01)

    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        await drive(wait())
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(block, wait())


async def test_streams_iterate_on_both_faces() -> None:
    box = Box()
    box.waiter.set(9)
    assert list(box.items(2)) == [0, 1, 9]
    assert [x async for x in box.items.aio(2)] == [0, 1, 9]


def test_a_stream_that_is_left_early_is_closed() -> None:
    box = Box()
    for _ in box.items(3):
        break
    assert box.events == ["left"]


async def test_a_scope_is_entered_by_with_and_by_async_with() -> None:
    box = Box()
    with box.open() as opened:
        assert opened == "opened"
    async with box.open() as opened:
        assert opened == "opened"
    async with box.open.aio():
        pass
    assert box.events == ["in", "out"] * 3


def test_an_exception_in_the_block_leaves_the_scope_and_goes_on() -> None:
    box = Box()
    with pytest.raises(ValueError, match="mine"), box.open():
        raise ValueError("mine")
    assert box.events == ["in", "out"]


def test_a_scope_keeps_to_one_yield() -> None:
    async def twice() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    with pytest.raises(RuntimeError, match="yields once"), DualScope(twice)():
        pass


def test_a_mailbox_gives_in_order_what_was_put() -> None:
    box: Mailbox[int] = Mailbox()
    thread = threading.Thread(target=lambda: [box.put(i) for i in range(1000)])

    async def take() -> list[int]:
        return [await box.get(5) for _ in range(1000)]

    thread.start()
    assert block(take()) == list(range(1000))
    thread.join()


def test_ctrl_c_is_raised_inside() -> None:
    program = """
        import os, signal, threading
        from inrush.client._dual import Waiter, block
        async def wait():
            try:
                await Waiter()
            finally:
                print("left", flush=True)
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        block(wait())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "left\n"
    assert "KeyboardInterrupt" in done.stderr
