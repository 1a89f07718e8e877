"""Files of the home that are damaged or lost: the server says which, and what to do, and makes none anew in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from inrush import settings
from inrush.agent.containers.uids import UidRanges
from inrush.errors import InvalidError
from inrush.launcher.machine import tag_of
from inrush.server.serve import Server

Opened = Callable[..., AbstractAsyncContextManager[Server]]

GARBAGE = b"\xff\xfegarbage{"


@pytest.mark.parametrize("content", [GARBAGE, b"", b"two words"])
@pytest.mark.parametrize("name", ["token", "key", "store.db"])
async def test_a_server_names_the_damaged_file_and_the_remedy(
    opened: Opened, home: Path, name: str, content: bytes
) -> None:
    async with opened():
        pass
    path = home / name
    path.write_bytes(content)
    if name == "store.db" and not content:
        return  # an empty file is a new database to SQLite
    with pytest.raises(InvalidError, match=rf"{path} is damaged: .*; .*(restore|remove)"):
        async with opened():
            pass
    assert path.read_bytes() == content


async def test_a_database_that_is_damaged_in_its_middle_is_named_too(opened: Opened, home: Path) -> None:
    async with opened():
        pass
    path = home / "store.db"
    pages = path.read_bytes()
    path.write_bytes(pages[:4096] + b"\xa5" * (len(pages) - 4096))
    with pytest.raises(InvalidError, match=rf"{path} is damaged: .*malformed.*inrush restore"):
        async with opened():
            pass


async def test_a_lost_key_is_told_at_the_start_with_the_secrets_that_are_lost_with_it(
    opened: Opened, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as server:
        await server.secrets.put((("A", "b"),), "main", name="huggingface")
    async with opened():
        pass
    assert "huggingface" not in caplog.text
    (home / "key").unlink()
    with caplog.at_level(logging.ERROR):
        async with opened() as server:
            told = [r.getMessage() for r in caplog.records if "huggingface" in r.getMessage()]
            assert len(told) == 1
            assert "restore it from a backup" in told[0]
            with pytest.raises(InvalidError, match="create the secret again"):
                server.secrets.values([server.secrets.find("huggingface", "main")], "main")


@pytest.mark.parametrize(
    "content",
    [
        GARBAGE,
        b"",
        b"[1]",
        b'{"app": 3}',
        b'{"app": [-1, 0]}',
        b'{"app": [1, 0], "other": [1, 0]}',
        b'{"app": ["x", 0]}',
    ],
)
def test_a_damaged_table_of_user_ids_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "uids.json"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=rf"{path} is damaged: .*; restore it, or remove it"):
        UidRanges(path)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for content in (GARBAGE, b"port = "):
        path.write_bytes(content)
        with pytest.raises(InvalidError, match=rf"{path} is damaged: .*; mend it"):
            settings.load(environ={"INRUSH_HOME": str(tmp_path)})


def test_a_damaged_mark_of_a_state_directory_is_made_anew(tmp_path: Path) -> None:
    tag = tag_of(tmp_path)
    assert tag_of(tmp_path) == tag
    (mark,) = tmp_path.glob("*/mark")
    for content in (GARBAGE, b""):
        mark.write_bytes(content)
        again = tag_of(tmp_path)
        assert tag_of(tmp_path) == again != tag
