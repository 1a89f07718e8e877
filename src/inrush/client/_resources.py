"""What a container asks of its node: the strings and tuples that users write, as `wire.Resources`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inrush.client._checks import number
from inrush.errors import InvalidError
from inrush.wire import GpuRequest, Resources

Gpu = str | Sequence[str | None] | None


_GPU = re.compile(r"(?P<type>[A-Z0-9][A-Z0-9_+. -]*?)!?(?::(?P<count>[^:]*))?")
_MAX_GPUS = 8
_MIN_SHARE = 0.05
_MAX_DISK_MIB = 3 * 1024 * 1024
_SOFT_CPU_CORES = 16.0
_MIN_CPU = 0.1


def gpus(gpu: Gpu) -> tuple[GpuRequest, ...]:
    """`"A10G"`, `"A100:2"`, `"A100:0.5"`, `"any"`, or a list of them in order of preference."""
    if gpu is None:
        return ()
    if isinstance(gpu, str):
        return (_gpu(gpu),)
    if isinstance(gpu, Sequence) and gpu and all(isinstance(g, str) for g in gpu):
        return tuple(_gpu(g) for g in gpu if g is not None)
    raise InvalidError(
        f'gpu is a name such as "A10G" or "A100:2", or a list of them in order of preference, not {gpu!r}'
    )


def _gpu(text: str) -> GpuRequest:
    match = _GPU.fullmatch(text.strip().upper())
    if match is None:
        raise InvalidError(f'gpu={text!r} is not a GPU; write a type such as "A10G", and how many as "A10G:2"')
    count = match["count"]
    if count is None:
        return GpuRequest(type=match["type"])
    if re.fullmatch(r"0?\.\d+", count):
        if not _MIN_SHARE <= float(count) < 1:
            raise InvalidError(f"gpu={text!r}: a part of a GPU is between {_MIN_SHARE} and 1, such as 0.5")
        return GpuRequest(type=match["type"], share=float(count))
    if not count.isdigit() or not 1 <= int(count) <= _MAX_GPUS:
        raise InvalidError(f"gpu={text!r}: the number of GPUs of a container is between 1 and {_MAX_GPUS}")
    return GpuRequest(type=match["type"], count=int(count))


def resources(
    gpu: Gpu = None,
    cpu: float | tuple[float, float] | None = None,
    memory: int | tuple[int, int] | None = None,
    ephemeral_disk: int | None = None,
) -> Resources:
    """All of it. Raises `InvalidError` with the parameter's name."""
    cores, cores_limit = _cpu(cpu)
    memory_mib, memory_limit_mib = _memory(memory)
    if ephemeral_disk is not None and not (_whole(ephemeral_disk) and 1 <= ephemeral_disk <= _MAX_DISK_MIB):
        raise InvalidError(f"ephemeral_disk is in MiB, between 1 and {_MAX_DISK_MIB}, not {ephemeral_disk!r}")
    return Resources(
        cpu=cores,
        cpu_limit=cores_limit,
        memory_mib=memory_mib,
        memory_limit_mib=memory_limit_mib,
        disk_mib=ephemeral_disk,
        gpu=gpus(gpu),
    )


def _cpu(cpu: float | tuple[float, float] | None) -> tuple[float, float | None]:
    if cpu is None:
        return Resources().cpu, None
    request, limit = cpu if isinstance(cpu, tuple | list) and len(cpu) == 2 else (cpu, None)
    if not number(request) or (limit is not None and not number(limit)):
        raise InvalidError(f"cpu is a number of cores, or (request, limit), not {cpu!r}")
    if request < _MIN_CPU:
        raise InvalidError(f"cpu must be at least {_MIN_CPU} cores, not {request!r}")
    if limit is not None and limit < request:
        raise InvalidError(f"cpu: the limit ({limit}) is below the request ({request})")
    return float(request), float(limit) if limit is not None else float(request) + _SOFT_CPU_CORES


def _memory(memory: int | tuple[int, int] | None) -> tuple[int, int | None]:
    if memory is None:
        return Resources().memory_mib, None
    request, limit = memory if isinstance(memory, tuple | list) and len(memory) == 2 else (memory, None)
    if not _whole(request) or (limit is not None and not _whole(limit)):
        raise InvalidError(f"memory is a whole number of MiB, or (request, limit), not {memory!r}")
    if request < 1:
        raise InvalidError(f"memory must be at least 1 MiB, not {request!r}")
    if limit is not None and limit < request:
        raise InvalidError(f"memory: the limit ({limit} MiB) is below the request ({request} MiB)")
    return int(request), limit


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
