"""A backup that is made beside a running server is the state of another home, and nothing less than a backup is."""

from __future__ import annotations

import io
import os
import shutil
import site
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import inrush
from inrush.server import backup
from running_server import RunningServer, left_on_machine

PROGRAM = """
    import sys, time
    import inrush
    app = inrush.App("kept", image=inrush.Image.host())

    @app.function(secrets=[inrush.Secret.from_name("mine")])
    def told(x):
        import os
        return os.environ["WORD"] * x

    @app.function()
    def late(x):
        while not inrush.Dict.from_name("d").get("go"):
            time.sleep(0.05)
        return len(x)

    if __name__ == "__main__":
        if sys.argv[1] == "before":
            app.deploy()
            done = told.spawn(500_000)
            assert len(done.get()) == 2_000_000
            inrush.Dict.from_name("d", create_if_missing=True)["k"] = {"v": 1}
            waiting = late.spawn(b"x" * 3_000_000)
            print(done.object_id, waiting.object_id)
        else:
            done, waiting = map(inrush.FunctionCall.from_id, sys.argv[2:])
            inrush.Dict.from_name("d")["go"] = True
            print(len(done.get(timeout=60)), waiting.get(timeout=60), inrush.Dict.from_name("d")["k"]["v"],
                  inrush.Function.from_name("kept", "told").remote(2))
"""


