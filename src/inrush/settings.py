"""Every setting: one name in three places, of which the later wins.

`config.toml` under the home, then the environment (`INRUSH_` + the name in capitals), then the flag (`--` + the name
with dashes). `load` tells each value and where it came from; `inrush config` prints that.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from inrush import intact
from inrush.errors import InvalidError


class Setting(NamedTuple):
    """A setting: its name, its default, and what it means (for `inrush config` and the docs)."""

    name: str
    default: Any
    meaning: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "server_url",
        "",
        "Server to use, as http(s)://host:port; when empty, the local server, which is started when needed",
    ),
    Setting(
        "token", "", "Token for the server; when empty, the local server's own token, read from the home", secret=True
    ),
    Setting("environment", "", "Environment that programs and commands use; when empty, that of the token, else main"),
    Setting("gpus", "", 'GPUs that this node declares, such as "A10G:8,A100:8", or real cards by name, "A10G=0,1"'),
    Setting("cloud", "", "Cloud that this node is in, as functions ask for it by cloud="),
    Setting("region", "", "Region that this node is in, as functions ask for it by region="),
    Setting("labels", "", 'Labels of this node, such as "disk=nvme,zone=b"; functions ask for them by node_labels='),
    Setting("pool", "", "Declared pool that this node is one of, by its name in the server's file of pools"),
    Setting("pools", "", "File of the pools from which the server has nodes (TOML); relative to the home"),
    Setting(
        "node_price", 0.0, "Price of this node for an hour, in one unit for all nodes; cheaper nodes are used first"
    ),
    Setting(
        "cpu_overcommit",
        16.0,
        "All containers of a node together may ask for so many times its cpu",
    ),
    Setting("quotas", "", 'GPUs that apps may hold at once, such as "chat=A100:4,eval=ANY:16"'),
    Setting("reserve_disk_mib", 512, "A node with less free disk than this gets no containers and builds no images"),
    Setting("host", "127.0.0.1", "Address on which the server listens for HTTP"),
    Setting("port", 0, "Port for HTTP; 0 takes a free one and keeps it for later starts"),
    Setting(
        "blocked_addresses",
        "169.254.0.0/16,100.100.100.200,168.63.129.16,192.0.0.192,fe80::/10,fd00:ec2::254",
        "Addresses and networks that containers may not reach; by default link-local ones and clouds' metadata",
    ),
    Setting(
        "public_url",
        "",
        "URL at which users reach the server, such as https://inrush.example.org; URLs of endpoints begin with it; "
        "when empty, its own address",
    ),
    Setting(
        "apps_domain",
        "",
        "Name below which each endpoint has its own for browsers: apps.example.org, or https://apps.example.org behind "
        "a proxy; empty: localhost",
    ),
    Setting("allowed_hosts", "", "Further host names that the HTTP port answers to, such as gpu-box,api.example.org"),
    Setting(
        "trusted_proxies",
        "",
        "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, such as 127.0.0.1",
    ),
    Setting("max_connections", 4096, "Connections to the HTTP port at once, if descriptors suffice"),
    Setting("max_peer_connections", 512, "Connections of one client address at once; a proxy in front counts as one"),
    Setting("isolation", "container", 'How functions run: "container", or "process" (no isolation at all)'),
    Setting(
        "idle_exit_s",
        900,
        "Idle time after which a local server that runs in the background ends if nothing is deployed; 0 for never",
    ),
    Setting("max_payload_mib", 4096, "Largest argument or result"),
    Setting("reserve_memory_mib", 512, "Memory of the node that containers may not take"),
    Setting("reserve_processes", 4_096, "Processes and threads of the node that containers may not take"),
    Setting("snapshot_memory_mib", 4096, "Memory that snapshots may hold; the least recently used is evicted first"),
    Setting("snapshot_ttl_s", 3600, "A snapshot that is unused for this long is evicted"),
    Setting("zygote_ttl_s", 600, "A zygote that is unused for this long is evicted"),
    Setting("learn_imports", True, "Whether zygotes import ahead what containers of their app were seen to import"),
    Setting("layers_gib", 50, "Disk that image layers may take; the least recently used are evicted first"),
    Setting("blobs_gib", 20, "Disk that blobs may take"),
    Setting("environment_gib", 8, "Disk that the Dicts of one environment may take, and its spawned calls as much"),
    Setting("logs_mib", 64, "Disk that the logs of one app may take; the oldest lines are dropped first"),
    Setting("result_ttl_s", 604_800, "How long results of spawned calls are kept"),
    Setting("max_queued_inputs", 1_000_000, "Inputs that may wait at once in one function"),
    Setting("database_url", "", "SQLAlchemy URL of the database; when empty, SQLite in the home"),
    Setting("force_build", False, "Whether images are rebuilt, whatever is cached"),
    Setting("log_level", "INFO", "Level of the server's own log"),
)

BLOCKED_MAX = 1_000
"""Addresses and networks in `blocked_addresses`."""

_BY_NAME = {s.name: s for s in SETTINGS}


class Value(NamedTuple):
    """A setting's value and where it came from: `default`, the path of the file, the variable, or the flag."""

    value: Any
    source: str


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The state directory: `INRUSH_HOME`, else `~/.inrush`."""
    return Path(environ.get("INRUSH_HOME") or Path.home() / ".inrush").absolute()


def open_in_home(path: str, flags: int, environ: Mapping[str, str] = os.environ) -> int:
    """A descriptor of a file of the home (a relative path), made where `flags` say so and it is missing. No symbolic
    link is followed: of a server that root started, what is in the home belongs to a user without rights, who must not
    lead root's commands elsewhere. Raises `OSError`.
    """
    *folders, name = path.split("/")
    at = os.open(home(environ), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        return _opened(at, name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(at)


def read_in_home(path: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text of a file of the home, under the same care."""
    with open(open_in_home(path, os.O_RDONLY, environ), errors="replace") as file:
        return file.read()


