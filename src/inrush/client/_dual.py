"""Each method is written once and has two faces: `f.remote(3)` blocks, `await f.remote.aio(3)` awaits.

A method is a coroutine that awaits nothing but `Waiter`s: values that the link's thread will bring. So there is no loop
of our own to hand work to. The blocking face drives the coroutine in the caller's thread and waits on a plain lock; the
async face drives it in the caller's task and waits on a future of the caller's loop. The difference between the two is
`Waiter.wait` and `Waiter.wait_in_loop`; asyncio is imported by the second alone. Ctrl-C and task cancellation are
thrown into the coroutine, whose `finally` then gives up what it asked for.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from _thread import allocate_lock
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from inrush.client._signature import Shown, of_bound
from inrush.client._traceback import trimmed
from inrush.errors import TimeoutError

if TYPE_CHECKING:
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Waiter(Generic[T]):
    """A value to come, set once by another thread. With `timeout_s` the await raises `TimeoutError` if it came too
    late."""

    __slots__ = ("_error", "_lock", "_value", "_wakes", "done", "timeout_s")

    def __init__(self, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s
        self.done = False
        self._lock = allocate_lock()
        self._lock.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._wakes: list[Callable[[], object]] | None = None

    def set(self, value: T) -> None:
        """Brings the value; later ones are passed over."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Brings an error instead."""
        if not self.done:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self._lock.release()
        for wake in self._wakes or ():
            wake()

    def __await__(self) -> Generator[Waiter[Any], None, T]:
        if not self.done:
            yield self
            if not self.done:
                raise TimeoutError(f"nothing came within {self.timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def wait(self) -> None:
        """Blocks this thread until the value is there or the time is over."""
        if not self.done and self._lock.acquire(timeout=-1 if self.timeout_s is None else self.timeout_s):
            self._lock.release()

    async def wait_in_loop(self) -> None:
        """The same for a task."""
        import asyncio

        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        wakes = _loops.get(loop)
        if wakes is None:
            wakes = _loops[loop] = _Wakes(loop)
        self._wakes = [*(self._wakes or ()), functools.partial(wakes.add, wake)]
        if self.done:
            return
        timer = None if self.timeout_s is None else loop.call_later(self.timeout_s, wake)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()


class _Wakes:
    """What is to be called in one loop. Many results come in one frame: the loop is woken once for all of them."""

    def __init__(self, loop: Any) -> None:
        self._loop = weakref.ref(loop)  # it is the key that this is kept under
        self._due: deque[Callable[[], None]] = deque()
        self._called = False

    def add(self, wake: Callable[[], None]) -> None:
        """From another thread."""
        self._due.append(wake)
        if not self._called:
            self._called = True
            loop = self._loop()
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # it is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._called = False  # first: what is added from here on calls again
        while self._due:
            self._due.popleft()()


_loops: weakref.WeakKeyDictionary[Any, _Wakes] = weakref.WeakKeyDictionary()


class Mailbox(Generic[T]):
    """Values that one thread puts and one coroutine takes, in order. Whoever puts keeps its length bounded."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiter: Waiter[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.set(None)

    async def get(self, timeout_s: float | None = None) -> T:
        """The next value; `TimeoutError` if none comes in time."""
        while not self._items:
            waiter = self._waiter = Waiter[None](timeout_s)
            if self._items:  # put between the two lines above
                self._waiter = None
                break
            await waiter
        return self._items.popleft()

    def take(self, count: int) -> list[T]:
        """What is there already, up to `count`."""
        items = self._items
        return [items.popleft() for _ in range(min(count, len(items)))]


def block(coroutine: Coroutine[Any, Any, R]) -> R:
    """Drives a coroutine of this module's kind in this thread."""
    step: Callable[[], Any] = functools.partial(coroutine.send, None)
    try:
        while True:
            waiter = step()
            try:
                waiter.wait()
            except BaseException as error:
                step = functools.partial(coroutine.throw, error)
            else:
                step = functools.partial(coroutine.send, None)
    except StopIteration as end:
        return cast(R, end.value)


async def drive(coroutine: Coroutine[Any, Any, R]) -> R:
    """Drives it in this task."""
    step: Callable[[], Any] = functools.partial(coroutine.send, None)
    try:
        while True:
            waiter = step()
            try:
                await waiter.wait_in_loop()
            except BaseException as error:
                step = functools.partial(coroutine.throw, error)
            else:
                step = functools.partial(coroutine.send, None)
    except StopIteration as end:
        return cast(R, end.value)


class Dual(Generic[P, R]):
    """A bound method with a blocking face (call it) and an async one (`.aio`)."""

    __signature__ = Shown(lambda face: of_bound(face._function))

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], doc: str | None = None) -> None:
        self._function = function
        self.__doc__ = doc or function.__doc__

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return block(self._function(*args, **kwargs))
        except BaseException as error:
            raise trimmed(error)  # noqa: B904 - it is the same one

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, awaited."""
        try:
            return await drive(self._function(*args, **kwargs))
        except BaseException as error:
            raise trimmed(error)  # noqa: B904


class dual(Generic[S, P, R]):
    """Decorates an `async def` method."""

    def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: S, owner: type[S] | None = None) -> Dual[P, R]:
        if instance is None:
            return self  # type: ignore[return-value]
        return Dual(functools.partial(self._function, instance), self.__doc__)


class DualIter(Generic[P, R]):
    """The same for streams: `for x in f.map(xs)` and `async for x in f.map.aio(xs)`."""

    __signature__ = Shown(lambda face: of_bound(face._function))

    def __init__(self, function: Callable[P, AsyncGenerator[R, None]], doc: str | None = None) -> None:
        self._function = function
        self.__doc__ = doc or function.__doc__

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        stream = self._function(*args, **kwargs)
        try:
            while True:
                try:
                    item = block(stream.__anext__())
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    raise trimmed(error)  # noqa: B904
                yield item
        finally:
            block(stream.aclose())

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        """The same, for `async for`."""
        stream = self._function(*args, **kwargs)
        try:
            while True:
                try:
                    item = await drive(stream.__anext__())
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    raise trimmed(error)  # noqa: B904
                yield item
        finally:
            await drive(stream.aclose())


class dual_iter(Generic[S, P, R]):
    """Decorates an `async def` generator method."""

    def __init__(self, function: Callable[Concatenate[S, P], AsyncGenerator[R, None]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: S, owner: type[S] | None = None) -> DualIter[P, R]:
        if instance is None:
            return self  # type: ignore[return-value]
        return DualIter(functools.partial(self._function, instance), self.__doc__)


class Scope(Generic[R]):
    """What `app.run()` gives: to be entered by `with` or by `async with`."""

    def __init__(self, stream: AsyncGenerator[R, None]) -> None:
        self._stream = stream

    def __enter__(self) -> R:
        return block(self._stream.__anext__())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        return block(self._leave(error))

    async def __aenter__(self) -> R:
        return await drive(self._stream.__anext__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return await drive(self._leave(error))

    async def _leave(self, error: BaseException | None) -> bool:
        try:
            if error is None:
                await self._stream.__anext__()
            else:
                await self._stream.athrow(error)
        except StopAsyncIteration:
            return error is not None and not isinstance(error, StopAsyncIteration)
        except BaseException as raised:
            if raised is error:
                return False
            raise
        raise RuntimeError("a scope yields once")


class DualScope(Generic[P, R]):
    """A bound method that opens a `Scope`; `.aio` does too, so that programs may write either."""

    def __init__(self, function: Callable[P, AsyncGenerator[R, None]], doc: str | None = None) -> None:
        self._function = function
        self.__doc__ = doc or function.__doc__

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Scope[R]:
        return Scope(self._function(*args, **kwargs))

    aio = __call__


class dual_scope(Generic[S, P, R]):
    """Decorates an `async def` generator method that yields once."""

    def __init__(self, function: Callable[Concatenate[S, P], AsyncGenerator[R, None]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: S, owner: type[S] | None = None) -> DualScope[P, R]:
        if instance is None:
            return self  # type: ignore[return-value]
        return DualScope(functools.partial(self._function, instance), self.__doc__)
