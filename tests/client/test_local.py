"""The local server is started once, when it is needed, and an error explains why it could not start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from inrush import errors
from inrush.client import _link, _local
from inrush.client._dual import block

CALL = """
    import inrush
    app = inrush.App("local")
    @app.function()
    def f(x):
        return x + 1
    if __name__ == "__main__":
        with app.run():
            print(f.remote(1))
"""


@pytest.fixture
def program(home: Path) -> Iterator[Path]:
    """A program, with a home where no server runs yet; what it started is ended."""
    path = home / "program.py"
    path.write_text(textwrap.dedent(CALL))
    yield path
    end_server(home)


def end_server(home: Path) -> None:
    described = home / "run" / "server.json"
    if described.exists():
        env = {**os.environ, "INRUSH_HOME": str(home)}
        subprocess.run([sys.executable, "-m", "inrush", "server", "stop", "-y"], env=env, check=True, timeout=120)


def begin(program: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "INRUSH_HOME": str(program.parent)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(program)], env=env, stdout=pipe, stderr=pipe, text=True)


def test_two_programs_at_once_start_one_server_and_share_it(program: Path) -> None:
    both = [begin(program), begin(program)]
    for process in both:
        out, err = process.communicate(timeout=240)
        assert out == "2\n", err
    log = (program.parent / "server.log").read_text()
    assert log.count("serves at") == 1, log
    pid = json.loads((program.parent / "run" / "server.json").read_text())["pid"]
    again = begin(program)
    assert again.communicate(timeout=240)[0] == "2\n"
    assert json.loads((program.parent / "run" / "server.json").read_text())["pid"] == pid


def test_a_server_that_does_not_come_up_is_told_with_the_end_of_its_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_HOME", str(home))
    monkeypatch.setenv("INRUSH_DATABASE_URL", "nonsense://nowhere")
    with pytest.raises(errors.ConnectionError, match=r"(?s)ended with status \d+.*The end of .*server\.log"):
        _local.connect()


def test_a_server_elsewhere_needs_a_token_and_an_address(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("INRUSH_HOME", str(home))
    monkeypatch.setenv("INRUSH_SERVER_URL", "http://127.0.0.1:9")
    with pytest.raises(errors.AuthError, match="INRUSH_TOKEN"):
        _local.connect()
    monkeypatch.setenv("INRUSH_TOKEN", "t")
    with pytest.raises(errors.ConnectionError, match="no inrush server answers"):
        _local.connect()
    monkeypatch.setenv("INRUSH_SERVER_URL", "127.0.0.1:9")
    with pytest.raises(errors.ConnectionError, match="starts with http"):
        _local.connect()


def test_code_in_a_container_never_starts_a_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRUSH_IS_REMOTE", "1")
    with pytest.raises(errors.InvalidError, match="forked"):
        block(_link.current())
