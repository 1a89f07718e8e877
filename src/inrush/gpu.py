"""GPUs as objects, as older programs for Modal write them: `gpu=inrush.gpu.A100(count=2, size="80GB")` is the same as
`gpu="A100-80GB:2"`."""

from __future__ import annotations

from inrush.errors import InvalidError


def _named(name: str, count: int) -> str:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidError(f"gpu.{name}: count is a whole number of at least 1, not {count!r}")
    return f"{name}:{count}" if count > 1 else name


def A100(*, count: int = 1, size: str | None = None) -> str:
    """`size` is "40GB" or "80GB"."""
    if size not in (None, "40GB", "80GB"):
        raise InvalidError(f'gpu.A100: size is "40GB" or "80GB", not {size!r}')
    return _named(f"A100-{size}" if size else "A100", count)


def H100(*, count: int = 1) -> str:
    """H100s in one container."""
    return _named("H100", count)


def L40S(*, count: int = 1) -> str:
    """L40Ss in one container."""
    return _named("L40S", count)


def A10G(*, count: int = 1) -> str:
    """A10Gs in one container."""
    return _named("A10G", count)


def L4(*, count: int = 1) -> str:
    """L4s in one container."""
    return _named("L4", count)


def T4(*, count: int = 1) -> str:
    """T4s in one container."""
    return _named("T4", count)


def Any(*, count: int = 1) -> str:
    """GPUs of any type in one container."""
    return _named("any", count)