def _opened(directory: int, name: str, flags: int) -> int:
    """What is there, or what is made: kernels refuse root to do both in one call where a directory is sticky."""
    for _ in range(3):  # another command may make or remove it in between
        try:
            fd = os.open(name, flags & ~os.O_CREAT, dir_fd=directory)
            break
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags | os.O_EXCL, 0o600, dir_fd=directory)
    else:
        raise FileNotFoundError(f"{name} in the home comes and goes")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{name} in the home is not a file")
    return fd


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, Value]:
    """All settings by name. Raises `InvalidError` for an unknown name in the file, or a value of the wrong type."""
    values = {s.name: Value(s.default, "default") for s in SETTINGS}
    path = home(environ) / "config.toml"
    for name, raw in _read(path).items():
        if name not in _BY_NAME:
            import difflib

            near = difflib.get_close_matches(name, _BY_NAME, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_BY_NAME)}"
            raise InvalidError(f"{path}: no setting is called {name!r}; {hint}")
        values[name] = Value(_convert(name, raw, str(path)), str(path))
    for name in values:
        variable = f"INRUSH_{name.upper()}"
        if environ.get(variable):
            values[name] = Value(_convert(name, environ[variable], variable), variable)
    for name, raw in (flags or {}).items():
        if raw is not None:
            flag = "--" + name.replace("_", "-")
            values[name] = Value(_convert(name, raw, flag), flag)
    return values


def networks(value: str, name: str = "blocked_addresses") -> list[str]:
    """The networks of a setting that lists addresses and networks. Raises `InvalidError` naming what is neither."""
    words = [word.strip() for word in value.split(",") if word.strip()]
    if len(words) > BLOCKED_MAX:
        raise InvalidError(f"{name} lists {len(words):,} addresses; the most are {BLOCKED_MAX:,}")
    found = []
    for word in words:
        try:
            found.append(str(ipaddress.ip_network(word, strict=False)))
        except ValueError:
            raise InvalidError(
                f"{name}: {word!r} is neither an IP address nor a network; write for example 192.0.2.7,198.51.100.0/24"
            ) from None
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            if owner and hasattr(os, "geteuid") and os.geteuid() == 0:
                raise InvalidError(f"{path} belongs to user {owner}: root takes no settings from others; chown it")
            data = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error}") from None
    remedy = "mend it: each line is NAME = VALUE, as TOML has it, such as port = 8765"
    return intact.checked(path, data, lambda data: tomllib.loads(data.decode()), remedy)


def _convert(name: str, raw: Any, where: str) -> Any:
    kind = type(_BY_NAME[name].default)
    try:
        if kind is bool:
            words = {"1": True, "true": True, "0": False, "false": False}
            return raw if isinstance(raw, bool) else words[str(raw).lower()]
        return kind(raw)
    except (ValueError, KeyError, TypeError):
        raise InvalidError(f"{where}: {name} must be of type {kind.__name__}, not {raw!r}") from None
