"""From a recipe to layer digests: what an image is made of, before anything is built.

An image is a chain: its base, then a layer per step. The digest of a step hashes the environment that the image is
for, the digest of the step's parent and all that the step reads, so equal chains of one environment are one layer, and
a change rebuilds what stands above it, nothing else. Of a step with secrets, `key` is hashed in place of their values:
an HMAC of them, which the server makes. The node's package settings and `force` are no part of it. `env` and `workdir`
have a digest and no layer: they change what later steps see, not the file system.

How a `wire.Step` is encoded
----------------------------
`args` is one JSON object (`encode`: sorted keys, no spaces, UTF-8; keys with their default left out). `files` are
`(label, blob id)` with ids of the form `sha256-<hex of the content>`. `secrets` are names of environment variables that
only this step may read, `key` is the HMAC of their values. `force` rebuilds a step and all above it. By kind:

- `pip`: `packages` [str], `index_url` str, `extra_index_url` [str], `find_links` [str], `pre` bool, `extra_options` str
  (as on a command line), `uv` bool (the options are uv's own, no way back to pip).
  Files: requirements files, as `("requirements.txt", blob)`, any number.
- `apt`: `packages` [str].
- `run`: `commands` [str], run as one `/bin/sh -e` script, a command a line.
- `function`: `name` str (for people), `timeout_s` number (default 3600).
  Files: `("function", blob)`, the cloudpickle of `(function, args, kwargs)` without a codec byte, and optionally
  `("source", blob)`, a tar unpacked at `/` while the step runs, for modules that the pickle refers to (`/root` is on
  `sys.path`).
- `copy`: `name` str (for people, such as `./data -> /root/data`).
  Files: one or more `(name, blob)`: tars, unpacked at `/` of the image in this order.
- `env`: `variables` {name: value}.
- `workdir`: `path` str, absolute.

A tar's members are named relative to `/` (`root/data/a.txt`); only directories, regular files, and links that stay
inside are taken, and owners are dropped. Equal content should give equal bytes (sorted names, mtime 0), else nothing is
shared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from inrush.errors import InvalidError
from inrush.wire import Step

FORMAT = "2"
"""Part of every digest: raised when the same step comes to mean something else."""

HIDDEN = ("/tmp", "/dev", "/proc", "/sys")  # noqa: S108 (a path in containers)
"""Where containers have something of their own, that hides what an image holds there."""

HIDDEN_ON_HOST = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt/inrush/python")
"""The same for images on the node's own system: these are the node's, read-only."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "pip": {
        "packages": [],
        "index_url": "",
        "extra_index_url": [],
        "find_links": [],
        "pre": False,
        "extra_options": "",
        "uv": False,
    },
    "apt": {"packages": []},
    "run": {"commands": []},
    "function": {"name": "", "timeout_s": 3600},
    "copy": {"name": ""},
    "env": {"variables": {}},
    "workdir": {"path": ""},
}
"""The kinds of step, and each one's parameters with their defaults."""

_TITLE_LENGTH = 200
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")


def encode(kind: str, **parameters: Any) -> str:
    """The one argument of a step of this kind. Raises `InvalidError` for a parameter it does not have."""
    defaults = _defaults(kind)
    _refuse_unknown(kind, parameters, defaults)
    given = {k: v for k, v in parameters.items() if v != defaults[k]}
    return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parameters(step: Step) -> dict[str, Any]:
    """All parameters of a step, defaults filled in. Raises `InvalidError` where it is not encoded as above."""
    defaults = _defaults(step.kind)
    try:
        given = json.loads(step.args[0]) if step.args else {}
    except ValueError as error:
        raise InvalidError(f"image step {step.kind!r}: its argument is not JSON ({error})") from None
    if not isinstance(given, dict) or len(step.args) > 1:
        raise InvalidError(f"image step {step.kind!r}: its one argument must be a JSON object")
    _refuse_unknown(step.kind, given, defaults)
    for name, value in given.items():
        _check_type(step.kind, name, value, defaults[name])
    if step.kind == "env" and (bad := [n for n, v in given.get("variables", {}).items() if not _is_variable(n, v)]):
        raise InvalidError(f"image step 'env': {bad[0]!r} cannot be set: a name has no '=', and neither has a NUL byte")
    if step.kind == "workdir" and not _is_path(given.get("path", "")):
        raise InvalidError(f"image step 'workdir': the path must be absolute, not {given.get('path', '')!r}")
    return {**defaults, **given}


