"""How long properties of parsers are tried, and values for them.

The suite tries each a little; `make fuzz-wire TIMES=100` tries a hundred times as many examples, from other seeds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("INRUSH_FUZZ_TIMES", "1"))


def tried(examples: int) -> Callable[[Any], Any]:
    """So many examples, times what was asked for. A machine that is busy is no failure."""
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def values(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Values that a decoder of this type takes; `msgspec.inspect` tells what they are and how they are bounded."""
    found: st.SearchStrategy[Any]
    match info:
        case msgspec.inspect.IntType():
            low = info.ge if info.ge is not None else info.gt + 1 if info.gt is not None else -(2**63)
            high = info.le if info.le is not None else info.lt - 1 if info.lt is not None else 2**63 - 1
            found = st.integers(low, high)
        case msgspec.inspect.FloatType():
            found = st.floats(info.ge, info.le, allow_nan=False)
        case msgspec.inspect.StrType():
            if info.pattern:
                found = st.from_regex(info.pattern.replace("$", r"\Z"))
            else:
                text = st.characters(exclude_categories=["Cs"])
                found = st.text(text, min_size=info.min_length or 0, max_size=min(info.max_length or 20, 20))
        case msgspec.inspect.BytesType():
            found = st.binary(max_size=20)
        case msgspec.inspect.BoolType():
            found = st.booleans()
        case msgspec.inspect.NoneType():
            found = st.none()
        case msgspec.inspect.AnyType():
            found = st.none() | st.integers(-(2**60), 2**60) | st.binary(max_size=8) | st.text("ab", max_size=8)
        case msgspec.inspect.LiteralType():
            found = st.sampled_from(info.values)
        case msgspec.inspect.TupleType():
            found = st.tuples(*map(values, info.item_types))
        case msgspec.inspect.VarTupleType():
            found = st.lists(values(info.item_type), min_size=info.min_length or 0, max_size=3).map(tuple)
        case msgspec.inspect.ListType():
            found = st.lists(values(info.item_type), min_size=info.min_length or 0, max_size=3)
        case msgspec.inspect.DictType():
            found = st.dictionaries(values(info.key_type), values(info.value_type), max_size=3)
        case msgspec.inspect.UnionType():
            found = st.one_of([values(one) for one in info.types])
        case msgspec.inspect.StructType():
            fields = {field.name: values(field.type) for field in info.fields}
            found = st.builds(info.cls, **fields)
        case _:
            raise TypeError(f"no values are known for {info}")
    return found


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """The same with bytes changed, left out, doubled, or put in."""

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        out = data
        for at, kind, put in edits:
            at %= len(out) + 1
            out = (
                out[:at] + put + out[at + len(put) :],
                out[:at] + put + out[at:],
                out[:at] + out[at + len(put) :],
                out[:at] + out[max(0, at - 8) :],
            )[kind]
        return out

    edit = st.tuples(st.integers(0, 1 << 20), st.integers(0, 3), st.binary(min_size=1, max_size=6))
    return st.lists(edit, min_size=1, max_size=4).map(change)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes, as a stream may bring them."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]
