"""Quotas: how many devices of a type the containers of an app may hold at once.

The setting `quotas` is a list such as `chat=A100:4,eval=ANY:16,eval=H100:2`, in which each entry holds by itself. A
type stands for its family as in a request (`A100` counts A100-80GB too), and `ANY` for all devices. A part of a device
counts as that part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from inrush.core.model.containers import WHOLE
from inrush.core.model.wanted import accepts
from inrush.errors import InvalidError
from inrush.wire import GpuRequest

Quotas = Mapping[str, tuple[tuple[str, int], ...]]
"""For each app: types, and thousandths of devices."""

_ENTRY = re.compile(r"(?P<app>[^=,:]+)=(?P<type>[A-Za-z0-9_+.-]+):(?P<count>\d+(\.\d+)?)")


def parse(setting: str) -> Quotas:
    """The quotas that the setting describes. Raises `InvalidError` for an entry that is no quota."""
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    for part in filter(None, (part.strip() for part in setting.split(","))):
        match = _ENTRY.fullmatch(part)
        if match is None:
            raise InvalidError(f'quotas={setting!r}: {part!r} is not of the form "app=A100:4"')
        limit = (match["type"].upper(), round(float(match["count"]) * WHOLE))
        found[match["app"]] = (*found.get(match["app"], ()), limit)
    return found


def exceeded(quotas: Quotas, app: str, used: Mapping[str, int], gpu_type: str, milli: int) -> str:
    """A sentence about the app's quota that `milli` more of this type would exceed; empty when none would be."""
    for kind, most in quotas.get(app, ()):
        if accepts(GpuRequest(type=kind), gpu_type):
            held = sum(amount for other, amount in used.items() if accepts(GpuRequest(type=kind), other))
            if held + milli > most:
                what = "GPUs" if kind == "ANY" else kind
                return f"app {app} may hold {most / WHOLE:g} {what} at once by its quota, and holds {held / WHOLE:g}"
    return ""
