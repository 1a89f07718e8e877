"""The same server on PostgreSQL, where a machine has it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from inrush import wire
from inrush.errors import AlreadyExistsError
from inrush.server.rows import copies, tables
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Status

from .peers import Agent, Client

Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]
F = FunctionSpec(name="f", module="m", qualname="f")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


@pytest.fixture
def url() -> Iterator[str]:
    """A PostgreSQL of this test alone, on a unix socket. It refuses to be run by root."""
    if not BINARIES or os.geteuid() != 0 or "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("needs PostgreSQL's programs, and root to run them as the user postgres")
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    shutil.chown(base, "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [str(BINARIES[0] / program), *arguments]
        subprocess.run(command, user="postgres", cwd=base, check=True, stdout=subprocess.DEVNULL, timeout=60)

    run("initdb", "-D", str(base / "data"), "-A", "trust", "--no-sync")
    run("pg_ctl", "-D", str(base / "data"), "-w", "-l", str(base / "log"), "-o", f"-k {base} -h ''", "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={base}"
    finally:
        run("pg_ctl", "-D", str(base / "data"), "-m", "immediate", "stop")
        shutil.rmtree(base)


async def test_rows_on_postgresql_outlive_the_server(opened: Opened, url: str) -> None:
    async with opened(database_url=url) as server:
        Agent(server, lambda method, payload: payload).hold = True
        client = await Client(server.home / "run" / "server.sock").connect()
        await client.ask(wire.PutSecret((("KEY", "v"),), "mine"))
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        id = await client.ask(wire.OpenDict("d", create=True))
        put = wire.DictOp(id, "put", pairs=((b"k", b"\x00\xff"),))
        assert await client.ask(put) is True
        assert await client.ask(wire.DictOp(id, "put", pairs=((b"k", b"2"),), if_absent=True)) is False
        assert await client.ask(wire.DictOp(id, "put", pairs=((b"new", b"2"),), if_absent=True)) is True
        client.send(wire.StartCall("ca-s", function, "spawn", payloads=(b"P\x00",)))
        await client.until(wire.Accepted)
    assert not (server.home / "store.db").exists()
    async with opened(database_url=url) as server:
        Agent(server, lambda method, payload: payload)
        client = await Client(server.home / "run" / "server.sock").connect()
        client.send(wire.AwaitCall("ca-s"))
        assert await client.results("ca-s", 1) == {0: (Status.OK, b"P\x00")}
        assert await client.ask(wire.DictOp(id, "get", (b"k",))) == b"\x00\xff"
        assert await client.ask(wire.DictOp(id, "pop", (b"k",))) == b"\x00\xff"
        assert (await client.start_app(F, deploy=True))["functions"]["f"] == function
        await client.close()


async def test_a_backup_of_postgresql_is_a_sqlite_file_and_goes_back_into_an_empty_database(
    opened: Opened, url: str, tmp_path: Path
) -> None:
    async with opened(database_url=url) as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        id = await client.ask(wire.OpenDict("d", create=True))
        pairs = tuple((b"%d" % n, b"\x00\xff") for n in range(1200))
        assert await client.ask(wire.DictOp(id, "put", pairs=pairs)) is True
        copies.copy_out(server.home, url, tmp_path / "copy.db")
        await client.close()
    copies.check(tmp_path / "copy.db")
    with pytest.raises(AlreadyExistsError, match="name an empty one"):
        copies.copy_in(tmp_path / "copy.db", url)
    engine = sa.create_engine(url)
    tables.metadata.drop_all(engine)
    engine.dispose()
    copies.copy_in(tmp_path / "copy.db", url)
    async with opened(database_url=url) as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        assert await client.ask(wire.OpenDict("d")) == id
        assert await client.ask(wire.DictOp(id, "len")) == 1200
        await client.close()


async def test_a_database_from_before_environments_is_all_of_main(opened: Opened, url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as database:
        database.execute(_translated((Path(__file__).parent / "samples/store_before_environments.sql").read_text()))
    for _ in range(2):  # the second start finds everything as it should be
        async with opened(database_url=url) as server:
            Agent(server, lambda method, payload: payload)
            client = await Client(server.home / "run" / "server.sock").connect()
            assert [(app.name, app.environment) for app in server.apps.running()] == [("app", "main")]
            made = await client.ask(wire.OpenDict("di"))
            assert await client.ask(wire.DictOp(made, "get", (b"k",))) == b"Pv"
            assert (await client.ask(wire.FindCall("ca-done")))["done"] == 1
            if "prod" not in server.environments:
                await server.environments.create("prod")
            assert await client.ask(wire.OpenDict("di", True, "prod")) != made
            await client.close()


def _translated(sqlite: str) -> str:
    """The statements of a dump by SQLite as PostgreSQL takes them."""
    text = re.sub(r"X'([0-9A-F]*)'", r"'\\x\1'", sqlite).replace("BLOB", "BYTEA")
    return re.sub(r"(VALUES\('ap-[^,]*,'app',[^,]*),1,0,", r"\1,true,false,", text)
