"""What a guest is told: its environment variables, and the `load` that says what to import and how to run it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inrush import wire
from inrush.agent.devices import cdi, gpus

LIB, DEPS = "/opt/inrush/lib", "/opt/inrush/deps"
"""Where in a container the `inrush` package is, and what it needs."""
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def container_env(
    order: wire.StartContainer, image_env: Mapping[str, str], cards: Sequence[wire.Gpu], devices: cdi.DeviceEdits
) -> dict[str, str]:
    """All variables of a container. What the user set wins over the image, and what inrush sets over both."""
    return {
        **BASE,
        **image_env,
        **dict(devices.env),
        **dict(order.env),
        **gpus.environment(cards, order.gpu_type, order.gpu_share),
        **_cluster_env(order),
        "INRUSH_IS_REMOTE": "1",
        "INRUSH_CONTAINER_ID": order.container,
        "INRUSH_APP": order.app,
        "INRUSH_ENVIRONMENT": wire.environment_name(order.environment),
        "INRUSH_FUNCTION": order.spec.name,
    }


def _cluster_env(order: wire.StartContainer) -> dict[str, str]:
    """Variables that tell a container of a cluster which one it is."""
    if not order.cluster:
        return {}
    size = str(order.spec.cluster_size)
    return {
        "INRUSH_CLUSTER_ID": order.cluster,
        "INRUSH_CLUSTER_RANK": str(order.rank),
        "INRUSH_CLUSTER_SIZE": size,
    }


def shell_env(env: Mapping[str, str], tty: bool) -> dict[str, str]:
    """Variables for a person's command beside the container's own: where `import inrush` leads, and the terminal."""
    path = ":".join(filter(None, (env.get("PYTHONPATH", ""), LIB, DEPS)))
    return {**env, "PYTHONPATH": path, **({"TERM": "xterm-256color"} if tty else {})}


def load_spec(order: wire.StartContainer | wire.Prepare) -> dict[str, Any]:
    """The `spec` of a `load` frame, without what differs between containers of one function."""
    spec = order.spec
    return {
        "module": spec.module,
        "qualname": spec.qualname,
        "pickled": bool(spec.pickled),
        "is_class": spec.is_class,
        "methods": spec.methods,
        "generators": spec.generators,
        "web": {name: {"kind": web.kind, "method": web.method, "docs": web.docs} for name, web in spec.web},
        "parameters": json.loads(order.parameters) if order.parameters else None,
        "max_inputs": spec.scale.max_inputs,
        "timeout_s": spec.timeout_s,
        "startup_timeout_s": spec.startup_timeout_s,
        "snapshot": spec.snapshot,
        "function": order.function,
        "app": order.app,
        "environment": wire.environment_name(order.environment),
        "restrict_access": spec.restrict_access,
    }


def load_of(order: wire.StartContainer, env: Mapping[str, str], max_payload_bytes: int) -> dict[str, Any]:
    """The `spec` of the `load` frame of one container."""
    own = {"container": order.container, "env": dict(env), "max_payload_bytes": max_payload_bytes}
    return {**load_spec(order), **own}
