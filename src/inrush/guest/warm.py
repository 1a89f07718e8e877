"""The modules that a zygote imports for its children: the guest, and what most programs import, which takes longer than
a fork."""

from __future__ import annotations

import contextlib
import importlib

from inrush.guest.main import Guest as guest
from inrush.guest.rehearsal import rehearse
from inrush.guest.template import template

__all__ = ["guest", "rehearse", "template"]

_USUAL = (
    *("asyncio", "concurrent.futures", "ctypes", "inspect", "json", "logging"),
    *("pathlib", "random", "ssl", "subprocess", "traceback", "typing", "cloudpickle"),
    "inrush.linux.memory",
    *("inrush.client._calling", "inrush.client._options", "inrush.client.app", "inrush.client.cls"),
    *("inrush.client.context", "inrush.client.entrypoint", "inrush.client.image", "inrush.client.secret"),
)

for _name in _USUAL:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
