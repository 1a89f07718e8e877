"""Dict, on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import inrush
from inrush import errors


@pytest.fixture
def shared(connected: Any) -> Iterator[inrush.Dict]:
    with inrush.Dict.ephemeral() as made:
        yield made


def test_it_is_used_like_a_dict(shared: inrush.Dict) -> None:
    shared["a"] = 1
    shared[("b", 2)] = [1, 2]
    assert shared["a"] == 1
    assert shared[("b", 2)] == [1, 2]
    assert "a" in shared
    assert "z" not in shared
    assert len(shared) == 2
    del shared["a"]
    with pytest.raises(KeyError, match="a"):
        shared["a"]
    with pytest.raises(KeyError):
        del shared["a"]


def test_get_put_and_pop_have_their_defaults(shared: inrush.Dict) -> None:
    assert shared.get("a") is None
    assert shared.get("a", 5) == 5
    assert shared.put("a", 1)
    assert not shared.put("a", 2, skip_if_exists=True)
    assert shared.pop("a") == 1
    assert shared.pop("a", "none") == "none"
    with pytest.raises(KeyError):
        shared.pop("a")


def test_many_are_set_and_listed(shared: inrush.Dict) -> None:
    shared.update({n: n * n for n in range(2500)}, word="last")
    assert shared.len() == 2501
    assert dict(shared.items()) == {**{n: n * n for n in range(2500)}, "word": "last"}
    assert set(shared.keys()) == {*range(2500), "word"}
    assert sorted(str(v) for v in shared.values())[-1] == "last"
    shared.clear()
    assert len(shared) == 0


def test_equal_keys_are_one_key_however_they_were_made(shared: inrush.Dict) -> None:
    word = "".join(["w", "ord"])
    shared[(word, word)] = 1
    shared[("word", "".join(["wo", "rd"]))] = 2
    assert len(shared) == 1


async def test_its_methods_have_async_twins(connected: Any) -> None:
    async with inrush.Dict.ephemeral() as shared:
        await shared.put.aio("k", 1)
        assert await shared.get.aio("k") == 1
        assert [key async for key in shared.keys.aio()] == ["k"]


async def test_thousands_of_operations_at_once_take_turns(connected: Any) -> None:
    async with inrush.Dict.ephemeral() as shared:
        await asyncio.gather(*[shared.put.aio(n, n) for n in range(3000)])
        assert await shared.len.aio() == 3000


def test_a_named_one_is_made_or_not_found(connected: Any) -> None:
    name = f"d-{uuid.uuid4().hex}"
    with pytest.raises(errors.NotFoundError, match="create_if_missing"):
        inrush.Dict.from_name(name).get("a")
    inrush.Dict.from_name(name, create_if_missing=True)["a"] = 1
    again = inrush.Dict.from_name(name)
    assert again["a"] == 1
    again.delete()
    with pytest.raises(errors.NotFoundError):
        inrush.Dict.from_name(name).get("a")


def test_containers_share_it(calling: ModuleType) -> None:
    name = f"d-{uuid.uuid4().hex}"
    assert calling.remember.remote(name, "a", 1) == 1
    assert inrush.Dict.from_name(name)["a"] == 1
    inrush.Dict.from_name(name).delete()


def test_what_does_not_pickle_or_is_too_large_is_refused(shared: inrush.Dict) -> None:
    import threading

    with pytest.raises(errors.SerializationError, match="'lock'"):
        shared["lock"] = threading.Lock()
    with pytest.raises(errors.SerializationError, match="cannot be a key"):
        shared.get(threading.Lock())
    with pytest.raises(errors.RequestSizeError, match="32 MiB"):
        shared["large"] = bytes(33 * 1024 * 1024)


def test_dicts_are_made_listed_and_deleted_by_name(connected: Any) -> None:
    name = f"named-{uuid.uuid4().hex}"
    inrush.Dict.objects.create(name)
    with pytest.raises(errors.AlreadyExistsError, match="allow_existing"):
        inrush.Dict.objects.create(name)
    inrush.Dict.objects.create(name, allow_existing=True)
    assert name in [made.name for made in inrush.Dict.objects.list()]
    assert [made.name for made in inrush.Dict.objects.list(max_objects=1)] == [name]
    assert name not in [made.name for made in inrush.Dict.objects.list(created_before="2020-01-01")]
    inrush.Dict.delete(name)
    with pytest.raises(errors.NotFoundError):
        inrush.Dict.objects.delete(name)
    inrush.Dict.objects.delete(name, allow_missing=True)
    assert name not in [made.name for made in inrush.Dict.objects.list()]


def test_a_dict_deletes_itself(connected: Any) -> None:
    made = inrush.Dict.from_name(f"own-{uuid.uuid4().hex}", create_if_missing=True)
    made["a"] = 1
    made.delete()
    with pytest.raises(errors.NotFoundError):
        inrush.Dict.from_name(made.name).get("a")
