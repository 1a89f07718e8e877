"""The seccomp filter under which containers run: a list of refused system calls, as a BPF program.

The filter refuses calls that only administrators need, that have a history of vulnerabilities, or that are useless in a
container: mounting, namespaces, modules, tracing, keys, io_uring, bpf, clocks. `clone3` fails with ENOSYS, so that libc
uses `clone`, whose flags the filter can read: a clone into new namespaces is refused. Sockets are of the families that
programs use: asking for another one would have the kernel load a module for it, and some belong to no namespace. Of
netlink only what tells of links, sockets and devices is allowed. Setting SO_LINGER succeeds without effect: closing the
last descriptor of a TCP socket waits for as long as it says, also in a process to which the descriptor was passed.

A template may also join all namespaces of a berth at once, by the pidfd of the berth's door. Its user owns the user
namespace that owns the berth's network, which gives it rights over a socket that a berth passes to it. Its filter
therefore refuses socket calls that configure a network.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping

from inrush.linux.calls import MACHINE, syscall
from inrush.linux.namespaces import ALL

# Numbers on x86-64 and on aarch64; None where the machine has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "statmount": (457, 457), "listmount": (458, 458),
    "setns": (308, 268), "unshare": (272, 97), "sethostname": (170, 161), "setdomainname": (171, 162),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "vhangup": (153, 58), "syslog": (103, 116), "personality": (135, 92),
    "init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "lookup_dcookie": (212, 18),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "nfsservctl": (180, 42),
    "iopl": (172, None), "ioperm": (173, None), "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None),
    "modify_ldt": (154, None), "_sysctl": (156, None), "create_module": (174, None), "query_module": (178, None),
    "get_kernel_syms": (177, None),
}  # fmt: skip

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
_SETNS = {"x86_64": 308, "aarch64": 268}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
_FALLOCATE = {"x86_64": 285, "aarch64": 47}
_CLONE3 = 435
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE, _NETLINK_SOCK_DIAG, _NETLINK_KOBJECT_UEVENT = 0, 4, 15
_SOL_SOCKET, _SO_LINGER = 1, 13

_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
_FAR = 255
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EPROTONOSUPPORT, _EOPNOTSUPP, _EAFNOSUPPORT = 1, 38, 93, 95, 97
_FIRST_ARGUMENT = 16  # offset in struct seccomp_data; both machines are little-endian
_SECOND_ARGUMENT, _THIRD_ARGUMENT = 24, 32

_NAMESPACE_IOCTLS = (0xB7, 0xFF)
"""Types of ioctls that return the owner of a namespace, or the namespaces of a process."""
_SOCKET_IOCTLS = 0x89
_SOCKET_READS = (
    *(0x8901, 0x8902, 0x8903, 0x8904, 0x8905, 0x8906, 0x8907),
    *(0x8910, 0x8912, 0x8913, 0x8915, 0x8917, 0x8919, 0x891B, 0x891D, 0x8921, 0x8927, 0x8933, 0x8942),
)
"""Ioctls of `linux/sockios.h` that only read, or change nothing but the socket."""
_ETHTOOL = 0x8946
_REFUSED_OPTIONS = {1: (32, 33, 36), 41: (64, 65, 75), 0: (19, *range(64, 70), 96, 97)}
"""Socket options that a template may not set, by level: forced buffer sizes and packet marks; tables of packet filters,
and sending from any address."""

_OF_BUILDS = ("chroot",)
"""Calls that builds may make. They may not allocate blocks that they do not write, as on a file system that cannot: one
call could take all of the disk that they share with the server."""

_Instruction = tuple[int, int, int, int]
_PASS: list[_Instruction] = [(_RETURN, 0, 0, _ALLOW)]


def program(build: bool = False, template: bool = False) -> bytes:
    """The filter as a BPF program, for an ordinary container, a `build` or a `template`. It is empty on a machine whose
    call numbers are not known.

    It is a binary search. When a filter is loaded, the kernel runs it once for every call number; with a linear list
    that would take half a millisecond of each start.
    """
    if MACHINE not in _ARCH:
        return b""
    column = MACHINE == "aarch64"
    answers: dict[int, list[_Instruction]] = {}
    for name, pair in _REFUSED.items():
        number = pair[column]
        if number is not None and not (build and name in _OF_BUILDS):
            answers[number] = [(_RETURN, 0, 0, _ERRNO | _EPERM)]
    if build:
        answers[_FALLOCATE[MACHINE]] = [_fail(_EOPNOTSUPP)]
    answers[_CLONE3] = [(_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    answers[_CLONE[MACHINE]] = _without_flags(_NEW_NAMESPACES)
    answers[_IOCTL[MACHINE]] = _ioctls(template)
    if template:
        answers[_SETNS[MACHINE]] = [
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_JUMP_EQUAL, 1, 0, ALL),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            *_PASS,
        ]
    for numbers in (_SOCKET, _SOCKETPAIR):
        answers[numbers[MACHINE]] = _sockets()
    answers[_SETSOCKOPT[MACHINE]] = _socket_options(_REFUSED_OPTIONS if template else {})
    if MACHINE == "x86_64":  # the x32 numbers reach the same calls
        answers[_X32] = [(_RETURN, 0, 0, _ERRNO | _EPERM)]
    code: list[_Instruction] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, _ARCH[MACHINE]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        *_search(_ranges(answers)),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _sockets() -> list[_Instruction]:
    """Allows the families that programs use, and of netlink what tells of links, sockets and devices."""
    unknown = _only((_NETLINK_ROUTE, _NETLINK_SOCK_DIAG, _NETLINK_KOBJECT_UEVENT), _EPROTONOSUPPORT)
    netlink = [(_LOAD, 0, 0, _THIRD_ARGUMENT), *unknown]
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 0, len(netlink), _AF_NETLINK),
        *netlink,
        *_only((_AF_UNIX, _AF_INET, _AF_INET6), _EAFNOSUPPORT),
    ]


def _only(values: tuple[int, ...], error: int) -> list[_Instruction]:
    """Passes if the loaded value is one of these, and fails with `error` otherwise."""
    last = len(values) - 1
    return [*((_JUMP_EQUAL, last - at, at == last, value) for at, value in enumerate(values)), *_PASS, _fail(error)]


def _fail(error: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _ioctls(template: bool) -> list[_Instruction]:
    """Refuses ioctls that return namespaces; for a `template` also those that set a link, a route or a neighbour."""
    refuse: list[_Instruction] = [(_RETURN, 0, 0, _ERRNO | _EPERM)]
    kinds = [(_LOAD, 0, 0, _SECOND_ARGUMENT), (_AND, 0, 0, 0xFF00)]
    for kind in _NAMESPACE_IOCTLS:
        kinds += [(_JUMP_EQUAL, 0, 1, kind << 8), *refuse]
    if not template:
        return [*kinds, *_PASS]
    reads = [each for number in _SOCKET_READS for each in ((_JUMP_EQUAL, 0, 1, number), *_PASS)]
    links = [(_JUMP_EQUAL, 0, 1, _ETHTOOL), (_RETURN, 0, 0, _ERRNO | _EOPNOTSUPP)]
    return [
        *kinds,
        (_JUMP_EQUAL, 1, 0, _SOCKET_IOCTLS << 8),
        *_PASS,
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        *reads,
        *links,
        *refuse,
    ]


def _socket_options(refused: Mapping[int, tuple[int, ...]]) -> list[_Instruction]:
    """Refuses the options in `refused`, by level, and makes setting SO_LINGER succeed without effect."""
    code: list[_Instruction] = []
    for level in sorted({_SOL_SOCKET, *refused}):
        answers = dict.fromkeys(refused.get(level, ()), _EPERM)
        if level == _SOL_SOCKET:
            answers[_SO_LINGER] = 0  # no error
        each = [one for name, error in answers.items() for one in _answer_if(name, error)]
        body = [(_LOAD, 0, 0, _THIRD_ARGUMENT), *each, *_PASS]
        code += [(_LOAD, 0, 0, _SECOND_ARGUMENT), (_JUMP_EQUAL, 0, len(body), level), *body]
    return [*code, *_PASS]


def _answer_if(value: int, error: int) -> list[_Instruction]:
    return [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | error)]


def _without_flags(flags: int) -> list[_Instruction]:
    """Refuses a call whose first argument has any of `flags`."""
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_SET, 0, 1, flags), (_RETURN, 0, 0, _ERRNO | _EPERM), *_PASS]


def _ranges(answers: dict[int, list[_Instruction]]) -> list[tuple[int, list[_Instruction]]]:
    """Ranges of call numbers, each as its first number and the instructions for it; the last has no upper end."""
    found: list[tuple[int, list[_Instruction]]] = [(0, _PASS)]
    for number, answer in sorted(answers.items(), key=lambda item: item[0]):
        if found[-1][0] == number:
            found.pop()
        if not found or found[-1][1] != answer:
            found.append((number, answer))
        if number != _X32:
            found.append((number + 1, _PASS))
    return found


def _search(ranges: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    if len(below) <= _FAR:
        return [(_JUMP_GREATER, len(below), 0, ranges[middle][0]), *below, *above]
    return [(_JUMP_GREATER, 0, 1, ranges[middle][0]), (_JUMP, 0, 0, len(below)), *below, *above]


def load(code: bytes) -> None:
    """Puts this process under the filter, for good. `no_new_privileges` must have been called before."""
    buffer = ctypes.create_string_buffer(code, len(code))
    syscall("seccomp", 1, 0, struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
