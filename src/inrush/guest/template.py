"""What a template is made of, and what its children find: `template` prepares a process that containers are forked
from, in a zygote or a snapshot; the guest of each child takes the `Template` over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from inrush.guest import ahead, fork
from inrush.guest.load import Loaded
from inrush.guest.settle import settle
from inrush.guest.tracebacks import traceback_text, type_name


@dataclass
class Template:
    """What containers are forked with: packages that are imported (`ahead`), or user code that is, with its hooks of
    before the snapshot run."""

    inherited: fork.Inherited
    loaded: Loaded | None = None
    ahead: list[str] = field(default_factory=list)

    def take(self, root: str) -> Loaded | None:
        """In a child, after its environment is set: user code, if it is loaded; else the way is free for what is at
        `root`."""
        self.inherited.restore()
        if self.loaded is None:
            ahead.make_way(root, self.ahead)
        else:
            self.loaded.phases.clear()
        return self.loaded


def template(boot: dict[str, Any]) -> tuple[Template | None, dict[str, Any]]:
    """Import packages (`boot["imports"]`), or user code, whose `enter(snap=True)` hooks are run too. The report says
    whether containers can be forked from this process (`ok`), if not `why`, and what took how long (`ms` by phase)."""
    started = time.monotonic()
    made = Template(fork.Inherited())
    report = _import_ahead(made, boot["imports"]) if "imports" in boot else _load_ahead(made, boot["spec"])
    made.inherited.rest()
    report.setdefault("ms", {})["total"] = round((time.monotonic() - started) * 1000, 2)
    return made if report["ok"] else None, report


def _import_ahead(made: Template, names: list[str]) -> dict[str, Any]:
    report = ahead.import_ahead(names)
    made.ahead = [name for name, _ in report["imported"]]
    return report


def _load_ahead(made: Template, spec: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(spec.get("env") or {})
    try:
        loaded = made.loaded = Loaded(spec, b"")
        loaded.enter(True, _run_alone)
    except BaseException as error:
        return {"ok": False, "why": f"{type_name(error)}: {error}", "traceback": traceback_text(error)}
    settling = time.monotonic()
    why = settle()
    ms = {**dict(loaded.phases), "settle": round((time.monotonic() - settling) * 1000, 2)}
    return {"ok": not why, "why": why, "ms": ms}


def _run_alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    return asyncio.run(coroutine)
