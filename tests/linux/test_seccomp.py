"""The seccomp filter, run by a small BPF interpreter for both machines: its answer to each system call."""

from __future__ import annotations

import struct

import pytest

from inrush.linux import seccomp

ALLOW, KILL, EPERM, ENOSYS, NOFAMILY = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061
EOPNOTSUPP = 0x5005F
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
READ = {"x86_64": 0, "aarch64": 63}
MOUNT = {"x86_64": 165, "aarch64": 40}
FALLOCATE = {"x86_64": 285, "aarch64": 47}
CHROOT = {"x86_64": 161, "aarch64": 51}
PTRACE = {"x86_64": 101, "aarch64": 117}
UNSHARE = {"x86_64": 272, "aarch64": 97}
SETNS = {"x86_64": 308, "aarch64": 268}
IOCTL = {"x86_64": 16, "aarch64": 29}
SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
machines = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def answer(code: bytes, arch: int, number: int, first: int = 0, second: int = 0, third: int = 0) -> int:
    """What the filter returns for a call with these arguments."""
    data = struct.pack("<iIQ6Q", number, arch, 0, first, second, third, 0, 0, 0)
    at, value = 0, 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("HBBI", code, at * 8)
        at += 1
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:
            value &= operand
        elif operation == 0x05:
            at += operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[operation]
            at += if_true if holds else if_false


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch, machine: str) -> bytes:
    monkeypatch.setattr(seccomp, "MACHINE", machine)
    return seccomp.program()


@machines
def test_ordinary_calls_pass_and_dangerous_ones_do_not(code: bytes, machine: str) -> None:
    assert answer(code, ARCH[machine], READ[machine]) == ALLOW
    for numbers in (MOUNT, CHROOT, PTRACE, UNSHARE):
        assert answer(code, ARCH[machine], numbers[machine]) == EPERM
    for number in (425, 428, 429, 432, 442):
        assert answer(code, ARCH[machine], number) == EPERM


@machines
def test_only_clones_into_new_namespaces_are_refused(code: bytes, machine: str) -> None:
    assert answer(code, ARCH[machine], CLONE[machine], 17) == ALLOW
    assert answer(code, ARCH[machine], CLONE[machine], 0x3D0F00) == ALLOW  # what a thread is made with
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(code, ARCH[machine], CLONE[machine], flag | 17) == EPERM
    assert answer(code, ARCH[machine], 435) == ENOSYS


@machines
def test_only_sockets_that_no_namespace_confines_are_refused(code: bytes, machine: str) -> None:
    for family in (1, 2, 10, 16):
        assert answer(code, ARCH[machine], SOCKET[machine], family) == ALLOW
    for family in (38, 40):
        assert answer(code, ARCH[machine], SOCKET[machine], family) == NOFAMILY


@machines
def test_calls_by_another_machines_numbers_kill(code: bytes, machine: str) -> None:
    other = next(arch for name, arch in ARCH.items() if name != machine)
    assert answer(code, other, READ[machine]) == KILL
    if machine == "x86_64":
        assert answer(code, ARCH[machine], 0x40000000 | READ[machine]) == EPERM


@machines
def test_a_build_may_change_its_root_directory_and_not_allocate_what_it_does_not_write(
    monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(seccomp, "MACHINE", machine)
    code = seccomp.program(build=True)
    assert answer(code, ARCH[machine], CHROOT[machine]) == ALLOW
    assert answer(code, ARCH[machine], MOUNT[machine]) == EPERM
    assert answer(code, ARCH[machine], FALLOCATE[machine]) == EOPNOTSUPP
    assert answer(seccomp.program(), ARCH[machine], FALLOCATE[machine]) == ALLOW


@machines
def test_a_template_may_join_all_namespaces_at_once_and_set_nothing_of_a_network(
    monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(seccomp, "MACHINE", machine)
    code, plain = seccomp.program(template=True), seccomp.program()
    assert answer(code, ARCH[machine], SETNS[machine], 5, 0x7E020000) == ALLOW
    assert answer(plain, ARCH[machine], SETNS[machine], 5, 0x7E020000) == EPERM
    for flags in (0, 0x20000, 0x10000000, 0x40000000, 0x6E020000):
        assert answer(code, ARCH[machine], SETNS[machine], 5, flags) == EPERM
    for numbers in (PTRACE, CHROOT, MOUNT, UNSHARE):
        assert answer(code, ARCH[machine], numbers[machine]) == EPERM
    for number in (425, 428, 438, 442):
        assert answer(code, ARCH[machine], number) == EPERM
    for request in (0x890B, 0x8914, 0x8916, 0x8924, 0x8955, 0x89F1):
        assert answer(code, ARCH[machine], IOCTL[machine], 3, request) == EPERM
        assert answer(plain, ARCH[machine], IOCTL[machine], 3, request) == ALLOW
    for request in (0x5401, 0x541B, 0x8912, 0x8913, 0x8927):
        assert answer(code, ARCH[machine], IOCTL[machine], 3, request) == ALLOW
    for level, option in ((1, 36), (0, 64), (41, 64), (0, 19)):
        assert answer(code, ARCH[machine], SETSOCKOPT[machine], 3, level, option) == EPERM
    for level, option in ((1, 2), (6, 1), (0, 1), (41, 26), (41, 67)):
        assert answer(code, ARCH[machine], SETSOCKOPT[machine], 3, level, option) == ALLOW


@machines
def test_nobody_is_told_who_owns_a_namespace(code: bytes, machine: str) -> None:
    for request in (0xB701, 0xB702, 0xB704, 0xFF01, 0xFF09):
        assert answer(code, ARCH[machine], IOCTL[machine], 3, request) == EPERM


def test_a_machine_whose_numbers_are_not_known_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "MACHINE", "riscv64")
    assert seccomp.program() == b""


@machines
def test_sockets_do_not_linger(code: bytes, machine: str) -> None:
    number = {"x86_64": 54, "aarch64": 208}[machine]
    assert answer(code, ARCH[machine], number, 3, 1, 13) == 0x50000, "it succeeds, and nothing is done"
    for level, option in ((1, 2), (1, 8), (6, 13), (0, 13)):
        assert answer(code, ARCH[machine], number, 3, level, option) == ALLOW