def makes_layer(step: Step) -> bool:
    """Whether the step changes the file system."""
    return step.kind not in ("env", "workdir")


def base_digest(base: str, facts: Sequence[str]) -> str:
    """Digest of a base image: its name, and the facts (versions, architecture) that tell one node's from another's."""
    return _hash(["base", base, *facts])


def digest(parent: str, step: Step, environment: str) -> str:
    """Digest of one step upon its parent's, in an environment."""
    files = [list(file) for file in step.files]
    return _hash([environment, parent, step.kind, list(step.args), files, sorted(step.secrets), step.key])


def digests(steps: Sequence[Step], base: str, environment: str) -> list[str]:
    """Digest of each step, in order, upon a base's digest."""
    found: list[str] = []
    for step in steps:
        found.append(digest(found[-1] if found else base, step, environment))
    return found


def environment(steps: Sequence[Step]) -> dict[str, str]:
    """What the `env` steps set, later wins."""
    variables: dict[str, str] = {}
    for step in steps:
        if step.kind == "env":
            variables.update(parameters(step)["variables"])
    return variables


def workdir(steps: Sequence[Step], default: str = "/root") -> str:
    """Path that the last `workdir` step names."""
    paths = [parameters(step)["path"] for step in steps if step.kind == "workdir"]
    return str(paths[-1]) if paths else default


def title(step: Step) -> str:
    """One line for people: what the step does. Credentials in URLs are left out."""
    given = parameters(step)
    match step.kind:
        case "pip":
            names = [*given["packages"], *(f"-r {label}" for label, _ in step.files)]
            text = f"pip install {' '.join(names)} {given['extra_options']}"
        case "apt":
            text = f"apt install {' '.join(given['packages'])}"
        case "run":
            text = f"run {'; '.join(given['commands'])}"
        case "function":
            text = f"run function {given['name']}"
        case "copy":
            text = f"copy {given['name'] or ' '.join(label for label, _ in step.files)}"
        case "env":
            text = f"env {' '.join(sorted(given['variables']))}"
        case _:
            text = f"{step.kind} {given['path']}"
    line = " ".join(_CREDENTIALS.sub(r"\1", text).split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1] + "…"


def _defaults(kind: str) -> dict[str, Any]:
    if kind not in _DEFAULTS:
        raise InvalidError(f"no image step is called {kind!r}; there are {', '.join(_DEFAULTS)}")
    return _DEFAULTS[kind]


def _refuse_unknown(kind: str, given: dict[str, Any], defaults: dict[str, Any]) -> None:
    if unknown := sorted(given.keys() - defaults.keys()):
        raise InvalidError(f"image step {kind!r} has no parameter {', '.join(unknown)}; it has {', '.join(defaults)}")


def _check_type(kind: str, name: str, value: Any, default: Any) -> None:
    expected = (int, float) if isinstance(default, int) and not isinstance(default, bool) else type(default)
    fits = isinstance(value, expected) and isinstance(value, bool) == isinstance(default, bool)
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if fits and isinstance(value, dict):
        fits = all(isinstance(item, str) for item in value.values())
    if not fits:
        raise InvalidError(f"image step {kind!r}: {name} must be like {default!r}, not {value!r}")


def _is_variable(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value


def _is_path(path: str) -> bool:
    return path.startswith("/") and "\0" not in path


def _hash(parts: list[Any]) -> str:
    import hashlib  # which loads OpenSSL: programs that only describe images do without

    text = json.dumps([FORMAT, *parts], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
