"""What a zygote imports for its children: the guest, and what most programs import, which takes longer than a fork."""

from __future__ import annotations

import contextlib
import importlib

from inrush.guest.main import serve, template

__all__ = ["serve", "template"]

_USUAL = (
    *(
        "asyncio",
        "concurrent.futures",
        "ctypes",
        "json",
        "logging",
        "random",
        "ssl",
        "subprocess",
        "typing",
        "cloudpickle",
    ),
    *("inrush.client.app", "inrush.client.cls", "inrush.client.context", "inrush.client.image", "inrush.client.secret"),
)

for _name in _USUAL:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
