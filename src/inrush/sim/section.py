"""What all sections of a scenario have in common."""

from __future__ import annotations

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections of a scenario: read from TOML by name, and a key that is not known is an error."""
