"""Points in time as people write them on a command line: `10m` (ago), `2h`, `3d`, `2026-05-01`, `2026-05-01T12:30`."""

from __future__ import annotations

import datetime
import re
import time

import click

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Moment(click.ParamType[float]):
    """Gives seconds since the epoch. A time of day without a zone is local."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads what was given; a usage error says how it is written."""
        text = str(value)
        ago = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text)
        if ago is not None:
            return time.time() - float(ago[1]) * UNITS_S[ago[2]]
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: write 30s, 10m, 2h or 3d (ago), or 2026-05-01T12:30", param, ctx)
