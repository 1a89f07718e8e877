"""The GPUs of a node: those that its driver reports (NVML), and those that a setting declares.

The setting `gpus` is a list of `TYPE:COUNT` (cards that are not there: containers get the environment but no device)
and `TYPE=INDEX,INDEX` (real cards, by their NVML index, under the name that programs ask for):

    A10G:8,A100:8        sixteen declared cards
    A10G=0,1             real cards 0 and 1 are offered as A10G
    A10G=0,1,A100:8      both

Indexes of declared cards follow behind those of the real ones, so an index names one card of the node.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from inrush.errors import InvalidError
from inrush.wire import Gpu

log = logging.getLogger(__name__)

_COUNTED = re.compile(r"([A-Za-z0-9-]+):(\d+)")
_NAMED = re.compile(r"([A-Za-z0-9-]+)=(\d+)")
_INDEX = re.compile(r"\d+")

MAX_DECLARED = 1024

_PRODUCTS = frozenset({"A10", "A10G", "A100", "A40", "A6000", "B200", "B300", "GB200", "GH200", "H100", "H200", "L4"})
_PRODUCTS |= {"L40", "L40S", "T4", "V100"}
"""Short names, as programs write them; a product not listed is named by NVML's own name."""


def inventory(setting: str, found: Sequence[Gpu] | None = None) -> tuple[Gpu, ...]:
    """The node's GPUs. `found` are the real ones, asked from the driver when None.

    Raises `InvalidError` for a bad setting.
    """
    real = list(found if found is not None else probe())
    named, counted = parse(setting)
    unknown = sorted(set(named) - {gpu.index for gpu in real})
    if unknown:
        there = f"the driver reports {len(real)} cards" if real else "no driver reports any card"
        raise InvalidError(
            f"gpus={setting!r}: there is no real GPU {unknown[0]} ({there}); "
            "`TYPE:COUNT` declares cards that do not exist"
        )
    cards = [Gpu(type=named.get(gpu.index, gpu.type), index=gpu.index, memory_mib=gpu.memory_mib) for gpu in real]
    index = 1 + max((gpu.index for gpu in real), default=-1)
    for kind, count in counted:
        cards += [Gpu(type=kind, index=index + n, declared=True) for n in range(count)]
        index += count
    return tuple(cards)


def parse(setting: str) -> tuple[dict[int, str], list[tuple[str, int]]]:
    """Type by index of named real cards, and (type, count) of declared ones."""
    named: dict[int, str] = {}
    counted: list[tuple[str, int]] = []
    kind = ""
    for part in filter(None, (p.strip() for p in setting.split(","))):
        if match := _COUNTED.fullmatch(part):
            counted.append((match[1].upper(), int(match[2])))
            kind = ""
        elif match := _NAMED.fullmatch(part):
            kind = match[1].upper()
            named[int(match[2])] = kind
        elif kind and _INDEX.fullmatch(part):
            named[int(part)] = kind
        else:
            raise InvalidError(
                f'gpus={setting!r}: {part!r} is neither "A10G:8" (declared) nor "A10G=0,1" (real cards by index)'
            )
    if sum(count for _, count in counted) > MAX_DECLARED:
        raise InvalidError(f"gpus={setting!r}: more than {MAX_DECLARED} declared GPUs")
    return named, counted


def probe() -> list[Gpu]:
    """The cards that NVML reports; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("no NVIDIA driver: %s", error)
        return []
    try:
        return [_card(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _card(pynvml: object, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    name = pynvml.nvmlDeviceGetName(handle)  # type: ignore[attr-defined]
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total  # type: ignore[attr-defined]
    return Gpu(
        type=short_type(name if isinstance(name, str) else name.decode(), memory), index=index, memory_mib=memory >> 20
    )


def short_type(name: str, memory_bytes: int) -> str:
    """The type that programs ask for: `NVIDIA A100-SXM4-80GB` is `A100-80GB`, `NVIDIA A10G` is `A10G`."""
    words = re.split(r"[\s-]+", name.upper())
    known = next((word for word in words if word in _PRODUCTS), "")
    if known:
        return "A100-80GB" if known == "A100" and memory_bytes > 60 << 30 else known
    return "-".join(word for word in words if word != "NVIDIA")


def environment(gpus: Sequence[Gpu], gpu_type: str, share: float = 1.0) -> dict[str, str]:
    """What a container with these cards, or with a share of one, sees; without any, CUDA is told that there are none.

    CUDA counts the devices that it finds, so real cards are 0, 1, … inside; declared ones keep their index on the node.
    """
    seen = [gpu.index if gpu.declared else position for position, gpu in enumerate(gpus)]
    shown = {"INRUSH_GPU_TYPE": gpu_type if gpus else "", "CUDA_VISIBLE_DEVICES": ",".join(map(str, seen))}
    return {**shown, "INRUSH_GPU_SHARE": f"{share:g}"} if share < 1 else shown
