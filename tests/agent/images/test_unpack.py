"""Tars of users are unpacked without letting them write, point or grow anywhere else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inrush.agent.images.unpack import unpack
from inrush.errors import InvalidError


def tar(*members: tuple[str, bytes, dict[str, object]], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as out:
        for name, data, attributes in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in attributes.items():
                setattr(member, key, value)
            out.addfile(member, io.BytesIO(data) if data else None)
    return stream.getvalue()


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[str, bytes, dict[str, object]]:
    return (name, b"", {"type": kind, "linkname": to})


def file(name: str, data: bytes = b"x", **attributes: object) -> tuple[str, bytes, dict[str, object]]:
    return (name, data, attributes)


def unpacked(root: Path, data: bytes, **limits: int) -> list[str]:
    into = root / "into"
    into.mkdir()
    unpack(io.BytesIO(data), into, name="the archive", **limits)
    return sorted(str(path.relative_to(into)) for path in into.rglob("*") if not path.is_dir())


def outside(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if "into" not in p.relative_to(root).parts[:1])


def test_files_directories_and_links_inside_are_unpacked(tmp_path: Path) -> None:
    data = tar(
        file("root/a.txt", b"hello"),
        link("root/soft", "a.txt"),
        link("root/deep/up", "../a.txt"),
        link("root/hard", "root/a.txt", tarfile.LNKTYPE),
        ("root/empty", b"", {"type": tarfile.DIRTYPE}),
    )
    assert unpacked(tmp_path, data) == ["root/a.txt", "root/deep/up", "root/hard", "root/soft"]
    assert (tmp_path / "into/root/deep/up").read_text() == "hello"
    assert (tmp_path / "into/root/empty").is_dir()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars_are_taken_too(tmp_path: Path, mode: str) -> None:
    assert unpacked(tmp_path, tar(file("a"), mode=mode)) == ["a"]


@pytest.mark.parametrize(
    "members",
    [
        [file("../evil")],
        [file("/evil")],
        [file("a/../../evil")],
        [link("a", "/etc")],
        [link("a", "../..")],
        [link("d/a", "../../x")],
        [link("d", "."), link("d/x", "..")],
        [link("a", "../etc/passwd", tarfile.LNKTYPE)],
        [link("a", "/etc/passwd", tarfile.LNKTYPE)],
        [link("a", "missing", tarfile.LNKTYPE)],
        [link("l", "d"), file("l/evil")],
        [link("l", "d"), link("x", "l", tarfile.LNKTYPE)],
        [file("d/x"), link("e", "d"), link("h", "e/x", tarfile.LNKTYPE)],
        [file("a"), file("a/b")],
        [file("a/b"), file("a")],
        [("dev", b"", {"type": tarfile.CHRTYPE})],
        [("dev", b"", {"type": tarfile.BLKTYPE})],
        [("pipe", b"", {"type": tarfile.FIFOTYPE})],
        [file("x" * 300)],
    ],
)
def test_hostile_tars_are_refused_and_write_nothing_outside(
    tmp_path: Path, members: Sequence[tuple[str, bytes, dict[str, object]]]
) -> None:
    with pytest.raises(InvalidError, match="the archive"):
        unpacked(tmp_path, tar(*members))
    assert outside(tmp_path) == []


def test_set_id_bits_owners_and_open_modes_are_dropped(tmp_path: Path) -> None:
    unpacked(tmp_path, tar(file("suid", mode=0o6777, uid=1234, gid=1234), file("plain", mode=0o666)))
    suid, plain = (tmp_path / "into/suid").stat(), (tmp_path / "into/plain").stat()
    assert (stat.S_IMODE(suid.st_mode), suid.st_uid) == (0o755, os.geteuid())
    assert stat.S_IMODE(plain.st_mode) == 0o644


def test_names_below_merged_directories_lead_to_usr(tmp_path: Path) -> None:
    data = tar(file("bin/tool"), file("lib/x86/lib.so"), file("var/run/pid"), file("binary/x"), file("tmp/t"))
    assert unpacked(tmp_path, data) == ["binary/x", "run/pid", "tmp/t", "usr/bin/tool", "usr/lib/x86/lib.so"]
    assert stat.S_IMODE((tmp_path / "into/tmp").stat().st_mode) == 0o1777


def test_a_later_member_of_the_same_name_replaces_the_earlier_and_not_what_it_links_to(tmp_path: Path) -> None:
    data = tar(file("a", b"target"), link("b", "a"), file("b", b"new"))
    assert unpacked(tmp_path, data) == ["a", "b"]
    assert (tmp_path / "into/a").read_bytes() == b"target"
    assert (tmp_path / "into/b").read_bytes() == b"new"


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="more than 3 files"):
        unpacked(tmp_path, tar(*(file(f"f{n}") for n in range(4))), max_members=3)


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    data = gzip.compress(tar(file("zeros", bytes(5_000_000))))
    assert len(data) < 10_000
    with pytest.raises(InvalidError, match="more than 1000000 bytes"):
        unpacked(tmp_path, data, max_bytes=1_000_000)
    assert not (tmp_path / "into/zeros").exists()


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30 - 1
    with pytest.raises(InvalidError, match="not a readable tar"):
        unpacked(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))


@pytest.mark.parametrize("data", [b"", b"no tar at all", b"\x1f\x8b\x08broken", tar(file("a", bytes(9000)))[:5000]])
def test_what_is_no_whole_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidError, match="the archive"):
        unpacked(tmp_path, data)


good = tar(file("root/a", b"1" * 700), link("root/l", "a"), link("root/h", "root/a", tarfile.LNKTYPE), file("b"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(good)))
def test_damaged_tars_are_unpacked_inside_or_refused_in_our_own_words(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    damaged = bytearray(good)
    for at, value in changes:
        damaged[at] = value
    said = "nothing about the archive"
    try:
        unpacked(root, bytes(damaged[:length] if length > 512 else damaged))
    except InvalidError as error:
        said = str(error)
    assert "the archive" in said
    assert outside(root) == []


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_is_decompressed_a_part_at_a_time(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    size = 24 << 20
    data = compress(tar(file("zeros", bytes(size))))
    (tmp_path / "layer").mkdir()
    tracemalloc.start()
    try:
        unpack(io.BytesIO(data), tmp_path / "layer", name="it")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "layer" / "zeros").stat().st_size == size
    assert peak < size  # the dictionary of xz takes 8 MiB
