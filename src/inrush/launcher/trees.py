"""Work on whole directory trees that only root can do, each in a forked worker: owners shifted, trees moved and
removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from inrush.launcher import beneath
from inrush.launcher.overlay import ETC_FILES
from inrush.launcher.specs import UID_RANGE

_CAPABILITY = "security.capability"
_ORIGINS = ("trusted.overlay.origin", "user.overlay.origin")


def normalise(upper: str, base_uid: int, layer: str) -> None:
    """Turn a build's upper directory into a layer: owners from 0, nothing of the machine it was built on, moved to
    `layer`.
    """
    with contextlib.suppress(OSError), beneath.opened(upper, ["etc"]) as (_, etc):
        beneath.remove(etc, ETC_FILES)
    beneath.prune(upper, "etc")
    for path, info in _walk(upper):
        _shift_owner(path, info, -base_uid)
        for name in _ORIGINS:
            with contextlib.suppress(OSError):
                os.removexattr(path, name, follow_symlinks=False)
    shutil.rmtree(upper + ".work", ignore_errors=True)
    Path(layer).parent.mkdir(parents=True, exist_ok=True)
    os.rename(upper, layer)


def shift(layer: str, base_uid: int, copy: Path) -> None:
    """A copy of a layer with owners from `base_uid`, whole or not there at all."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f"{copy.name}.{os.getpid()}")
    _copy_tree(layer, str(partial))
    for path, info in _walk(str(partial)):
        _shift_owner(path, info, base_uid)
    try:
        os.rename(partial, copy)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not copy.exists():
            raise


def remove(path: str) -> None:
    """Remove a tree or a file; none there is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def forget_mount_points(upper: str, paths: list[str]) -> None:
    """Take out of an upper directory what was made only to mount on: empty directories and files at these paths of
    the container.
    """
    for path in paths:
        beneath.prune(upper, path)


def _walk(top: str) -> Iterator[tuple[str, os.stat_result]]:
    yield top, os.lstat(top)
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                yield entry.path, info
                if stat.S_ISDIR(info.st_mode):
                    pending.append(entry.path)


def _shift_owner(path: str, info: os.stat_result, by: int) -> None:
    """chown takes set-id bits and file capabilities away; they are put back."""
    low = -by if by < 0 else 0
    uid, gid = (i + by if low <= i < low + UID_RANGE else i for i in (info.st_uid, info.st_gid))
    if (uid, gid) == (info.st_uid, info.st_gid):
        return
    capability = None
    if stat.S_ISREG(info.st_mode):
        with contextlib.suppress(OSError):
            capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(path, uid, gid, follow_symlinks=False)
    if info.st_mode & 0o6000 and not stat.S_ISLNK(info.st_mode):
        os.chmod(path, stat.S_IMODE(info.st_mode))
    if capability:
        os.setxattr(path, _CAPABILITY, _capability_for(capability, max(by, 0)), follow_symlinks=False)


def _capability_for(raw: bytes, root: int) -> bytes:
    """A file capability of revision 2 (for the host's root), or 3 (for another user namespace's)."""
    magic = struct.unpack_from("<I", raw)[0] & 0x00FFFFFF
    revision = 0x03000000 if root else 0x02000000
    body = struct.pack("<I", revision | magic & 1) + raw[4:20]
    return body + struct.pack("<I", root) if root else body


def _copy_tree(source: str, target: str) -> None:
    """cp, since it keeps hard links, whiteouts and attributes, and shares blocks where the file system can."""
    status = subprocess.run(["cp", "-a", "--reflink=auto", source, target]).returncode
    if status:
        shutil.rmtree(target, ignore_errors=True)
        raise OSError(f"cp of {source} to {target} ended with status {status}; is the disk full?")
