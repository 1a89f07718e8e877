"""A rehearsal leaves no thread and no descriptor behind, since the launcher refuses a process with two threads."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import os
from inrush.guest.rehearsal import rehearse
def left():
    return sorted(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task")
before = left()
for _ in range(500):
    rehearse()
    assert left() == before
"""


def test_a_rehearsal_leaves_no_thread_and_no_descriptor() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _PROGRAM], env=env, check=True)
