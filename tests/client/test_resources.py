"""GPU strings, cpu and memory."""

from __future__ import annotations

import pytest

from inrush.client._resources import gpus, resources
from inrush.errors import InvalidError
from inrush.wire import GpuRequest


def gpu(type: str, count: int = 1) -> GpuRequest:
    return GpuRequest(type=type, count=count)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A10G", gpu("A10G")),
        ("a100:2", gpu("A100", 2)),
        ("A100-80GB", gpu("A100-80GB")),
        ("A100-80gb:8", gpu("A100-80GB", 8)),
        ("H100!", gpu("H100")),
        ("H100!:4", gpu("H100", 4)),
        ("B200+", gpu("B200+")),
        ("any", gpu("ANY")),
        (" t4 ", gpu("T4")),
    ],
)
def test_a_gpu_is_a_type_and_a_count(written: str, meant: GpuRequest) -> None:
    assert gpus(written) == (meant,)


def test_a_list_is_an_order_of_preference() -> None:
    assert gpus(["H100", "a100:2", "any"]) == (gpu("H100"), gpu("A100", 2), gpu("ANY"))


@pytest.mark.parametrize("written", ["A100:0", "A100:9", "A100:x", "A100:", "", ":2", "A100:1:1", [], 5, [3]])
def test_what_is_no_gpu_is_refused(written: object) -> None:
    with pytest.raises(InvalidError, match="gpu"):
        gpus(written)  # type: ignore[arg-type]


def test_a_part_of_a_gpu_is_a_share_of_one() -> None:
    assert gpus("A100:0.5") == (GpuRequest(type="A100", share=0.5),)
    assert gpus(["H100:.25", "A100:2"])[0] == GpuRequest(type="H100", share=0.25)
    with pytest.raises(InvalidError, match=r"between 0\.05 and 1"):
        gpus("A100:0.01")


def test_cpu_and_memory_are_requests_or_requests_and_limits() -> None:
    plain = resources(cpu=2, memory=1024)
    assert (plain.cpu, plain.cpu_limit, plain.memory_mib, plain.memory_limit_mib) == (2.0, 18.0, 1024, None)
    both = resources(cpu=(0.5, 1), memory=(256, 512), ephemeral_disk=1000)
    assert (both.cpu, both.cpu_limit, both.memory_mib, both.memory_limit_mib) == (0.5, 1.0, 256, 512)
    assert both.disk_mib == 1000
    nothing = resources()
    assert (nothing.cpu, nothing.cpu_limit, nothing.memory_mib, nothing.gpu) == (0.125, None, 64, ())


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("cpu", 0),
        ("cpu", "2"),
        ("cpu", (2, 1)),
        ("cpu", True),
        ("memory", 0.5),
        ("memory", (512, 256)),
        ("memory", 0),
        ("ephemeral_disk", 0),
        ("ephemeral_disk", 4 * 1024 * 1024),
    ],
)
def test_other_values_are_refused_with_the_parameters_name(parameter: str, value: object) -> None:
    with pytest.raises(InvalidError, match=parameter):
        resources(**{parameter: value})  # type: ignore[arg-type]
