"""The commands that manage a server, against a real one."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inrush.cli import api
from inrush.errors import NotFoundError

from .conftest import run_in
from .terminals import asked


def test_with_no_server_the_verbs_say_so_and_what_would_start_one(tmp_path):
    for verb in (("app", "list"), ("container", "list"), ("server", "status"), ("why", "f")):
        done = run_in(tmp_path, *verb)
        assert done.returncode == 1
        assert "`inrush server` starts one" in done.stderr
        assert "Traceback" not in done.stderr


def test_help_is_not_cut_off():
    for group in ("app", "config", "container", "function", "secret", "dict", "environment", "token", "server"):
        done = subprocess.run([sys.executable, "-m", "inrush", group, "--help"], capture_output=True, text=True)
        assert "..." not in done.stdout.partition("Commands:")[2], done.stdout


def test_a_secret_is_created_in_a_server_that_is_started_for_it_and_its_value_is_never_shown(inrush):
    assert inrush("secret", "create", "keys", "API=swordfish", "OTHER=-", input="from stdin\n").returncode == 0
    shown = inrush("secret", "list")
    assert "keys" in shown.stdout
    assert "API, OTHER" in shown.stdout
    assert "swordfish" not in shown.stdout + inrush("secret", "list", "--json").stdout
    again = inrush("secret", "create", "keys", "API=2")
    assert (again.returncode, "--force" in again.stderr) == (1, True)
    assert inrush("secret", "create", "keys", "API=2", "--force").returncode == 0
    assert inrush("secret", "delete", "keys").returncode == 0
    missing = inrush("secret", "delete", "keys")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no secret 'keys'" in missing.stderr


def test_a_secret_may_come_from_a_dotenv_file(inrush, tmp_path):
    file = tmp_path / ".env"
    file.write_text("# keys\nexport A=1\nB='two words'\n")
    assert "with A, B, C" in inrush("secret", "create", "file", "C=3", "--from-dotenv", str(file)).stdout


def test_the_server_tells_what_it_is(inrush, server_home):
    inrush("secret", "list")
    told = json.loads(inrush("server", "status", "--json").stdout)
    assert told["nodes"] == 1
    assert told["url"] in inrush("server", "status").stdout
    assert json.loads((server_home / "run" / "server.json").read_text())["pid"] == told["pid"]
    assert "serves at" in inrush("server", "logs").stdout


def test_a_wrong_token_is_refused(inrush):
    inrush("secret", "list")
    done = inrush("app", "list", env={"INRUSH_TOKEN": "wrong"})
    assert done.returncode == 1
    assert "does not take the token from INRUSH_TOKEN" in done.stderr


def test_a_server_url_that_is_none_is_refused_with_where_it_comes_from(inrush):
    done = inrush("app", "list", env={"INRUSH_SERVER_URL": "banana"})
    assert done.returncode == 1
    assert "server_url is 'banana' (from INRUSH_SERVER_URL); it starts with http://" in done.stderr


def test_lists_are_json_for_machines(inrush):
    inrush("secret", "list")
    for verb in ("app", "container", "dict"):
        assert json.loads(inrush(verb, "list", "--json").stdout) == []


def test_the_doctor_finds_what_a_container_needs(inrush):
    checks = {check["name"]: check for check in json.loads(inrush("doctor", "--json").stdout)}
    assert checks["system"]["verdict"] == "ok"
    assert "pidfd" in checks["launcher"]["found"]
    assert "2 × A10G (declared)" in checks["gpus"]["found"]
    assert all(check["advice"] for check in checks.values() if check["verdict"] == "no")


def test_the_doctor_tells_what_the_launcher_does_without_and_why(inrush):
    done = inrush("doctor", "--json", env={"INRUSH_WITHOUT": "idmap"})
    launcher = next(check for check in json.loads(done.stdout) if check["name"] == "launcher")
    assert launcher["verdict"] == "less"
    assert "idmap: switched off by INRUSH_WITHOUT" in launcher["found"]


def test_a_second_server_for_one_home_is_refused(inrush):
    inrush("secret", "list")
    done = inrush("server")
    assert done.returncode == 1
    assert "already runs" in done.stderr


def test_a_server_in_the_foreground_ends_with_its_signal_and_takes_its_files_along(tmp_path_factory):
    home = tmp_path_factory.mktemp("h")
    env = {**os.environ, "INRUSH_HOME": str(home)}
    server = subprocess.Popen([sys.executable, "-m", "inrush", "server"], env=env, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (home / "run" / "server.json").exists():
            assert server.poll() is None, server.stderr.read()
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(home / "run" / "server.sock"))
        assert run_in(home, "server", "status").returncode == 0
    finally:
        server.terminate()
        _, said = server.communicate(timeout=90)
    assert server.returncode == 0, said
    assert not (home / "run" / "server.json").exists()


def test_stopping_a_server_waits_for_its_end(inrush, server_home):
    inrush("secret", "list")
    pid = json.loads((server_home / "run" / "server.json").read_text())["pid"]
    assert inrush("server", "stop").stdout == "stopped\n"
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    again = inrush("server", "stop")
    assert again.returncode == 0
    assert "nothing to stop" in again.stdout


def test_a_refusal_by_a_server_of_another_minor_version_says_what_to_install_where(server, monkeypatch):
    monkeypatch.setenv("INRUSH_HOME", str(server.home))
    with pytest.raises(NotFoundError) as known:
        api.get("/apps/none")
    assert "pip install" not in str(known.value)
    monkeypatch.setattr(api, "__version__", "99.0.0")
    with pytest.raises(NotFoundError, match=r"pip install 'inrush==0\.1\.\*'.* inrush 99\.0\.0 installed where"):
        api.get("/apps/none")


def test_a_server_on_which_apps_run_is_stopped_after_a_question(own_server, tmp_path):
    own_server.start()
    program = tmp_path / "kept.py"
    program.write_text("import inrush\napp = inrush.App('kept')\n@app.function()\ndef f():\n    return 7\n")
    assert own_server.inrush("deploy", str(program)).returncode == 0
    reading, writing = os.pipe()  # an input that never ends, as that of a job has it
    kept = run_in(own_server.home, "server", "stop", stdin=reading)
    assert (kept.returncode, kept.stdout) == (1, "")
    assert "is in use: apps 1, " in kept.stderr
    assert "-y says yes" in kept.stderr
    os.close(reading)
    os.close(writing)
    assert asked(own_server, b"n\n", "server", "stop")[0] == 1
    assert run_in(own_server.home, "server", "status").returncode == 0
    assert asked(own_server, b"y\n", "server", "stop")[0] == 0
    assert run_in(own_server.home, "server", "status").returncode == 1


def test_the_unit_that_is_printed_can_be_enabled_and_runs_this_home(tmp_path):
    home = tmp_path / "a home 100%"
    text = run_in(home, "server", "unit").stdout
    parsed = configparser.RawConfigParser()
    parsed.optionxform = str
    parsed.read_string(text)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    service = dict(parsed["Service"])
    assert service["ExecStart"] == f"{sys.executable} -m inrush server"
    assert service["Environment"] == f'"INRUSH_HOME={home}"'.replace("%", "%%")
    assert (service["Delegate"], service["OOMPolicy"], service["KillMode"]) == ("yes", "continue", "mixed")
    assert parsed["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd's own reader of units")
def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    path = tmp_path / "inrush.service"
    path.write_text(run_in(tmp_path / "a home 100%", "server", "unit").stdout)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, path.name in done.stdout + done.stderr) == (0, False), done.stderr


def test_a_setting_of_the_server_that_comes_too_late_is_told(inrush, tmp_path):
    program = tmp_path / "late_flag.py"
    program.write_text("import inrush\napp = inrush.App('late')\n@app.function()\ndef f():\n    return 7\n")
    inrush("secret", "list")
    done = inrush("run", "--gpus", "T4:1", str(program))
    assert (done.returncode, done.stdout) == (0, "7\n")
    assert "--gpus changes nothing: a server runs already" in done.stderr
    assert "server stop" not in done.stderr
    assert "warning" not in inrush("run", "--max-payload-mib", "9", str(program)).stderr
