"""A rehearsal leaves nothing behind: what it was for is memory, which only benchmarks see."""

from __future__ import annotations

import os
import subprocess
import sys

from deadline import DEADLINE_S

_PROGRAM = """
import os, sys, time
from inrush.guest.rehearsal import rehearse
def left():
    return sorted(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task")
before = left()
rehearse()
deadline = time.monotonic() + float(sys.argv[1])
while left() != before:  # a thread that was joined may be on its way out for a moment
    assert time.monotonic() < deadline, (before, left())
"""


def test_a_rehearsal_leaves_no_thread_and_no_descriptor() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _PROGRAM, str(DEADLINE_S)], env=env, check=True)
