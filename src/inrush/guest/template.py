"""Templates: `template` prepares a zygote or a snapshot, from which containers are forked; the guest of each child
takes over the `Template`.
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
    """What the children of a template start with: imported packages (`ahead`) in a zygote; in a snapshot user code
    (`loaded`) whose `enter(snap=True)` hooks have run."""

    inherited: fork.Inherited
    loaded: Loaded | None = None
    ahead: list[str] = field(default_factory=list)

    def take(self, root: str) -> Loaded | None:
        """Returns the snapshot's user code, in a child whose environment is set. In a zygote's child it returns None,
        and files under `root` take precedence over packages of the same name."""
        self.inherited.restore()
        if self.loaded is None:
            ahead.make_way(root, self.ahead)
        else:
            self.loaded.phases.clear()
        return self.loaded


def template(boot: dict[str, Any]) -> tuple[Template | None, dict[str, Any]]:
    """Imports packages (`boot["imports"]`), or user code (`boot["spec"]`) and runs its `enter(snap=True)` hooks. The
    report says whether containers can be forked from this process (`ok`), `why` not, and how long each phase took
    (`ms`)."""
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
