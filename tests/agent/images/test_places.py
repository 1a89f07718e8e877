"""Files that are added to an image are where its links say, and nowhere where nobody would see them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from inrush.agent.images.places import Places
from inrush.agent.images.unpack import unpack
from inrush.errors import InvalidError


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Two layers, top first."""
    top, bottom = tmp_path / "top", tmp_path / "bottom"
    for layer in (top, bottom):
        (layer / "opt").mkdir(parents=True)
    (bottom / "big").mkdir()
    (bottom / "opt" / "l").symlink_to("/big")
    (bottom / "opt" / "near").symlink_to("../big/./deeper")
    (bottom / "opt" / "two").symlink_to("l/x")
    (bottom / "opt" / "out").symlink_to("../../../../etc")
    (bottom / "opt" / "round").symlink_to("round")
    (bottom / "opt" / "shadow").symlink_to("/tmp/here")
    (bottom / "opt" / "gone").symlink_to("/big")
    (top / "opt" / "gone").mkdir()
    return [top, bottom]


def test_a_path_leads_where_a_container_would_find_it(layers: list[Path]) -> None:
    places = Places([str(layer) for layer in layers])
    wanted = {
        "opt/l": "big",
        "opt/l/u/v": "big/u/v",
        "opt/near": "big/deeper",
        "opt/two/y": "big/x/y",
        "opt/out": "etc",
        "opt/gone": "opt/gone",
        "new/folder": "new/folder",
    }
    assert {path: places.lead(path) for path in wanted} == wanted


@pytest.mark.parametrize("path", ["tmp", "tmp/x", "dev/shm/x", "proc/x", "opt/shadow", "usr/lib/x", "opt/round/x"])
def test_where_containers_have_something_else_nothing_is_added(layers: list[Path], path: str) -> None:
    with pytest.raises(InvalidError, match=r"nothing can be added|more than 40 links"):
        Places([str(layer) for layer in layers], ["/usr"]).lead(path)


def test_an_archive_is_unpacked_where_links_lead_and_links_in_it_stay(layers: list[Path], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, target in (("opt/l/u/a", ""), ("opt/l/u/b", "a"), ("opt/l/empty", "/")):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if target == "/" else tarfile.SYMTYPE if target else tarfile.REGTYPE
            info.linkname = target.strip("/")
            tar.addfile(info, io.BytesIO())
    places = Places([str(layer) for layer in layers])
    for into, lead in ((tmp_path / "plain", str), (tmp_path / "led", places.lead)):
        into.mkdir()
        buffer.seek(0)
        unpack(buffer, into, name="it", lead=lead)
    assert places.moved(tmp_path / "plain")
    assert not places.moved(tmp_path / "led")
    assert sorted(str(path.relative_to(tmp_path / "led")) for path in (tmp_path / "led").rglob("*")) == [
        "big",
        "big/empty",
        "big/u",
        "big/u/a",
        "big/u/b",
    ]
    assert (tmp_path / "led/big/u/b").readlink() == Path("a")
