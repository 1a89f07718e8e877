"""What a type checker has to infer of a program; read by mypy, never run."""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import assert_type

import inrush

app = inrush.App("typed", image=inrush.Image.debian_slim().pip_install("numpy"))


@app.function(gpu="A10G", retries=inrush.Retries(max_retries=2))
def square(x: int) -> int:
    return x * x


@app.function()
async def later(x: int, *, scale: float = 1.0) -> float:
    return x * scale


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def slowly(n: int) -> AsyncIterator[str]:
    for x in range(n):
        yield str(x)


@app.cls(min_containers=1)
@inrush.concurrent(max_inputs=4)
class Model:
    name: str = inrush.parameter(default="small")
    size: int = inrush.parameter()

    @inrush.enter()
    def load(self) -> None: ...

    @inrush.method()
    def generate(self, prompt: str) -> list[str]:
        return [prompt, *self.generate.local(prompt), *self.generate(prompt)]

    @inrush.method()
    def words(self, prompt: str) -> Generator[str, None, None]:
        yield from prompt.split()


@app.local_entrypoint()
def main(n: int = 3) -> None:
    assert_type(square.remote(3), int)
    assert_type(square.local(3), int)
    assert_type(list(square.map([1, 2])), list[int])
    assert_type(square.spawn(3).get(timeout=5), int)
    assert_type(later.remote(3, scale=2.0), float)
    assert_type(Model(size=3).generate.remote("hi"), list[str])
    assert_type(list(Model(name="large", size=3).words.remote_gen("hi")), list[str])
    assert_type(list(count.remote_gen(3)), list[int])
    assert_type(list(slowly.remote_gen(3)), list[str])
    assert_type(inrush.FunctionCall.gather(square.spawn(1), square.spawn(2)), list[int])
    with app.run() as running:
        assert_type(running, inrush.App)


async def asynchronous() -> None:
    assert_type(await square.remote.aio(3), int)
    assert_type(await (await square.spawn.aio(3)).get.aio(), int)
    assert_type([x async for x in square.map.aio([1])], list[int])
    assert_type([x async for x in count.remote_gen.aio(3)], list[int])
    assert_type([x async for x in slowly.remote_gen.aio(3)], list[str])
    async with app.run():
        pass


def wrong() -> None:
    square.remote("three")  # expected: arg-type
    later.remote(3, size=1)  # expected: call-arg
    Model(size=3).generate.remote(3)  # expected: arg-type
    Model(size="3")  # expected: arg-type
    Model()  # expected: call-arg
    Model(size=3, nome="x")  # expected: call-arg
    count.remote_gen("three")  # expected: arg-type
    square(3)  # expected: operator
    square.remot(3)  # expected: attr-defined
    app.depoy()  # expected: attr-defined
