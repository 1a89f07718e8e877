"""Tars of sources and layers: whatever a user sends is unpacked inside its directory and its limits, or refused."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush.agent.images.unpack import unpack
from inrush.client import _tar
from inrush.errors import InvalidError, ResourceExhaustedError

from .fuzzing import mutated, tried

MAX_BYTES, MAX_MEMBERS = 64 * 1024, 40

parts = st.sampled_from(
    ["a", "b", "root", "..", ".", "", "tmp", "bin", "lib64", "var/run", "é", "x" * 120, "a\0b", "~"]
)
names = st.lists(parts, min_size=1, max_size=4).map("/".join) | st.sampled_from(["/etc/passwd", "//a", "/", "a/"])
kinds = st.sampled_from(
    [tarfile.REGTYPE] * 4
    + [tarfile.DIRTYPE] * 2
    + [tarfile.SYMTYPE] * 3
    + [tarfile.LNKTYPE] * 3
    + [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z"]
)
headers = st.dictionaries(
    st.sampled_from(
        ["path", "linkpath", "size", "uid", "mtime", "GNU.sparse.size", "GNU.sparse.map", "comment", "mode"]
    ),
    st.sampled_from(["../out", "/out", "-1", "1e9", str(2**62), "0,1", "9" * 5000, "nan", "\udcff", "a"]),
    max_size=2,
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Members as no honest program writes them, in any of tar's formats."""
    stream = io.BytesIO()
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
    with tarfile.open(fileobj=stream, mode="w", format=form, errors="surrogateescape") as out:
        for _ in range(draw(st.integers(1, 8))):
            member = tarfile.TarInfo(draw(names))
            member.type, member.linkname = draw(kinds), draw(names)
            member.mode = draw(st.sampled_from([0o644, 0o4755, 0o2777, 0o1777, 0, 0o777]))
            member.uid, member.gid = draw(st.sampled_from([0, 1000, 2**21])), 0
            data = draw(st.sampled_from([b"", b"x", b"y" * 700]))
            member.size = len(data) if member.type in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
            if form == tarfile.PAX_FORMAT:
                member.pax_headers = draw(headers)
            try:
                out.addfile(member, io.BytesIO(data))
            except (ValueError, UnicodeError, OverflowError, struct.error, tarfile.TarError):
                continue  # this format has no place for it
    return stream.getvalue()


@contextmanager
def folders() -> Iterator[tuple[Path, Path]]:
    """A directory to unpack into, and a sibling that must stay as it is."""
    with tempfile.TemporaryDirectory(prefix="ir-") as root:
        into, beside = Path(root, "into"), Path(root, "beside")
        into.mkdir()
        beside.mkdir()
        (beside / "file").write_bytes(b"mine")
        yield into, beside


def look(root: Path, into: Path) -> None:
    """Nothing is outside, and nothing inside is more than a directory, a file, or a link that stays inside."""
    assert sorted(os.listdir(root)) == ["beside", "into"]
    assert os.listdir(root / "beside") == ["file"]
    assert (root / "beside" / "file").read_bytes() == b"mine"
    assert (root / "beside" / "file").stat().st_nlink == 1
    size = 0
    for folder, directories, files in os.walk(into):
        for name in (*directories, *files):
            path = Path(folder, name)
            found = path.lstat()
            assert stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
            assert found.st_uid == os.getuid()
            if path.is_symlink():
                target = os.path.normpath(os.path.join(os.path.relpath(folder, into), os.readlink(path)))
                assert not target.startswith(("..", "/")), f"{path} leads to {os.readlink(path)}"
                continue
            sticky = stat.S_ISVTX if stat.S_ISDIR(found.st_mode) else 0
            assert not stat.S_IMODE(found.st_mode) & ~(0o777 | sticky), f"{path} has {found.st_mode:o}"
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    assert size <= MAX_BYTES * 4, "each name of a file counts what it holds"


@tried(150)
@given(st.data())
def test_any_tar_is_unpacked_inside_or_refused_in_our_own_words(data: st.DataObject) -> None:
    archive = data.draw(archives())
    if data.draw(st.booleans()):
        archive = data.draw(mutated(archive))
    if data.draw(st.booleans()):
        archive = gzip.compress(archive)
        if data.draw(st.booleans()):
            archive = data.draw(mutated(archive))
    with folders() as (into, _):
        said = "nothing about the archive"
        try:
            unpack(io.BytesIO(archive), into, name="the archive", max_bytes=MAX_BYTES, max_members=MAX_MEMBERS)
        except (InvalidError, ResourceExhaustedError) as error:
            said = str(error)
        assert "the archive" in said
        look(into.parent, into)


@tried(60)
@given(st.dictionaries(st.text("abc/é", min_size=1, max_size=9), st.binary(max_size=30), max_size=6), st.randoms())
def test_what_a_client_packs_is_the_same_each_time_and_unpacks_to_what_it_was(
    files: dict[str, bytes], random: Any
) -> None:
    with tempfile.TemporaryDirectory(prefix="ir-") as root:
        local = Path(root, "local")
        local.mkdir()
        for name, data in files.items():
            path = local / name.strip("/")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            except OSError:
                continue  # a file and a directory at once
        found = _tar.tree(local, "/root", lambda path: False)
        packed = _tar.pack(found)
        random.shuffle(found)
        assert _tar.pack(found).id == packed.id
        into = Path(root, "into")
        into.mkdir()
        unpack(io.BytesIO(packed.data), into, name="the source")
        for path in (p for p in local.rglob("*") if p.is_file()):
            assert (into / "root" / path.relative_to(local)).read_bytes() == path.read_bytes()
        assert len([p for p in into.rglob("*") if p.is_file()]) == len([p for _, p in found if p.is_file()])


def sparse(real: int) -> bytes:
    """A GNU sparse file, which says that it is this large and holds nothing."""
    member = tarfile.TarInfo("big")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:398] = header[398:410] = b"00000000000\0"
    header[483:495] = b"%011o\0" % real if real < 8**11 else b"\x80" + real.to_bytes(11, "big")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


@pytest.mark.parametrize("real", [MAX_BYTES + 1, 2**33, 2**62])
def test_a_sparse_file_counts_as_large_as_it_says(real: int) -> None:
    with folders() as (into, _):
        with pytest.raises(InvalidError):
            unpack(io.BytesIO(sparse(real)), into, name="the archive", max_bytes=MAX_BYTES)
        look(into.parent, into)


def test_many_compressed_zeros_are_refused_before_they_are_written() -> None:
    member = tarfile.TarInfo("zeros")
    member.size = 1 << 30
    head = gzip.compress(member.tobuf())
    with folders() as (into, _):
        with pytest.raises(InvalidError):
            unpack(io.BytesIO(head), into, name="the archive", max_bytes=MAX_BYTES)
        assert os.listdir(into) == []
