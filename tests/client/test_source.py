"""Which of a program's files are sent to its containers."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from inrush.client._source import Place, pack_source, place


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a program, as Python has it on `sys.path`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in (getattr(m, "__file__", None) or "")]:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(where: Place) -> list[str]:
    blob = pack_source(where)
    assert blob is not None
    return tarfile.open(fileobj=io.BytesIO(blob.data)).getnames()


def test_the_file_and_the_local_modules_it_imports_go_along(project: Path) -> None:
    write(project, main="import a, json, numpy\nfrom pkg.sub import x\n", a="import b", b="", unused="")
    write(project, pkg__init="", pkg__sub="", pkg__deep__more="")
    (project / "pkg" / "init.py").rename(project / "pkg" / "__init__.py")
    (project / "pkg" / "notes.txt").write_text("not code")
    assert names(Place("main", project / "main.py")) == [
        "root/a.py",
        "root/b.py",
        "root/main.py",
        "root/pkg/__init__.py",
        "root/pkg/deep/more.py",
        "root/pkg/sub.py",
    ]


def test_imports_inside_functions_count(project: Path) -> None:
    write(project, main="def f():\n    import late\n", late="")
    assert names(Place("main", project / "main.py")) == ["root/late.py", "root/main.py"]


def test_a_cycle_of_imports_ends(project: Path) -> None:
    write(project, main="import other", other="import main")
    assert names(Place("main", project / "main.py")) == ["root/main.py", "root/other.py"]


def test_a_module_of_a_package_takes_its_package(project: Path) -> None:
    write(project, pkg__main="from pkg import helper", pkg__helper="")
    (project / "pkg" / "__init__.py").write_text("")
    where = Place("pkg.main", project / "pkg" / "main.py")
    assert names(where) == ["root/pkg/__init__.py", "root/pkg/helper.py", "root/pkg/main.py"]


def test_installed_packages_stay_behind(project: Path) -> None:
    write(project, main="import pytest, msgspec, inrush")
    assert names(Place("main", project / "main.py")) == ["root/main.py"]


def test_what_was_installed_into_a_folder_stays_behind(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path_factory.mktemp("target")
    write(target, big__part="")
    (target / "big-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(target))
    write(project, main="import big")
    assert names(Place("main", project / "main.py")) == ["root/main.py"]


def test_the_tar_is_the_same_every_time(project: Path) -> None:
    write(project, main="import a", a="")
    first = pack_source(Place("main", project / "main.py"))
    (project / "a.py").touch()
    assert first is not None
    assert first.id == pack_source(Place("main", project / "main.py")).id  # type: ignore[union-attr]


def test_code_of_an_installed_package_is_left_to_the_image() -> None:
    import msgspec

    assert pack_source(Place("msgspec", Path(msgspec.__file__))) is None


def test_code_without_a_file_has_no_place() -> None:
    made: dict[str, object] = {"__name__": "nowhere"}
    exec("def f(): ...", made)
    assert place(made["f"]) == Place("", None)  # type: ignore[arg-type]
