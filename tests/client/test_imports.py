"""`import inrush` loads very few modules."""

from __future__ import annotations

import json
import subprocess
import sys


def loaded(program: str) -> set[str]:
    """Modules that a program loads beyond those of an empty one."""

    def modules(text: str) -> set[str]:
        code = f"{text}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
        return set(json.loads(subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1]))

    return modules(program) - modules("")


def test_the_package_alone_loads_only_itself_and_typing() -> None:
    found = {name for name in loaded("import inrush") if not name.startswith("inrush")}
    assert found.isdisjoint({"asyncio", "msgspec", "cloudpickle", "websockets", "socket", "threading", "subprocess"})
    assert len(found - loaded("import typing, __future__")) <= 2, found


HEAVY = {
    *("asyncio", "socket", "ssl", "subprocess", "logging", "tarfile", "pickle", "hashlib", "json", "base64", "difflib"),
    *("inspect", "msgspec", "cloudpickle", "websockets", "httpx", "rich", "click", "uvloop", "sqlalchemy", "starlette"),
    *("inrush.wire", "inrush.core.images.layers", "inrush.client._connection", "inrush.client._payload"),
}


def test_an_app_and_an_image_load_nothing_heavy() -> None:
    program = (
        "import inrush\napp = inrush.App('a', image=inrush.Image.debian_slim())\ninrush.Secret.from_dict({'A': '1'})"
    )
    assert not loaded(program) & HEAVY


def test_a_program_loads_neither_a_loop_nor_a_transport_before_its_first_call() -> None:
    program = "import inrush\napp = inrush.App('a')\n@app.function()\ndef f(): ..."
    assert loaded(program).isdisjoint(
        {"asyncio", "tarfile", "pickle", "websockets", "cloudpickle", "rich", "httpx", "uvloop", "sqlalchemy"}
    )
