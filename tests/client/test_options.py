"""The parameters of `@app.function` and `@app.cls`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import inrush
from inrush import wire
from inrush.client._marks import Mark
from inrush.client._options import Options, parse
from inrush.client.retries import to_wire
from inrush.errors import InvalidError, UnimplementedError


def options(mark: Mark = Mark(), **given: Any) -> Options:  # noqa: B008 - a frozen value
    return parse("f", given, mark)


def test_nothing_given_means_the_defaults() -> None:
    assert options().scale == wire.ScalePolicy()
    assert options().timeout_s == 300.0
    assert options().startup_timeout_s == 300.0
    assert options().retries == wire.Retries()


def test_scaling_parameters_have_their_meaning() -> None:
    scale = options(min_containers=1, max_containers=5, buffer_containers=2, scaledown_window=30).scale
    assert scale == wire.ScalePolicy(min_containers=1, max_containers=5, buffer_containers=2, scaledown_window_s=30.0)
    assert options(single_use_containers=True).scale.single_use
    assert options(max_inputs=1).scale.single_use


def test_older_names_mean_the_same() -> None:
    assert options(keep_warm=2).scale == options(min_containers=2).scale
    assert options(container_idle_timeout=9).scale == options(scaledown_window=9).scale
    assert options(allow_concurrent_inputs=8).scale.max_inputs == 8


def test_concurrency_limit_is_inputs_at_once_in_one_container() -> None:
    assert options(concurrency_limit=4).scale == wire.ScalePolicy(max_inputs=4)


def test_concurrent_is_a_decorator_too() -> None:
    assert options(Mark(max_inputs=8, target_inputs=4)).scale == wire.ScalePolicy(max_inputs=8, target_inputs=4)
    with pytest.raises(InvalidError, match="not by both"):
        options(Mark(max_inputs=8), concurrency_limit=4)


def test_a_name_and_its_older_name_exclude_each_other() -> None:
    with pytest.raises(InvalidError, match="keep_warm is an older name of min_containers"):
        options(keep_warm=1, min_containers=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_containers": 3, "max_containers": 2}, "above max_containers"),
        ({"min_containers": -1}, "min_containers"),
        ({"max_containers": 0}, "max_containers"),
        ({"concurrency_limit": 0}, "concurrency_limit"),
        ({"scaledown_window": -1}, "scaledown_window"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 90_000}, "timeout"),
        ({"startup_timeout": "long"}, "startup_timeout"),
        ({"max_inputs": 5}, "concurrent"),
        ({"env": {"A": 1}}, "env"),
        ({"image": "debian"}, "image"),
        ({"secrets": ["key"]}, "secrets"),
        ({"retries": -1}, "retries"),
        ({"retries": 10**9}, "retries"),
        ({"priority": 10**30}, "priority"),
        ({"max_containers": True}, "max_containers"),
        ({"concurrency_limit": 10**9}, "concurrency_limit.* at most 1,000,000"),
        ({"timeout": float("nan")}, "timeout"),
        ({"scaledown_window": 1e9}, "scaledown_window"),
        ({"cpu": float("inf")}, "cpu"),
        ({"ephemeral_disk": True}, "ephemeral_disk"),
        ({"block_network": "no"}, "block_network is True or False"),
        ({"single_use_containers": 1}, "single_use_containers is True or False"),
        ({"region": 5}, "region"),
        ({"cloud": 5}, "cloud"),
        ({"node_labels": {"disk": 1}}, "node_labels"),
        ({"env": ["A"]}, "env"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"secrets": 5}, "secrets takes a list"),
        ({"gpu": "A100:99"}, "gpu"),
        ({"time_out": 5}, "did you mean timeout"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said) as raised:
        options(**given)
    assert "f" in str(raised.value) or "retries" in str(raised.value)


@pytest.mark.parametrize(
    "given", [{"volumes": {"/v": 1}}, {"proxy": 1}, {"schedule": 1}, {"i6pn": True}, {"experimental_options": {"a": 1}}]
)
def test_what_is_not_built_is_refused_and_says_what_to_do(given: dict[str, Any]) -> None:
    with pytest.raises(UnimplementedError, match="is not built yet; "):
        options(**given)


def test_what_is_not_built_may_have_its_default() -> None:
    options(volumes={}, proxy=None, i6pn=None, network_file_systems={}, experimental_options=None)


def test_a_number_of_retries_is_that_many_a_second_apart() -> None:
    assert to_wire(3) == wire.Retries(max_retries=3, backoff_coefficient=1.0, initial_delay_s=1.0)


def test_retries_take_seconds_or_timedeltas() -> None:
    given = inrush.Retries(max_retries=2, initial_delay=0.5, max_delay=timedelta(minutes=2), backoff_coefficient=3)
    assert to_wire(given) == wire.Retries(
        max_retries=2, backoff_coefficient=3.0, initial_delay_s=0.5, max_delay_s=120.0
    )


@pytest.mark.parametrize(
    "given",
    [
        {"max_retries": -1},
        {"max_retries": 1, "backoff_coefficient": 0.5},
        {"max_retries": 1, "initial_delay": 61},
        {"max_retries": 1, "max_delay": 90_000},
        {"max_retries": 1, "max_delay": 0},
        {"max_retries": 1, "max_delay": float("nan")},
        {"max_retries": 1, "initial_delay": "soon"},
        {"max_retries": True},
    ],
)
def test_retries_outside_of_their_limits_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"Retries: "):
        inrush.Retries(**given)


@pytest.mark.parametrize(
    "declare",
    [
        lambda: inrush.concurrent(max_inputs=True),
        lambda: inrush.concurrent(max_inputs=4, target_inputs=1.5),  # type: ignore[arg-type]
        lambda: inrush.concurrent(max_inputs=10**12),
        lambda: inrush.fastapi_endpoint(label="x" * 64),
        lambda: inrush.App("a", tags={"size": 1}),  # type: ignore[dict-item]
        lambda: inrush.App("a").function(name=5)(print),  # type: ignore[call-overload]
        lambda: inrush.Image.debian_slim(python_version=3.1),  # type: ignore[arg-type]
        lambda: inrush.Image.debian_slim().run_function(print, timeout=-1),
        lambda: inrush.Function.from_name("app", ""),
        lambda: inrush.Cls.from_name(5, "C"),  # type: ignore[arg-type]
        lambda: inrush.Secret.from_name(""),
        lambda: inrush.Function.from_name("app", "f").update_autoscaler(min_containers=-1),
        lambda: inrush.Function.from_name("app", "f").update_autoscaler(scaledown_window=-1),
        lambda: inrush.FunctionCall.from_id("ca-1").get(timeout=-1),
        lambda: inrush.FunctionCall.from_id("ca-1").get(index=-1),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(declare: Any) -> None:
    with pytest.raises(InvalidError):
        declare()


def test_what_is_sent_by_value_is_said_to_have_no_snapshot() -> None:
    app = inrush.App("by-value")
    with pytest.warns(UserWarning, match="f: enable_memory_snapshot does nothing .*serialized=True"):

        @app.function(serialized=True, enable_memory_snapshot=True)
        def f() -> None: ...


def test_a_secret_that_is_not_in_a_list_is_refused_in_words() -> None:
    with pytest.raises(InvalidError, match=r"f: secrets takes a list .*secrets=\[…\]"):
        options(secrets=inrush.Secret.from_dict({"A": "1"}))
    with pytest.raises(InvalidError, match="takes a list"):
        inrush.App("one", secrets=inrush.Secret.from_dict({"A": "1"}))  # type: ignore[arg-type]
