"""What `inrush secret create` reads."""

from __future__ import annotations

import click
import pytest

from inrush.cli.secret import _pair, _read_dotenv


def test_a_dotenv_file_has_comments_exports_and_quotes(tmp_path):
    path = tmp_path / ".env"
    path.write_text("# keys\n\nexport A=1\nB = 'two words'\nC=\"=\"\nD=\n")
    assert _read_dotenv(path) == {"A": "1", "B": "two words", "C": "=", "D": ""}


def test_what_is_no_pair_is_refused():
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        _pair("swordfish")
