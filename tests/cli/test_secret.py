"""What `inrush secret create` reads."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from inrush.cli import api
from inrush.cli.commands.secret import _pair, command


def test_what_is_no_pair_is_refused(monkeypatch):
    monkeypatch.delenv("SWORDFISH", raising=False)
    with pytest.raises(click.UsageError, match="SWORDFISH is not set here"):
        _pair("SWORDFISH")
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        _pair("=value")


def test_a_key_alone_is_a_variable_of_here(monkeypatch):
    monkeypatch.setenv("SWORDFISH", "from here")
    assert _pair("SWORDFISH") == ("SWORDFISH", "from here")


def test_values_need_not_stand_on_the_command_line(monkeypatch, tmp_path):
    posted = []
    monkeypatch.setattr(api, "start_if_none", lambda: None)
    monkeypatch.setattr(api, "post", lambda path, body: posted.append(body["values"]))
    file = tmp_path / "values"
    ways = [
        (["KEY=-"], "value\n", ""),
        (["--from-dotenv", "-"], "KEY=value\n", ""),
        (["--from-json", "-"], '{"KEY": "value"}', ""),
        (["--from-dotenv", str(file)], "", "KEY=value\n"),
        (["--from-json", str(file)], "", '{"KEY": "value"}'),
    ]
    for arguments, given, held in ways:
        file.write_text(held)
        done = CliRunner().invoke(command, ["create", "name", *arguments], input=given)
        assert done.exit_code == 0, done.output
    assert posted == [{"KEY": "value"}] * len(ways)


@pytest.mark.parametrize("text", ["[1]", '{"KEY": 1}', "none", ""])
def test_json_that_is_no_object_of_strings_is_refused(text):
    assert CliRunner().invoke(command, ["create", "name", "--from-json", "-"], input=text).exit_code == 2


def test_a_value_may_hold_what_it_wants():
    assert _pair("URL=a=b&c=") == ("URL", "a=b&c=")
