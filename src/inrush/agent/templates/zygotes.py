"""Which zygote a container without snapshot is forked from: a bare one, or one that has imported ahead what
containers of its (app, image) were seen to import.

    bare ──(containers say what they import)──▶ successor opens in the background ──▶ swapped in when ready

Packages read variables when they are imported, and a function's own variables are not in a zygote. Those with the
prefixes of `IMPORT_PREFIXES` are therefore given to it, and functions that set them differently get zygotes of their
own.

What containers of each (app, image) import is kept over restarts, in a small file for each, by the key of its bare
zygote, which changes with image, guest and kernel. A package that left something behind when it was imported ahead, or
could not be imported, is on the file's skip list with the reason. A file is forgotten after a week, so that packages
which are no longer imported do not stay for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inrush.agent.containers.grounds import Ground
from inrush.agent.templates import specs
from inrush.agent.templates.specs import Order
from inrush.agent.templates.table import TemplateFailed, Templates
from inrush.launcher.specs import TemplateSpec

log = logging.getLogger(__name__)

IMPORT_PREFIXES = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "NUMBA_", "NPY_", "NUMPY_"),
    *("CUDA_", "NVIDIA_", "NCCL_", "TORCH", "PYTORCH_", "TF_", "XLA_", "JAX_", "KERAS_", "TRITON_"),
    *("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DIFFUSERS_", "TOKENIZERS_", "SAFETENSORS_", "BITSANDBYTES_"),
    *("MPL", "POLARS_", "ARROW_", "RAY_", "WANDB_", "XDG_", "USE_", "LD_", "MALLOC_"),
)
"""Variables that packages are known to read when they are imported."""

MAX_TRIES = 8
"""So many packages may turn out to be unfit, one after the other, before the next start tries again."""

FORGET_S = 7 * 24 * 3600.0
MAX_KNOWN = 256
"""The imports of so many (app, image) pairs are remembered."""
MAX_IMPORTS = 256
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 1000
WORTH_MS = 20.0
"""Imports that take less than this together are left to the containers."""


class Zygotes:
    """Chooses zygotes. `note` tells people (function id, text)."""

    def __init__(
        self, templates: Templates, learned: Learned, ttl_s: float, learns: bool, note: Callable[[str, str], None]
    ) -> None:
        self._templates = templates
        self._learned = learned
        self._ttl_s = ttl_s
        self.learns = learns
        self._note = note
        self._current: dict[str, TemplateSpec] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    def best(self, order: Order, ground: Ground, uid_base: int) -> TemplateSpec:
        """The template to fork from now. Where more is known than it has imported, its successor begins to open."""
        bare = specs.zygote(order, ground, uid_base)
        if not self.learns:
            return bare
        wanted = self._wanted(order, bare)
        if wanted is bare or self._templates.is_open(wanted.key):
            return wanted
        family = specs.learned(bare, _read_at_import(order), ()).key
        if family not in self._opening:
            task = self._opening[family] = asyncio.create_task(self._succeed(order, bare, family))
            task.add_done_callback(lambda _: self._opening.pop(family, None))
        current = self._current.get(family)
        return current if current is not None and self._templates.is_open(current.key) else bare

    async def prepare(self, order: Order, ground: Ground, uid_base: int) -> TemplateSpec:
        """Opens the best template that is known, and waits for it."""
        chosen = self.best(order, ground, uid_base)
        for task in list(self._opening.values()):
            await asyncio.shield(task)
        return self.best(order, ground, uid_base) if chosen.boot is None else chosen

    def heard(self, order: Order, ground: Ground, uid_base: int, imports: Iterable[tuple[str, float]]) -> None:
        """Notes what a container's guest imported."""
        self._learned.add(specs.zygote(order, ground, uid_base).key, imports)
        self.best(order, ground, uid_base)

    def close(self) -> None:
        for task in list(self._opening.values()):
            task.cancel()

    # ── successors ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, order: Order, bare: TemplateSpec) -> TemplateSpec:
        names = self._learned.ahead(bare.key)
        return specs.learned(bare, _read_at_import(order), names) if names else bare

    async def _succeed(self, order: Order, bare: TemplateSpec, family: str) -> None:
        for _ in range(MAX_TRIES):
            wanted = self._wanted(order, bare)
            if wanted is bare:
                return
            try:
                async with self._templates.use(wanted, self._ttl_s) as template:
                    skipped = dict(template.opening.result().report.get("skipped", {}))
            except TemplateFailed as failed:
                self._blame(order, bare.key, wanted, failed)
                continue
            self._learned.skip(bare.key, skipped)
            self._swap(order, bare.key, family, wanted)
            if not skipped:
                return

    def _swap(self, order: Order, key: str, family: str, wanted: TemplateSpec) -> None:
        before = self._current.get(family)
        self._current[family] = wanted
        if before is not None and before.key != wanted.key:
            self._templates.retire(before.key)
        names = specs.imports(wanted)
        text = (
            f"containers start with {listed(names)} imported ahead, which took {self._learned.ms(key, names):,.0f} ms"
        )
        self._note(order.function, text)

    def _blame(self, order: Order, key: str, wanted: TemplateSpec, failed: TemplateFailed) -> None:
        """Skips the named offender from now on, or everything that was to be imported where the process died or
        hung."""
        offender = str(failed.report.get("offender", ""))
        names = [offender] if offender else specs.imports(wanted)
        self._learned.skip(key, dict.fromkeys(names, str(failed)))
        self._note(order.function, f"{listed(names)} will not be imported ahead: {failed}")


