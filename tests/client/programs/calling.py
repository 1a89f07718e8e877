"""A program with functions of every kind, which the tests run in containers."""

import os
import resource
import time

import inrush

app = inrush.App("calling")


class Tag:
    """A class of the program's own."""

    def __init__(self, text: str) -> None:
        self.text = text


class Refused(Exception):
    """An exception of the program's own."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


@app.function()
@inrush.concurrent(max_inputs=16)
def square(x: int, offset: int = 0) -> int:
    return x * x + offset


@app.function()
async def later(x: int) -> int:
    return x + 1


@app.function()
def retag(tag: Tag) -> Tag:
    assert isinstance(tag, Tag)
    return Tag(tag.text.upper())


@app.function()
def fail(code: int) -> None:
    raise Refused(code, "as asked")


@app.function()
@inrush.concurrent(max_inputs=16)
def odd_only(x: int) -> int:
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


@app.function()
def count(n: int):
    yield from range(n)


@app.function()
def moments(n: int):
    """When each item was made, by the clock that all processes of a machine share."""
    for _ in range(n):
        yield time.monotonic()


@app.function(timeout=120)
def chatter(lines: int, size: int) -> int:
    """Prints; tells by how many KiB that made its process grow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(lines):
        print(f"{n:08}".ljust(size - 1, "x"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@app.function()
def stumble(n: int):
    yield n
    raise Refused(n, "in the middle")


@app.function(timeout=30)
def doze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def where() -> tuple[bool, str, str, str]:
    here = inrush.current_function_call_id() or "", inrush.current_input_id() or ""
    return inrush.is_local(), os.environ["INRUSH_APP"], *here


@app.function()
def through(x: int) -> int:
    return square.remote(x, offset=1) + sum(square.map([1, 2, 3]))


@app.function()
def measure(data: bytes) -> bytes:
    return data[::-1]


@app.function(env={"COLOUR": "blue"}, secrets=[inrush.Secret.from_dict({"KEY": "hidden"})])
def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("COLOUR", "KEY")}


@app.function()
def say(text: str) -> None:
    print(text)


@app.cls()
@inrush.concurrent(max_inputs=4)
class Greeter:
    greeting: str = inrush.parameter(default="hello")
    times: int = inrush.parameter(default=1)

    @inrush.enter()
    def prepare(self) -> None:
        self.made = f"{self.greeting} " * self.times

    @inrush.method()
    def greet(self, name: str) -> str:
        return self.made + name

    @inrush.method()
    def twice(self, name: str) -> list[str]:
        return [self.greet(name), self.greet.local(name), self.greet.remote(name)]

    @inrush.method()
    def letters(self, name: str):
        yield from self.greet(name)

    @inrush.method()
    def pid(self) -> tuple[str, int]:
        return os.environ["INRUSH_CONTAINER_ID"], os.getpid()


@app.cls()
class Old:
    shared = "of the class"

    def __init__(self, word: str, tags: list[str] | None = None, *, times: int = 2) -> None:
        self.word, self.tags, self.times = word, tags, times

    @inrush.method()
    def told(self) -> tuple[str, list[str] | None]:
        return self.helper(), self.tags

    @inrush.method()
    def told_twice(self) -> list[tuple[str, list[str] | None]]:
        return [self.told(), self.told.remote()]

    def helper(self) -> str:
        return self.word * self.times

    @property
    def broken(self) -> str:
        return self.no_such


@app.function()
def remember(name: str, key: str, value: int) -> int:
    shared = inrush.Dict.from_name(name, create_if_missing=True)
    shared[key] = value
    return len(shared)
