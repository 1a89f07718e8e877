"""All policies on all traces, and the table of what came out. `make compare` writes it to `docs/autoscaling-compared.md`.

A policy *beats* another on a trace with a lower p99 of the queue delay at no more GPU-seconds; it *dominates* it with
a lower p99 and fewer GPU-seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from inrush.core.tuning import TUNING, Tuning
from inrush.sim.rivals.arena import Outcome
from inrush.sim.rivals.beta9 import Beta9
from inrush.sim.rivals.crowd import Crowd, Rival
from inrush.sim.rivals.fixed import WarmCrowd
from inrush.sim.rivals.keda import Keda
from inrush.sim.rivals.knative import Knative
from inrush.sim.rivals.ours import Ours
from inrush.sim.rivals.ray_serve import RayServe
from inrush.sim.rivals.runpod import QueueDelay, RequestCount
from inrush.sim.traces import Trace

RIVALS: tuple[Rival, ...] = (Knative, RayServe, Keda, QueueDelay, RequestCount, Beta9)