def listed(names: Iterable[str]) -> str:
    """Names of packages, for people."""
    packages = list(dict.fromkeys(name.partition(".")[0] for name in names))
    more = f" and {len(packages) - 8} more" if len(packages) > 8 else ""
    return ", ".join(packages[:8]) + more


def _read_at_import(order: Order) -> dict[str, str]:
    return {name: value for name, value in order.env if name.startswith(IMPORT_PREFIXES)}


@dataclass
class Known:
    """Milliseconds by module in the order of import, and reasons by the modules that are skipped."""

    since: float = field(default_factory=time.time)
    imports: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Learned:
    """What is known of all pairs of a node, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Known] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, key: str, imports: Iterable[tuple[str, float]]) -> None:
        """Notes what a guest imported. The guest runs user code, so what it says is checked."""
        known, news = self._of(key), False
        for name, ms in imports:
            good = len(name) <= MAX_NAME_CHARS and all(part.isidentifier() for part in name.split("."))
            if good and name not in known.imports and len(known.imports) < MAX_IMPORTS and 0 <= ms < 1e6:
                known.imports[name], news = ms, True
        if news:
            self._write(key, known)

    def skip(self, key: str, reasons: dict[str, str]) -> None:
        """Has modules not imported ahead again."""
        if reasons:
            known = self._of(key)
            for name, why in reasons.items():
                if name in known.skipped or len(known.skipped) < MAX_IMPORTS:
                    known.skipped[name[:MAX_NAME_CHARS]] = why[:MAX_REASON_CHARS]
            self._write(key, known)

    def ahead(self, key: str) -> tuple[str, ...]:
        """Modules that are worth importing ahead, in order."""
        known = self._of(key)
        names = tuple(name for name in known.imports if not _is_within(name, known.skipped))
        return names if sum(known.imports[name] for name in names) >= WORTH_MS else ()

    def ms(self, key: str, names: Iterable[str]) -> float:
        """How long importing these modules took."""
        imports = self._of(key).imports
        return sum(imports.get(name, 0.0) for name in names)

    def _of(self, key: str) -> Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read(key)
        if time.time() - known.since > FORGET_S:
            known = self._known[key] = Known()
        return known

    def _read(self, key: str) -> Known:
        with suppress(OSError, ValueError, TypeError):
            return Known(**json.loads((self._folder / key).read_text()))
        return Known()

    def _write(self, key: str, known: Known) -> None:
        with suppress(OSError):  # a full disk: it is learned anew another time
            new = self._folder / f".{key}"
            new.write_text(json.dumps(asdict(known)))
            new.replace(self._folder / key)
            files = sorted(self._folder.glob("zy-*"), key=lambda file: file.stat().st_mtime)
            for file in files[: len(files) - MAX_KNOWN]:
                file.unlink(missing_ok=True)
                self._known.pop(file.name, None)


def _is_within(name: str, skipped: dict[str, str]) -> bool:
    """Whether a module belongs to a package that is skipped."""
    return any(name == package or name.startswith(package + ".") for package in skipped)
