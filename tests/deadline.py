"""How long a test waits for an event: longer than a busy machine takes, so that only an event that never comes fails
it."""

from __future__ import annotations

DEADLINE_S = 60.0
