"""Writes the measured part of docs/autoscaling-compared.md anew: every policy on every trace, in virtual time.

python benchmarks/compare_autoscalers.py [SEED]         with another seed it is printed only
"""

from __future__ import annotations

import sys
from pathlib import Path

from inrush.sim.compare import SEED, compare, page
from inrush.sim.traces import TRACES

PAGE = Path(__file__).parents[1] / "docs" / "autoscaling-compared.md"
MARK = "<!-- measured: written by `make compare` -->\n"


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    measured = page(compare(TRACES, seed))
    print(measured)
    if seed == SEED:
        PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + "\n" + measured)


if __name__ == "__main__":
    main()
