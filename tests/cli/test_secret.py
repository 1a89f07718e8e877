"""What `inrush secret create` reads."""

from __future__ import annotations

import click
import pytest

from inrush.cli.commands.secret import _pair


def test_what_is_no_pair_is_refused():
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        _pair("swordfish")


def test_a_value_may_hold_what_it_wants():
    assert _pair("URL=a=b&c=") == ("URL", "a=b&c=")
