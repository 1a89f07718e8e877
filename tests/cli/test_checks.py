"""What `inrush doctor` finds, by trying on this machine and from recorded settings of other machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inrush.cli import checks, trials

RECORDED = {
    "ubuntu 24.04": {
        "user/max_user_namespaces": "127013",
        "kernel/unprivileged_userns_clone": "1",
        "kernel/apparmor_restrict_unprivileged_userns": "1",
    },
    "debian 10": {"user/max_user_namespaces": "15625", "kernel/unprivileged_userns_clone": "0"},
    "switched off": {"user/max_user_namespaces": "0"},
    "in docker": {"user/max_user_namespaces": "15625"},
}


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The settings below /proc/sys of a machine, as they were recorded."""
    for name, value in RECORDED[request.param].items():
        path = tmp_path / "proc/sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("tree", "refusal", "found", "advice"),
    [
        ("ubuntu 24.04", "Permission denied", "AppArmor gives ordinary users' namespaces no rights", "userns,"),
        ("debian 10", "Operation not permitted", "unprivileged_userns_clone=0", "unprivileged_userns_clone=1"),
        ("switched off", "No space left on device", "switched off", "max_user_namespaces=10000"),
        ("in docker", "Operation not permitted", "Operation not permitted", "in a container"),
    ],
    indirect=["tree"],
)
def test_who_forbids_user_namespaces_is_named_with_what_to_do(
    tree: Path, refusal: str, found: str, advice: str
) -> None:
    check = checks.user_namespaces(refusal, False, tree)
    assert (check.verdict, found in check.found, advice in check.advice) == ("no", True, True), check


@pytest.mark.parametrize("tree", ["ubuntu 24.04"], indirect=True)
def test_what_works_is_believed_whatever_the_settings_say(tree: Path) -> None:
    assert checks.user_namespaces("", False, tree).verdict == "ok"


@pytest.mark.parametrize("tree", ["ubuntu 24.04"], indirect=True)
def test_the_profile_for_apparmor_names_this_python(tree: Path) -> None:
    advice = checks.user_namespaces("Permission denied", False, tree).advice
    assert f"profile inrush {os.path.realpath(sys.executable)} flags=(unconfined) {{ userns, }}" in advice


def test_a_trial_leaves_nothing_and_says_what_went_wrong() -> None:
    before = Path("/proc/self/mountinfo").read_text()

    def fails() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/nowhere")

    assert trials.tried(trials.overlay) == trials.tried(trials.user_namespace) == ""
    assert trials.tried(fails) == "No such file or directory: /nowhere"
    assert "signal 9" in trials.tried(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take it away")
def test_what_is_taken_away_is_missed() -> None:
    def without(*words: str) -> str:
        code = "from inrush.cli import trials; import sys; print(trials.tried(getattr(trials, sys.argv[1])))"
        done = subprocess.run([*words[:-1], sys.executable, "-c", code, words[-1]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    forbid = ["unshare", "-U", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    assert "No space left" in without(*forbid, "user_namespace")
    no_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    assert "not permitted" in without(*no_rights, "network")
    assert "not permitted" in without(*no_rights, "overlay")
