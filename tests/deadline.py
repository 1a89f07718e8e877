"""How long a test waits for what must come: longer than a busy machine takes, so that only what never comes fails."""

from __future__ import annotations

DEADLINE_S = 60.0
