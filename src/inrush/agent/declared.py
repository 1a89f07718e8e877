"""What of this machine containers and builds may be shown, as is said once, before the launcher starts.

The launcher takes no other source for a bind, and no other device, whatever its agent orders later.
"""

from __future__ import annotations

import sys

from inrush.agent.devices import cdi
from inrush.agent.images import host, node, runtime
from inrush.agent.images.inherited import Inherited
from inrush.launcher.places import Declared


def declared(inherited: Inherited) -> Declared:
    """The sources and devices of this machine."""
    devices, drivers = cdi.declared()
    own = [*runtime.sources(), node.uv(), sys.base_prefix]
    sources = ["/usr", *host.SHARED_ETC, *own, *inherited.sources(), *drivers]
    return Declared(tuple(dict.fromkeys(sources)), tuple(devices))


def needed() -> list[str]:
    """What the server's own process needs of this machine beside its interpreter, wherever it is."""
    return [sys.exec_prefix, sys.base_exec_prefix, node.uv(), *runtime.sources()]
