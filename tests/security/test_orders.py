"""Orders of an agent that an attacker has taken over: the launcher does nothing for it that it could not do itself.

Each hostile order must be refused, and leave nothing: no file outside the store, no container, no group.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inrush.launcher import orders, specs
from inrush.launcher.client import LaunchError
from inrush.launcher.places import Declared, Places, Refused
from inrush.launcher.specs import (
    FIRST_UID,
    MAX_RANGES,
    UID_RANGE,
    Bind,
    EnterSpec,
    ForkSpec,
    RunSpec,
    TemplateSpec,
    Terminal,
)
from launcher.launched import UID_BASE, Node, needs_root

Json = dict[str, Any]


def bind(src: str, dst: str = "/mnt", readonly: bool = True) -> Json:
    return {"binds": [{"src": src, "dst": dst, "readonly": readonly}]}


ROOTS: dict[str, Json] = {
    "the machine's root as a layer": {"layers": ["/"]},
    "a declared source as a layer": {"layers": ["/usr"]},
    "a layer above the store": {"layers": ["{store}/.."]},
    "a layer by dots": {"layers": ["{store}/layers/../../../etc"]},
    "a layer by a link": {"layers": ["{store}/link"]},
    "a layer below a link": {"layers": ["{store}/link/victim"]},
    "a layer by the magic of proc": {"layers": ["/proc/self/root"]},
    "the launcher's own files as a layer": {"layers": ["{state}/launcher"]},
    "the store itself": {"layers": ["{store}"]},
    "no layer": {"layers": []},
    "too many layers": {"layers": ["{store}/layers/base"] * 401},
    "a layer that is no text": {"layers": [7]},
    "root's files": bind("/root"),
    "the machine's settings": bind("/etc"),
    "below a declared source and out again": bind("/usr/../etc"),
    "another with the same beginning": bind("/usrx"),
    "the root of process 1": bind("/proc/1/root"),
    "a socket's directory": bind("/run"),
    "the launcher's own files": bind("{state}/launcher"),
    "the store's own parent": bind("{store}/../store.db"),
    "a link in the store": bind("{store}/link"),
    "a declared source to be written": bind("/usr", readonly=False),
    "anything to be written": bind("{victim}", readonly=False),
    "a link to be written": bind("{store}/link", readonly=False),
    "a target with dots": bind("/usr", "/a/../../x"),
    "a target that is the root": bind("/usr", "//"),
    "a target that is relative": bind("/usr", "mnt"),
    "too many binds": {"binds": bind("/usr")["binds"] * 129},
    "an upper directory outside": {"upper": "{victim}"},
    "an upper directory by dots": {"upper": "{store}/../launcher/x"},
    "an upper directory below a link": {"upper": "{store}/link/new"},
    "an upper directory that is a link": {"upper": "{store}/link"},
    "an upper directory that is the root": {"upper": "/"},
    "a host name of two lines": {"hostname": "a\n127.0.0.1 b"},
    "a host name with a path": {"hostname": "../a"},
    "a size of a file system with options": {"disk_mib": "1m,uid=0"},
    "no size": {"disk_mib": 0},
    "a wish for a resolver that is no bool": {"resolv": "/etc/shadow"},
    "a field that there is not": {"propagation": "shared"},
}

LIMITS: dict[str, Json] = {
    "all processes": {"pids": 1 << 40},
    "no process": {"pids": 0},
    "two lines for a knob": {"pids": "1\n2"},
    "less than no memory": {"memory_mib": -1},
    "no memory": {"memory_mib": 0},
    "memory without end": {"memory_mib": 1 << 70},
    "no number of cores": {"cpu": float("nan")},
    "endless cores": {"cpu": float("inf")},
    "a share below nought": {"cpu_request": -1.0},
    "a huge share": {"cpu_request": 10**400},
    "a bool": {"pids": True},
}

UID_BASES = (0, 1, -1, 65_536, FIRST_UID + 1, FIRST_UID - UID_RANGE, FIRST_UID + MAX_RANGES * UID_RANGE, 1 << 31)

NAMES = (
    "../x",
    "",
    ".",
    "..",
    "a/b",
    "a\nb",
    "cgroup.procs",
    "tasks",
    "release_agent",
    "ahead-1",
    "template-t-1",
    "-x",
)

PROGRAMS: dict[str, Json] = {
    **{f"uid base {base!r}": {"uid_base": base} for base in (*UID_BASES, str(UID_BASE), True, 1.5, None, [UID_BASE])},
    **{f"id {name!r}": {"id": name} for name in (*NAMES, "x" * 101, 7, None)},
    "the machine's memory": {"devices": ["/dev/mem"]},
    "a device by dots": {"devices": ["/dev/../etc/shadow"]},
    "a device that is a file": {"devices": ["/etc/shadow"]},
    "a declared device by another name": {"devices": ["/dev//fuse"]},
    "a device without its directory": {"devices": ["fuse"]},
    "the host's network": {"network": "host"},
    "more capabilities": {"caps": "all"},
    "a list of capabilities": {"caps": ["sys_admin"]},
    "no program": {"argv": []},
    "a program that is no text": {"argv": [["sh"]]},
    "a zero in an argument": {"argv": ["sh", "a\0b"]},
    "a variable with an equals sign": {"env": {"A=B": "c"}},
    "a variable that is a number": {"env": {"A": 1}},
    "a directory with a zero": {"cwd": "/\0"},
    "a field that there is not": {"privileged": True},
    "limits that are a list": {"limits": []},
    "a root that is nothing": {"root": None},
}

TEMPLATES: dict[str, Json] = {
    **{f"uid base {base!r}": {"uid_base": base} for base in UID_BASES},
    **{f"key {name!r}": {"key": name} for name in NAMES},
    "the host's network": {"network": "host"},
    "a time without end": {"timeout_s": float("inf")},
    "no time": {"timeout_s": float("nan")},
    "a boot that is a list": {"boot": []},
    "a python that is a list": {"python": ["sh"]},
    "variables as pairs": {"env": [["A", "b"]]},
}

TREES: dict[str, tuple[str, Json]] = {
    **{
        f"removing {path}": ("remove_tree", {"path": path})
        for path in (
            *("/", "/etc", "{state}", "{store}", "{state}/launcher", "{store}/..", "{store}/.", "{store}//"),
            *("{store}/link/victim", "{store}/../launcher/mark", "{victim}", "", "node/x", "{store}/x\0"),
        )
    },
    **{
        f"a fingerprint of {path}": ("fingerprint", {"path": path})
        for path in (
            "/",
            "/etc",
            "{state}",
            "{state}/launcher",
            "{store}/../launcher",
            "{store}/link/victim",
            "{victim}",
        )
    },
    "removing nothing": ("remove_tree", {}),
    "removing a list": ("remove_tree", {"path": ["/"]}),
    "a layer outside": ("normalise", {"upper": "{store}/up", "base_uid": UID_BASE, "layer": "{victim}/new"}),
    "a layer below a link": ("normalise", {"upper": "{store}/up", "base_uid": UID_BASE, "layer": "{store}/link/new"}),
    "an upper outside": ("normalise", {"upper": "{victim}", "base_uid": UID_BASE, "layer": "{store}/new"}),
    "an upper below a link": (
        "normalise",
        {"upper": "{store}/link/victim", "base_uid": UID_BASE, "layer": "{store}/n"},
    ),
    "owners of root": ("normalise", {"upper": "{store}/up", "base_uid": 0, "layer": "{store}/new"}),
    "a signal that there is not": ("signal", {"id": "a", "signum": 99}),
    "a container by a path": ("usage", {"id": "../../memory"}),
    "threads of a container by a path": ("threads", {"ids": ["../../memory"]}),
    "threads of more containers than may be": ("threads", {"ids": ["co-1"] * 65}),
    "threads of no list": ("threads", {"ids": {"co-1": 1}}),
    "an order that there is not": ("mount", {"path": "/"}),
}


def placed(value: Any, names: dict[str, str]) -> Any:
    """The same with the places of this test in all texts."""
    if isinstance(value, str):
        for name, place in names.items():
            value = value.replace("{" + name + "}", place)
    elif isinstance(value, list):
        return [placed(each, names) for each in value]
    elif isinstance(value, dict):
        return {key: placed(each, names) for key, each in value.items()}
    return value


def run_of(node: Node) -> Json:
    return specs.to_json(RunSpec("a", node.root(), ("true",), UID_BASE, env={"PATH": "/usr/bin"}))


def template_of(node: Node) -> Json:
    return specs.to_json(node.template_spec("t"))


def hostile(node: Node) -> list[tuple[str, str, Json]]:
    """(what it tries, order, spec)."""
    run, template = run_of(node), template_of(node)
    fork = specs.to_json(ForkSpec("f", "t", node.root()))
    found: list[tuple[str, str, Json]] = []
    for what, change in ROOTS.items():
        for do, spec in (("run", run), ("open_template", template)):
            found.append((what, do, {**spec, "root": {**spec["root"], **change}}))
    for what, change in LIMITS.items():
        for do, spec in (("run", run), ("open_template", template), ("fork", fork)):
            found.append((what, do, {**spec, "limits": {**spec["limits"], **change}}))
    found += [(what, "run", {**run, **change}) for what, change in PROGRAMS.items()]
    found += [(what, "open_template", {**template, **change}) for what, change in TEMPLATES.items()]
    found += [(what, do, spec) for what, (do, spec) in TREES.items()]
    found += [(f"a missing {field}", "run", {k: v for k, v in run.items() if k != field}) for field in ("id", "root")]
    return found


@needs_root
async def test_no_hostile_order_is_carried_out(node: Node, tmp_path: Path) -> None:
    victim, store = tmp_path / "victim", node.state / "node"
    victim.mkdir(mode=0o711)
    (victim / "file").write_text("the machine's")
    (victim / "file").chmod(0o4640)
    (store / "up").mkdir()
    (store / "link").symlink_to(tmp_path)
    names = {"victim": str(victim), "store": str(store), "state": str(node.state)}
    before, groups = _seen(victim), _groups(node)
    read, write = os.pipe()
    descriptors = {"run": 3, "fork": 3, "open_template": 2}
    carried_out: list[str] = []
    for what, do, spec in hostile(node):
        try:
            await node.launcher._ask(do, placed(spec, names), [write] * descriptors.get(do, 0))
            carried_out.append(f"{do}: {what}")
        except LaunchError as error:
            if error.code != "refused":
                carried_out.append(f"{do}: {what}: {error.code}: {error}")
    os.close(write)
    assert carried_out == []
    assert os.read(read, 100) == b""
    os.close(read)
    assert _seen(victim) == before
    assert sorted(path.name for path in (node.state / "launcher").iterdir()) == ["launcher.lock", "mark", "uppers"]
    assert _groups(node) == groups
    assert (await node.run("true"))[0].code == 0


@needs_root
@pytest.mark.parametrize("count", [0, 1, 2, 4, 50])
async def test_orders_with_other_descriptors_than_they_take_are_refused(node: Node, count: int) -> None:
    before = len(os.listdir(f"/proc/{_launcher_pid(node)}/fd"))
    null = os.open(os.devnull, os.O_RDWR)
    for do, spec in (("run", run_of(node)), ("open_template", template_of(node))):
        if do != "open_template" or count != 2:
            with pytest.raises(LaunchError) as caught:
                await node.launcher._ask(do, spec, [null] * count)
            assert caught.value.code == "refused"
    os.close(null)
    await node.launcher.probe()  # what came with the order before is closed when this is answered
    assert len(os.listdir(f"/proc/{_launcher_pid(node)}/fd")) == before


@needs_root
@pytest.mark.parametrize(
    ("path", "flags"),
    [("/", os.O_RDONLY), ("/tmp", os.O_PATH), ("/etc/shadow", os.O_PATH), ("/dev/null", os.O_PATH)],
)
async def test_no_way_to_further_files_is_handed_to_a_container(node: Node, path: str, flags: int) -> None:
    leads = os.open(path, flags)
    null = os.open(os.devnull, os.O_RDWR)
    for place in range(3):
        fds = [null] * 3
        fds[place] = leads
        with pytest.raises(LaunchError) as caught:
            await node.launcher._ask("run", run_of(node), fds)
        assert caught.value.code == "refused"
    for fd in (leads, null):
        os.close(fd)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
VALID = [
    RunSpec("a", specs.RootSpec(("/x/node/l",), (Bind("/usr", "/usr"),)), ("sh",), UID_BASE, env={"A": "b"}),
    TemplateSpec("t", specs.RootSpec(("/x/node/l",)), UID_BASE, "/usr/bin/python3", boot={"spec": {"a": [1, None]}}),
    ForkSpec("f", "t", specs.RootSpec(("/x/node/l",), disk_mib=5), devices=("/dev/fuse",)),
    EnterSpec("e", "a", ("sh", "-c", "true"), terminal=Terminal(24, 80)),
]


@pytest.mark.parametrize("spec", VALID)
def test_what_the_agent_means_arrives_as_it_was_meant(spec: Any) -> None:
    assert orders.decode(type(spec), json.loads(json.dumps(specs.to_json(spec)))) == spec


@pytest.mark.parametrize("terminal", [2, True, {}, {"rows": -1, "columns": 80}, {"rows": 24, "columns": 1 << 16}])
def test_a_terminal_has_a_size_that_the_kernel_takes(terminal: Any) -> None:
    with pytest.raises(Refused):
        orders.decode(EnterSpec, {"id": "e", "container": "a", "argv": ["sh"], "terminal": terminal})


@given(st.sampled_from([type(spec) for spec in VALID]), JSON)
def test_any_json_is_an_order_or_refused(kind: type, data: Any) -> None:
    with pytest.raises(Refused):
        orders.decode(kind, data)


@settings(max_examples=400)
@given(st.sampled_from(VALID), st.data())
def test_an_order_with_anything_in_a_field_keeps_its_types_or_is_refused(spec: Any, data: st.DataObject) -> None:
    plain = json.loads(json.dumps(specs.to_json(spec)))
    at = plain
    while True:
        field = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[field], dict) or not at[field] or data.draw(st.booleans()):
            break
        at = at[field]
    at[field] = data.draw(JSON)
    try:
        made = orders.decode(type(spec), plain)
    except Refused:
        return
    again = json.dumps(specs.to_json(made))
    assert json.dumps(specs.to_json(orders.decode(type(spec), json.loads(again)))) == again
    if not isinstance(made, ForkSpec | EnterSpec):
        assert made.uid_base >= FIRST_UID
        assert (made.uid_base - FIRST_UID) % UID_RANGE == 0


SEGMENTS = st.sampled_from(["layers", "a", "file", "up", "down", "loop", "..", ".", "", "etc", "x" * 300, "\0", "é"])


@given(st.lists(SEGMENTS, max_size=8), st.sampled_from(["{store}/", "{state}/", "/", "", "{store}/../"]))
def test_no_path_of_an_order_leads_out_of_the_store(
    tmp_path_factory: pytest.TempPathFactory, segments: list[str], start: str
) -> None:
    state = tmp_path_factory.getbasetemp() / "places"
    store = state / "node"
    if not store.exists():
        (store / "layers" / "a").mkdir(parents=True)
        (store / "layers" / "file").touch()
        (state / "etc").mkdir()
        for name, target in {"up": "..", "down": "layers", "loop": "loop", "etc": "/etc"}.items():
            (store / name).symlink_to(target)
            (store / "layers" / name).symlink_to(target)
    places = Places(state, Declared((str(state / "etc"),)))
    path = start.format(store=store, state=state) + "/".join(segments)
    for opened in (
        lambda: places.directory(path),
        lambda: places.parent(path)[0],
        lambda: places.source(Bind(path, "/x", readonly=False)),
        lambda: places.source(Bind(path, "/x")),
    ):
        try:
            fd = opened()
        except OSError:
            continue
        found = os.readlink(f"/proc/self/fd/{fd}")
        os.close(fd)
        assert Path(found).is_relative_to(store) or Path(found).is_relative_to(state / "etc"), path
    places.close()


def _seen(top: Path) -> list[tuple[str, int, int, str]]:
    paths = [top, *sorted(top.rglob("*"))]
    return [(str(p), p.lstat().st_mode, p.lstat().st_uid, p.read_text() if p.is_file() else "") for p in paths]


def _groups(node: Node) -> set[str]:
    from inrush.launcher.machine import tag_of

    tops = Path("/sys/fs/cgroup").glob(f"**/inrush-{tag_of(node.state)}")
    return {path.name for top in tops for path in top.iterdir() if path.is_dir()}


def _launcher_pid(node: Node) -> int:
    """The janitor's only child."""
    return int(Path(f"/proc/{node.handle.pid}/task/{node.handle.pid}/children").read_text().split()[0])
