"""What the launcher is asked for: templates of a function, with keys that change whenever what they have seen changes.

A snapshot's key is the digest of all that its process has seen: app, layers (by their names, which are digests; the
guest's code is one of them), parameters, environment and secrets, and kernel. So an ephemeral run or an unchanged
redeploy finds the snapshot of the one before.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import replace
from typing import Any

from inrush import wire
from inrush.agent.containers.environment import BASE, load_spec
from inrush.agent.containers.grounds import Ground
from inrush.launcher.specs import Limits, TemplateSpec

IMPORT_LIMIT_S = 180.0
"""How long a zygote may import ahead."""

Order = wire.StartContainer | wire.Prepare


def zygote(order: Order, ground: Ground, uid_base: int) -> TemplateSpec:
    """The template of an interpreter in the app's image, with the guest imported."""
    return TemplateSpec(
        key="zy-" + _digest(order.app_key, ground.layers, ground.env, platform.release()),
        root=ground.template_root(with_source=False),
        uid_base=uid_base,
        python=ground.python,
        sys_path=ground.sys_path,
        sys_path_end=ground.sys_path_end,
        env=ground.env,
    )


def learned(bare: TemplateSpec, env: dict[str, str], imports: tuple[str, ...]) -> TemplateSpec:
    """The template of a zygote that imports these modules too, with the variables that they read meanwhile."""
    env = {**BASE, **bare.env, **env, "INRUSH_IS_REMOTE": "1"}
    return replace(
        bare, key="zl-" + _digest(bare.key, env, imports), env=env, boot={"imports": imports}, timeout_s=IMPORT_LIMIT_S
    )


def imports(template: TemplateSpec) -> tuple[str, ...]:
    """The modules that a zygote imports ahead."""
    return tuple((template.boot or {}).get("imports", ()))


def snapshot(order: Order, ground: Ground, uid_base: int) -> TemplateSpec:
    """The template of a snapshot: the module is imported, and `@enter(snap=True)` hooks have run."""
    own = {"INRUSH_IS_REMOTE": "1", "INRUSH_APP": order.app, "INRUSH_ENVIRONMENT": order.environment}
    env = {**ground.env, **dict(order.env), **own}
    boot = {"spec": {**load_spec(order), "function": "", "env": dict(order.env)}}
    return TemplateSpec(
        key="sn-" + _digest(order.app_key, ground.layers, ground.above, boot, env, platform.release()),
        root=ground.template_root(with_source=True),
        uid_base=uid_base,
        python=ground.python,
        sys_path=ground.sys_path,
        sys_path_end=ground.sys_path_end,
        env=env,
        boot=boot,
        cwd=ground.workdir,
        limits=limits(order.spec.resources),
        network=network(order.spec),
        timeout_s=order.spec.startup_timeout_s,
    )


def kind(template: TemplateSpec) -> str:
    return "snapshot" if "spec" in (template.boot or {}) else "zygote"


def lacks_parameters(order: Order) -> bool:
    """Whether a class's parameters are not bound yet, so that its hooks cannot run."""
    return not order.parameters and any(parameter.required for parameter in order.spec.parameters)


def limits(resources: wire.Resources) -> Limits:
    """The limits of a function's resources that the launcher enforces."""
    return Limits(cpu=resources.cpu_limit, cpu_request=resources.cpu, memory_mib=resources.memory_limit_mib)


def network(spec: wire.FunctionSpec) -> str:
    return "none" if spec.block_network else "nat"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
