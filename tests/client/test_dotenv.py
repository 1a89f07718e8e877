"""`.env` files, as python-dotenv reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import inrush
from inrush.client._dotenv import parse

CASES = {
    r'Q="a\"b"': {"Q": 'a"b'},
    r'W="C:\\new"': {"W": r"C:\new"},
    r"S='it\'s \n'": {"S": r"it's \n"},
    'T="tab\\tline\\nend"': {"T": "tab\tline\nend"},
    'M="one\ntwo"\nN=3': {"M": "one\ntwo", "N": "3"},
    "M='one\r\ntwo'\r\nN=3\r\n": {"M": "one\r\ntwo", "N": "3"},
    "A=1\nB=${A}2": {"A": "1", "B": "12"},
    "B=${HERE}": {"B": "from here"},
    "HERE=1\nB=${HERE}": {"HERE": "1", "B": "1"},
    "B=${NOWHERE:-else}${NOWHERE}": {"B": "else"},
    "B=$A": {"B": "$A"},
    "a = b  # behind": {"a": "b"},
    "a=b#c": {"a": "b#c"},
    "a='b' # c": {"a": "b"},
    "# all\n\n  \nexport a=1": {"a": "1"},
    "'quoted name'=1": {"quoted name": "1"},
    "a=\nb=": {"a": "", "b": ""},
    "a\nb=1": {"a": "", "b": "1"},
    "dotted.name-x=1": {"dotted.name-x": "1"},
    "a=ünïcode": {"a": "ünïcode"},
    "a=1\na=2": {"a": "2"},
    "a=b = c": {"a": "b = c"},
    "json={\"x\": 'y'}": {"json": "{\"x\": 'y'}"},
    "": {},
}


@pytest.mark.parametrize("text", CASES)
def test_a_file_means_what_python_dotenv_says(text: str) -> None:
    assert parse(text, ".env", {"HERE": "from here"}) == CASES[text]


@pytest.mark.parametrize("wrong", ["a='open", 'a="x" y', "one two", "=x"])
def test_what_cannot_be_read_is_left_out_with_its_line(wrong: str) -> None:
    with pytest.warns(UserWarning, match=r"\.env, line 2"):
        assert parse(f"before=1\n{wrong}\nafter=2\n", ".env", {}) == {"before": "1", "after": "2"}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1\n")
    assert inrush.Secret.from_dotenv(tmp_path).keys == ("A",)


def test_a_program_is_where_the_search_begins_and_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    program = tmp_path / "deep" / "program.py"
    program.write_text("NOT = 1\n")
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / "prod.env").write_text("B=1\n")
    assert inrush.Secret.from_dotenv(str(program)).keys == ("A",)
    assert inrush.Secret.from_dotenv(program, filename="prod.env").keys == ("B",)
    assert inrush.Secret.from_dotenv(tmp_path / "prod.env").keys == ("B",)
