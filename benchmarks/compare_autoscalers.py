"""Writes the measured part of docs/autoscaling-compared.md anew: every policy on every trace, in virtual time.

python benchmarks/compare_autoscalers.py [SEED …]       with other seeds it is printed only; of several, a line each
"""

from __future__ import annotations

import sys
from pathlib import Path

from inrush.sim.compare import DISTANCE, SEED, Row, beaten, compare, computing, computing_page, dominated, page
from inrush.sim.traces import COMPUTING, TRACES

PAGE = Path(__file__).parents[1] / "docs" / "autoscaling-compared.md"
MARK = "<!-- measured: written by `make compare` -->\n"


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [SEED]
    if len(seeds) > 1:
        for seed in seeds:
            print(seed, _counts(compare(TRACES, seed)), flush=True)
        return
    measured = f"{page(compare(TRACES, seeds[0]))}\n{computing_page(computing(COMPUTING, seeds[0]))}"
    print(measured)
    if seeds == [SEED]:
        PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + "\n" + measured)


def _counts(rows: list[Row]) -> str:
    won = ", ".join(f"{name} {count}" for name, count in beaten(rows).items())
    near = sum(row.distance <= DISTANCE for row in rows if row.dense)
    return f"{won}; dominated by {'; '.join(dominated(rows)) or 'none'}; {near} dense traces near the oracle"


if __name__ == "__main__":
    main()
