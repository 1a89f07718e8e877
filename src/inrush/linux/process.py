"""One process and itself: death with its parent, what others may see of it, what it has open, its huge pages."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from inrush.linux.calls import libc, prctl

_PDEATHSIG, _DUMPABLE, _NAME, _NO_NEW_PRIVS, _SUBREAPER = 1, 4, 15, 38, 36
_MADV_COLLAPSE = 25
_HUGE = 2 << 20


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Get `signum` when the parent dies. Forgotten by the kernel when credentials change: call it after."""
    prctl(_PDEATHSIG, signum)


def adopt_orphans() -> None:
    """Descendants whose parent has died become children of this process."""
    prctl(_SUBREAPER, 1)


def end_children() -> None:
    """Kill all children and wait for them. One that is killed may just have made another child of ours
    (`namespaces.fork_sibling`): so, after each that ends, all that are there now."""
    while True:
        with open("/proc/thread-self/children") as file:
            children = file.read().split()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def hide_memory() -> None:
    """No ptrace and no /proc/PID/mem for processes of the same user."""
    prctl(_DUMPABLE, 0)


def show_memory() -> None:
    """Undo `hide_memory`, as exec does: others of the same user may look at this process, and join its namespaces."""
    prctl(_DUMPABLE, 1)


def no_new_privileges() -> None:
    """exec never again gives privileges (set-user-id, file capabilities)."""
    prctl(_NO_NEW_PRIVS, 1)


def work_in(path: str) -> None:
    """Make `path` the working directory. Where an image has none of that name, it is made, as `WORKDIR` does."""
    try:
        os.chdir(path)
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)
        os.chdir(path)


def set_title(title: str) -> None:
    """What `ps` shows, in place of the command line, which others may read and which names paths."""
    name = ctypes.create_string_buffer(title.encode()[:15])
    prctl(_NAME, ctypes.addressof(name))
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    if 0 < start < end:
        raw = title.encode()[: end - start - 1]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, raw, len(raw))


def close_descriptors(keep: set[int]) -> None:
    """Close every open descriptor from 3 on that is not in `keep`."""
    low = 3
    for fd in sorted(k for k in keep if k >= 3):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max((int(n) for n in os.listdir("/proc/self/fd")), default=low) + 1)


def alive(pidfd: int) -> bool:
    """Whether the process behind a pidfd has not ended."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def proportional_mib(pid: int) -> float:
    """Memory of a process: its own, and its part of what it shares; all that is resident where the kernel does not tell
    more."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return int(next(line for line in file if line.startswith("Pss:")).split()[1]) / 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0


def collapse_memory() -> int:
    """Put private memory on huge pages, so that a fork copies fewer page tables; returns how many pages that gave.

    Kernels before 6.1 refuse, which costs speed only."""
    done = 0
    with open("/proc/self/maps") as maps:
        lines = maps.read().splitlines()
    for line in lines:
        fields = line.split()
        if fields[1].startswith("rw") and (len(fields) == 5 or fields[5] == "[heap]"):
            low, high = (int(x, 16) for x in fields[0].split("-"))
            low, high = (low + _HUGE - 1) // _HUGE * _HUGE, high // _HUGE * _HUGE
            for at in range(low, high, _HUGE):
                done += libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(_HUGE), _MADV_COLLAPSE) == 0
    return done
