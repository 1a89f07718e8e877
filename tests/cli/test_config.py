"""A setting has one name in three places, and `inrush config` says which of them won."""

from __future__ import annotations

import json
import os
from unittest import mock

import pytest
from click.testing import CliRunner

from inrush import settings
from inrush.cli.verbs import root


@pytest.fixture(autouse=True)
def environment():
    """The command puts its flags into this process's environment: it is as it was after each test."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def home(tmp_path, monkeypatch):
    for setting in settings.SETTINGS:
        monkeypatch.delenv(f"INRUSH_{setting.name.upper()}", raising=False)
    monkeypatch.setenv("INRUSH_HOME", str(tmp_path))
    return tmp_path


def config(*args: str) -> dict[str, dict[str, object]]:
    done = CliRunner().invoke(root, ["config", "--json", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {row["setting"]: row for row in json.loads(done.output)["settings"]}


def test_every_setting_is_shown_with_its_default(home):
    rows = config()
    assert {name: (row["value"], row["from"]) for name, row in rows.items()} == {
        s.name: (s.default, "default") for s in settings.SETTINGS
    }


def test_the_file_gives_way_to_the_environment_and_that_to_the_flag(home, monkeypatch):
    (home / "config.toml").write_text('gpus = "T4:1"\nport = 1\nlog_level = "DEBUG"\n')
    monkeypatch.setenv("INRUSH_PORT", "2")
    monkeypatch.setenv("INRUSH_GPUS", "L4:1")
    rows = config("--gpus", "A10G:8")
    assert (rows["gpus"]["value"], rows["gpus"]["from"]) == ("A10G:8", "--gpus")
    assert (rows["port"]["value"], rows["port"]["from"]) == (2, "INRUSH_PORT")
    assert (rows["log_level"]["value"], rows["log_level"]["from"]) == ("DEBUG", str(home / "config.toml"))


def test_a_flag_reaches_what_the_command_starts(home, monkeypatch):
    monkeypatch.setenv("INRUSH_GPUS", "L4:1")
    config("--gpus", "A10G:8", "--force-build")
    assert settings.load()["gpus"].value == "A10G:8"
    assert settings.load()["force_build"].value is True


def test_a_token_is_not_shown(home):
    assert config("--token", "swordfish")["token"]["value"] == "***"


def test_an_unknown_name_in_the_file_is_an_error_that_names_the_file(home):
    (home / "config.toml").write_text("gpu = 'A10G:8'\n")
    with pytest.raises(settings.InvalidError, match=rf"{home}/config.toml: no setting is called 'gpu'"):
        config()


def test_without_a_terminal_the_table_is_plain_text(home):
    done = CliRunner().invoke(root, ["config"], catch_exceptions=False)
    assert done.output.splitlines()[0].split() == ["setting", "value", "from", "meaning"]
    assert "\x1b" not in done.output


def test_an_environment_is_set_for_what_comes_and_other_settings_stay(home):
    (home / "config.toml").write_text('port = 7\nenvironment = "old"\n')
    done = CliRunner().invoke(root, ["config", "set-environment", "prod", "--json"], catch_exceptions=False)
    assert json.loads(done.output)["environment"] == "prod"
    assert (config()["environment"]["value"], config()["port"]["value"]) == ("prod", 7)
    assert CliRunner().invoke(root, ["config", "set-environment", 'x"']).exit_code == 2
    shown = CliRunner().invoke(root, ["config", "show", "--json"], catch_exceptions=False)
    assert json.loads(shown.output)["settings"] == [*config().values()]
