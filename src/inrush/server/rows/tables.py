"""The tables of the database, which hold what outlives the server's process: environments and tokens, apps and
functions, named things, and durable calls. Payloads, specs and secret values are opaque bytes (msgpack, ciphertext).

Containers, attempts and calls of waiting clients are only in memory; after a restart their owners send them again.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

settings = Table(
    "settings", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False)
)

environments = Table(
    "environments",
    metadata,
    Column("name", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("mark", String, nullable=False, server_default="", doc="tells it from others that had its name"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("environment", String, nullable=False, doc="empty for all"),
    Column("rights", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, doc="0 for never"),
)

apps = Table(
    "apps",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("deployed", Boolean, nullable=False),
    Column("detached", Boolean, nullable=False),
    Column("client", String, nullable=False, doc="whose session ends an ephemeral app"),
    Column("created", Float, nullable=False),
    Column("tags", LargeBinary, nullable=False),
    Column("environment", String, nullable=False, server_default="main"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("spec", LargeBinary, nullable=False),
)

functions = Table(
    "functions",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("base", String, nullable=False, doc="for the variant of a class: the class that it belongs to"),
    Column("parameters", LargeBinary, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("successor", String, nullable=False, doc="the function that took its place in a later deploy"),
    Column("created", Float, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("keys", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("environment", String, nullable=False, server_default="main"),
)

dicts = Table(
    "dicts",
    metadata,
    Column("id", String, primary_key=True),
    Column("environment", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    UniqueConstraint("environment", "name"),
)

dict_items = Table(
    "dict_items",
    metadata,
    Column("dict", String, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("id", String, primary_key=True),
    Column("function", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("method", String, nullable=False),
    Column("total", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float, nullable=False, doc="0 while inputs are without a result"),
    Column("environment", String, nullable=False, server_default="main"),
    Column("app", String, nullable=False, server_default="", doc="name of the app whose function it calls"),
    Column("caller", String, nullable=False, server_default="", doc="name of the app whose code made it, if any"),
    Index("calls_by_end", "ended"),
)

call_inputs = Table(
    "call_inputs",
    metadata,
    Column("call", String, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("payloads", LargeBinary, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("call", String, primary_key=True),
    Column("first", Integer, primary_key=True, doc="the lowest index of the chunk"),
    Column("chunk", LargeBinary, nullable=False, doc="columns: indexes, statuses, payloads"),
)
