"""Attributes of the calling process: its end with its parent, who may inspect it, its title, its descriptors, its huge
pages."""

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
    """Has the kernel send `signum` when the parent dies. A change of credentials resets that, so call it afterwards."""
    prctl(_PDEATHSIG, signum)


def adopt_orphans() -> None:
    """Makes descendants whose parent has died children of this process."""
    prctl(_SUBREAPER, 1)


def end_children() -> None:
    """Kills all children and waits for them. A child may make another child of this process just before it is killed
    (`namespaces.fork_sibling`), so the list of children is read again after each end."""
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
    """Forbids processes of the same user to ptrace this one, or to read its /proc/PID/mem."""
    prctl(_DUMPABLE, 0)


def show_memory() -> None:
    """Undoes `hide_memory`, as exec does: processes of the same user may inspect this one, and join its namespaces."""
    prctl(_DUMPABLE, 1)


def no_new_privileges() -> None:
    """Stops exec from giving privileges (set-user-id, file capabilities), for good."""
    prctl(_NO_NEW_PRIVS, 1)


def work_in(path: str) -> None:
    """Makes `path` the working directory. It is created if it does not exist, as `WORKDIR` does."""
    try:
        os.chdir(path)
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)
        os.chdir(path)


def set_title(title: str) -> None:
    """Sets what `ps` shows, in place of the command line, which contains paths and which every user can read."""
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
    """Closes every open descriptor from 3 on that is not in `keep`."""
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
    """The proportional set size of a process in MiB: its own memory, and its share of what it shares. Its resident set
    size if the kernel does not tell that, and 0 if it tells nothing."""
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
    """Moves private memory to huge pages, so that a fork copies fewer page tables. Returns the number of huge pages.

    Kernels before 6.1 refuse, and then forks are slower."""
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
