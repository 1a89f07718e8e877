"""The lock is whole: each package comes from the public index, with a hash for each of its files. What the platform
installs into images is what the lock names.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from inrush.agent.images.pins import pinned

ROOT = Path(__file__).parent.parent
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
THIRD_PARTY = [package for package in LOCK["package"] if package["name"] != PROJECT["project"]["name"]]


def test_every_package_comes_from_the_public_index() -> None:
    assert {package["source"]["registry"] for package in THIRD_PARTY} == {"https://pypi.org/simple"}


def test_every_file_has_a_sha256_and_a_public_address() -> None:
    for package in THIRD_PARTY:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]), file
            assert file["url"].startswith("https://files.pythonhosted.org/"), file


def test_every_dependency_of_the_project_is_locked() -> None:
    project = PROJECT["project"]
    groups = [*project["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    wanted = [
        *project["dependencies"],
        *(line for group in groups for line in group),
        *PROJECT["build-system"]["requires"],
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", line).group().lower() for line in wanted}  # type: ignore[union-attr]
    assert names <= {package["name"] for package in THIRD_PARTY}


def test_what_goes_into_images_is_pinned_as_the_lock_has_it() -> None:
    done = subprocess.run([sys.executable, "scripts/write-pins", "--check"], cwd=ROOT)
    assert done.returncode == 0, "run: .venv/bin/python scripts/write-pins"


def test_each_pin_has_a_version_and_hashes() -> None:
    lines = pinned("cloudpickle", "msgspec", "pip").splitlines()
    assert [line.partition("==")[0] for line in lines] == ["cloudpickle", "msgspec", "pip"]
    for line in lines:
        assert re.fullmatch(r"[a-z]+==[0-9.]+( --hash=sha256:[0-9a-f]{64})+", line), line