@pytest.fixture
def other_server() -> Iterator[RunningServer]:
    """A server that is not started, of another home."""
    home = Path(tempfile.mkdtemp(prefix="ir-"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INRUSH_")}
    running = RunningServer(home, {**environ, "INRUSH_HOME": str(home)})
    yield running
    if running.pid:
        running.stop()
    assert left_on_machine(home) == []
    shutil.rmtree(home, ignore_errors=True)


def python(server: RunningServer, path: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(path), *words], env=server.env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr + server.log()
    return done.stdout


@pytest.mark.slow
def test_what_was_backed_up_beside_a_running_server_works_in_another_home(
    own_server: RunningServer, other_server: RunningServer, tmp_path: Path
) -> None:
    own_server.start()
    (own_server.home / "config.toml").write_text("logs_mib = 7\n")
    assert own_server.inrush("secret", "create", "mine", "WORD=abcd").returncode == 0
    program = own_server.write(PROGRAM)
    calls = python(own_server, program, "before").split()
    for blob in (own_server.home / "blobs").iterdir():
        os.utime(blob, (1.0, 1.0))  # an app that was deployed long ago still holds its source
    file = tmp_path / "b.tar"
    made = own_server.inrush("backup", str(file))
    assert made.returncode == 0, made.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list((own_server.home / "run").glob("backup/*"))
    own_server.stop()
    restored = other_server.inrush("restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert (other_server.home / "config.toml").read_text() == "logs_mib = 7\n"
    assert (other_server.home / "token").read_text() == (own_server.home / "token").read_text()
    other_server.start()
    assert python(other_server, program, "after", *calls).split() == ["2000000", "3000000", "1", "abcdabcd"]
    again = other_server.inrush("restore", str(file))
    assert again.returncode != 0
    assert "has a server's state already" in again.stderr


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A backup of a home with a secret, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ib-"))
    server = RunningServer(folder / "home", {**os.environ, "INRUSH_HOME": str(folder / "home")})
    assert server.inrush("secret", "create", "mine", "A=1").returncode == 0
    assert server.inrush("backup", str(folder / "b.tar")).returncode == 0
    server.inrush("server", "stop", "-y")
    yield folder / "b.tar"
    shutil.rmtree(folder)


def entries(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {}
        for entry in tar:
            content = tar.extractfile(entry)
            assert content is not None
            found[entry.name] = content.read()
        return found


def write(path: Path, content: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def refused(file: Path, home: Path) -> str:
    """What restoring says that fails and leaves no state."""
    server = RunningServer(home, {**os.environ, "INRUSH_HOME": str(home)})
    done = server.inrush("restore", str(file))
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    left = {path.name for path in home.rglob("*")}
    assert not left & {"store.db", "key", "token", "blobs", "config.toml", "restore"}, left
    return done.stderr


def test_a_truncated_backup_changes_nothing(made: Path, tmp_path: Path, home: Path) -> None:
    whole = made.read_bytes()
    cut = tmp_path / "cut.tar"
    for size in (0, 700, 512 * 6 + 10, len(whole) // 2, whole.rindex(b"end.json")):
        cut.write_bytes(whole[:size])
        assert "no whole backup" in refused(cut, home), size


def test_only_what_a_backup_has_is_written(made: Path, tmp_path: Path, home: Path) -> None:
    good = entries(made)
    about, rest = good.pop("about.json"), good
    for name in ("../evil", "/evil", "blobs/../evil", "server.log", "blobs/a/b"):
        crafted = write(tmp_path / "x.tar", {"about.json": about, name: b"x", **rest})
        assert "no whole backup" in refused(crafted, home), name
        assert not list(home.parent.glob("evil"))
    damaged = {**rest, "store.db": rest["store.db"][:4096] + b"\0" * 8192}
    assert "damaged" in refused(write(tmp_path / "x.tar", {"about.json": about, **damaged}), home)


def test_a_backup_of_a_later_version_names_that_version(made: Path, tmp_path: Path, home: Path) -> None:
    good = entries(made)
    good["about.json"] = b'{"format": 1, "version": "9.1.0", "made": 1.0}'
    assert "install inrush 9.1.0" in refused(write(tmp_path / "x.tar", good), home)


def test_a_home_without_state_has_no_backup_and_no_file_is_overwritten(made: Path, home: Path, tmp_path: Path) -> None:
    empty = RunningServer(home, {**os.environ, "INRUSH_HOME": str(home)})
    done = empty.inrush("backup", str(tmp_path / "b.tar"))
    assert (done.returncode != 0, "no server has run there" in done.stderr) == (True, True)
    assert not list(tmp_path.iterdir())
    elsewhere = {**os.environ, "INRUSH_HOME": str(made.parent / "home"), "INRUSH_SERVER_URL": "http://box:1"}
    done = RunningServer(home, elsewhere).inrush("backup", str(tmp_path / "b.tar"))
    assert (done.returncode, "on that machine" in done.stderr) == (2, True)
    before = made.read_bytes()
    server = RunningServer(made.parent / "home", {**os.environ, "INRUSH_HOME": str(made.parent / "home")})
    assert "exists; name a new file" in server.inrush("backup", str(made)).stderr
    assert made.read_bytes() == before


def test_the_copy_of_the_database_is_one_committed_state_in_one_file(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(entries(made)["store.db"])
    with sqlite3.connect(path) as rows:
        assert rows.execute("SELECT name FROM secrets").fetchall() == [("mine",)]
        assert rows.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_backup_has_the_audit_log_and_blobs_of_another_file_system(tmp_path: Path) -> None:
    homes = [tmp_path / "old", tmp_path / "new"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        for home in homes:
            (home / "run").mkdir(parents=True)
            (Path(elsewhere) / home.name / "lost+found").mkdir(parents=True)
            (home / "blobs").symlink_to(Path(elsewhere) / home.name)
        old, new = homes
        state = {"token": b"t", "key": b"k", "audit.log": b"new\n", "audit.log.1": b"old\n", "blobs/bl-1": b"b" * 99}
        for name, content in state.items():
            (old / name).write_bytes(content)
        sqlite3.connect(old / "store.db").close()
        with (tmp_path / "b.tar").open("wb") as file:
            assert backup.write(old, "", None, "0.1.0", file).blobs == 1
        assert sorted(os.listdir(old / "blobs")) == ["bl-1", "lost+found"]
        with (tmp_path / "b.tar").open("rb") as file:
            backup.restore(new, None, "0.1.0", file)
        assert {name: (new / name).read_bytes() for name in state} == state


def test_an_ordinary_user_restores_and_backs_up(made: Path, home: Path) -> None:
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if os.geteuid() != 0 or not os.access(python, os.X_OK):
        pytest.skip(f"needs root to become another user, and {python}, which others may execute")
    shutil.copy(made, home / "b.tar")
    for path in (home, home / "b.tar"):
        os.chown(path, 65534, 65534)
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "INRUSH_HOME": str(home / "h"),
        "PYTHONPATH": ":".join(map(str, [Path(inrush.__file__).parent.parent, *site.getsitepackages()])),
    }
    for words in (("restore", "b.tar"), ("backup", "c.tar")):
        command = [python, "-m", "inrush", *words]
        done = subprocess.run(
            command, env=environ, cwd=home, user=65534, group=65534, extra_groups=[], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert entries(home / "c.tar")["key"] == entries(made)["key"]
    assert (home / "c.tar").stat().st_uid == (home / "h" / "key").stat().st_uid == 65534
