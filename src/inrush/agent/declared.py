"""What of this machine containers and builds may be shown, as is said once, before the launcher starts.

The launcher takes no other source for a bind, and no other device, whatever its agent orders later.
"""

from __future__ import annotations

import sys

from inrush.agent.devices import cdi
from inrush.agent.images import apt, host, node, packages, runtime
from inrush.launcher.places import Declared


def declared() -> Declared:
    """The sources and devices of this machine."""
    devices, drivers = cdi.declared()
    settings = [bind.src for bind in (*packages.inherit().binds, *apt.inherit().binds)]
    own = [*runtime.sources(), node.uv(), sys.base_prefix]
    sources = ["/usr", *host.SHARED_ETC, *own, *settings, *drivers]
    return Declared(tuple(dict.fromkeys(sources)), tuple(devices))
