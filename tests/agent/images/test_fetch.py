"""What the platform downloads ahead of a build by itself: names and versions from indexes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.images.imaging import pip, run, step
from inrush.agent.images.base import Base
from inrush.agent.images.fetch import MAX_REQUIREMENTS_BYTES, fetch

DEBIAN = Base(("l",), "/usr/bin/python3.11", "3.11", release="bookworm")
HOST = Base(("l",), "/opt/inrush/venv/bin/python3.11", "3.11")


@pytest.mark.parametrize(
    "requirement",
    [
        "six",
        "six==1.16.0",
        "uvicorn[standard] >= 0.30, < 1",
        "a.b-c_d~=2.0",
        "six (>=1.0)",
        "six; python_version > '3'",
    ],
)
def test_names_with_versions_are_fetched(requirement: str) -> None:
    found = fetch(pip(requirement), (), HOST, {})
    assert found is not None
    assert found.argv[-2:] == ("--", requirement)
    assert "--no-build" in found.argv[3]


@pytest.mark.parametrize(
    "requirement",
    [
        *("six @ https://example.com/six.whl", "https://example.com/six.whl", "git+https://example.com/six", "./six"),
        *("/opt/inrush/build/cache/six.whl", "-e .", "--target=/x", "six --config-settings=a=b", "six\n-e .", ""),
        *("six ; extra == 'a' @ file:///x", "six; os_name == 'a'\n--index-url https://i/", "six\n==1", "six\r"),
    ],
)
def test_whatever_else_a_step_names_is_left_to_its_build(requirement: str) -> None:
    assert fetch(pip("good", requirement), (), HOST, {}) is None


@pytest.mark.parametrize(
    "options", ["--trusted-host pypi.org", "-e .", "-c /c.txt", "--no-binary :all:", "--offline", "--find-links /x"]
)
def test_options_that_could_lead_elsewhere_leave_it_to_the_build(options: str) -> None:
    assert fetch(pip("six", extra_options=options), (), HOST, {}) is None


def test_indexes_are_taken_by_their_url_alone() -> None:
    found = fetch(pip("six", index_url="https://i/", extra_index_url=["https://e/"], pre=True), (), HOST, {})
    assert found is not None
    assert found.argv[5:] == (
        *("--python", HOST.python, "--index-url=https://i/", "--extra-index-url=https://e/", "--pre", "--", "six"),
    )
    for place in ("file:///opt/index", "/opt/wheels", "wheels"):
        assert fetch(pip("six", index_url=place), (), HOST, {}) is None
        assert fetch(pip("six", find_links=[place]), (), HOST, {}) is None


def test_requirements_files_are_read_line_by_line(tmp_path: Path) -> None:
    listed = tmp_path / "requirements.txt"
    wanted = step("pip", files=[("requirements.txt", "sha256-0")])
    listed.write_text("# ours\nsix==1.16.0 \\\n  --hash=sha256:ab --hash=sha256:cd\n\nidna  # names\n")
    found = fetch(wanted, (), HOST, {"requirements.txt": [listed]})
    assert found is not None
    assert found.argv[-2:] == ("six==1.16.0", "idna")
    for line in ("-r other.txt", "-e .", "--index-url https://i/", "x @ file:///x", "--no-binary six"):
        listed.write_text(f"six\n{line}\n")
        assert fetch(wanted, (), HOST, {"requirements.txt": [listed]}) is None
    listed.write_text("#" * (MAX_REQUIREMENTS_BYTES + 1))
    assert fetch(wanted, (), HOST, {"requirements.txt": [listed]}) is None


def test_versions_of_earlier_steps_are_kept_to() -> None:
    earlier = (pip("torch==2.4.0", "uvicorn[standard]", "x @ https://x/"), run("pip install other"))
    found = fetch(pip("torchvision"), earlier, HOST, {})
    assert found is not None
    assert found.env["EARLIER"] == "torch==2.4.0"


def test_packages_of_debian_are_fetched_by_name_where_there_is_a_debian() -> None:
    wanted = step("apt", packages=["libc6:amd64", "hello=2.10-3", "g++"])
    found = fetch(wanted, (), DEBIAN, {})
    assert found is not None
    assert "--download-only" in found.argv[3]
    assert fetch(wanted, (), HOST, {}) is None
    for name in ("./evil.deb", "-oDir::Bin::dpkg=/x", "hello;true", ""):
        assert fetch(step("apt", packages=["hello", name]), (), DEBIAN, {}) is None


def test_steps_that_run_what_users_wrote_fetch_nothing() -> None:
    assert fetch(run("pip install six"), (), DEBIAN, {}) is None
    assert fetch(step("function"), (), DEBIAN, {}) is None
