"""The file of pools: what it says, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from inrush.errors import InvalidError
from inrush.pools.file import GPUS_MAX, NODES_MAX, POOLS_MAX, read
from inrush.sim.scenario import Pool
from inrush.wire import Gpu

RACK = 'name = "rack"\nkind = "declared"\nnodes = 2\n'
CLOUD = 'name = "cloud"\nkind = "simulated"\nnodes_max = 3\n'


def written(tmp_path: Path, *tables: str) -> Path:
    path = tmp_path / "pools.toml"
    path.write_text("".join(f"[[pools]]\n{table}\n" for table in tables))
    return path


def test_pools_are_read_with_what_their_nodes_have(tmp_path: Path) -> None:
    more = 'gpu_type = "a100"\ngpus = 2\ncloud = "aws"\nregion = "north"\nlabels = { zone = "b", disk = "nvme" }\n'
    times = "price = 8\nnode_s = 40\nkeep_s = 60\nstockouts = [[60, 240]]\n"
    rack, cloud = read(written(tmp_path, RACK, CLOUD + more + times))
    assert (rack.name, rack.kind, rack.most) == ("rack", "declared", 2)
    offer = cloud.offer()
    assert (offer.pool, offer.nodes_min, offer.nodes_max, offer.node_s, offer.keep_s) == ("cloud", 0, 3, 40.0, 60.0)
    assert offer.inventory.gpus == tuple(Gpu(type="A100", index=index, declared=True) for index in (0, 1))
    assert (offer.inventory.cloud, offer.inventory.region, offer.inventory.price) == ("aws", "north", 8.0)
    assert offer.inventory.labels == (("disk", "nvme"), ("zone", "b"))
    assert [cloud.stocked_out(at) for at in (59.0, 60.0, 239.0, 240.0)] == [False, True, True, False]


def test_nodes_that_stay_anyway_cost_placing_nothing(tmp_path: Path) -> None:
    (rack,) = read(written(tmp_path, RACK + "price = 8\n"))
    assert (rack.offer().price, rack.inventory().price) == (8.0, 0.0)


def test_a_scenarios_pool_is_the_same_thing_with_a_spread() -> None:
    assert Pool(name="p", nodes=2, gpu_type="A100", gpus=1).offer().nodes_max == 2


def test_an_empty_file_has_no_pools(tmp_path: Path) -> None:
    assert read(written(tmp_path)) == ()


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([CLOUD + "node_max = 3"], "pool 'cloud': 'node_max' is not known; did you mean nodes_max?"),
        ([CLOUD + "hue = 3"], "pool 'cloud': 'hue' is not known; there are kind, name, nodes, nodes_max"),
        (['kind = "declared"'], 'pool number 1 has no name; write name = "cheap"'),
        (['name = "x"'], 'pool \'x\' has no kind; write kind = "declared" or kind = "simulated"'),
        (['name = "x"\nkind = "real"'], "pool 'x': kind: Invalid enum value 'real'; write kind = \"declared\" or"),
        (['name = "x"\nkind = "declared"\nnodes = "two"'], "pool 'x': nodes: Expected int, got str; write nodes = 4"),
        ([RACK + 'nodes_max = "3"'], "pool 'rack': nodes_max: Expected int, got str; write nodes_max = 4"),
        ([CLOUD + "price = [1]"], "pool 'cloud': price: Expected float, got array; write price = 8.0"),
        ([CLOUD + "labels = { a = 1 }"], "pool 'cloud': labels: Expected str, got int; write labels = { disk ="),
        ([CLOUD + "stockouts = [[1]]"], "pool 'cloud': stockouts: Expected array of length 2"),
        ([CLOUD + "stockouts = [[9, 1]]"], "stockouts=[[9.0, 1.0]]: write pairs (from, to), such as stockouts ="),
        ([CLOUD + "price = nan"], "pool 'cloud': price=nan: it is 0 or more"),
        ([CLOUD + "cpu = 0"], "pool 'cloud': cpu=0: it is more than 0"),
        ([CLOUD + "gpus = 4"], "pool 'cloud': gpus=4 with gpu_type='': write both, such as gpu_type ="),
        ([CLOUD + f'gpus = {GPUS_MAX + 1}\ngpu_type = "A100"'], f"gpus={GPUS_MAX + 1}: a node has {GPUS_MAX} at most"),
        ([CLOUD + "nodes = 4"], f"pool 'cloud': nodes_max=3: write a number from nodes (4) to {NODES_MAX}"),
        (['name = "x"\nkind = "simulated"'], f"pool 'x': nodes=0: write a number from 1 to {NODES_MAX}"),
        ([f'name = "x"\nkind = "declared"\nnodes = {NODES_MAX + 1}'], f"nodes={NODES_MAX + 1}: write a number from"),
        (['name = "My pool"\nkind = "declared"\nnodes = 1'], "name='My pool': write up to 40 lower-case letters"),
        ([RACK + "nodes_max = 5"], "pool 'rack': nodes_max=5: a declared pool has its nodes=2 and no more"),
        ([RACK + "keep_s = 5"], "pool 'rack': keep_s: declared nodes are neither ordered nor given back"),
        ([RACK, CLOUD, RACK], "two pools are called 'rack'; give one of them another name"),
        (
            [RACK.replace("rack", f"r{n}") for n in range(POOLS_MAX + 1)],
            f"{POOLS_MAX + 1} pools, and may be {POOLS_MAX}",
        ),
    ],
    ids=range(23),
)
def test_a_wrong_file_is_told_with_the_pool_and_what_to_write(tmp_path: Path, tables: list[str], told: str) -> None:
    path = written(tmp_path, *tables)
    with pytest.raises(InvalidError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: "), raised.value
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[pools]", "is not TOML"),
        ("pool = 1", "'pool' is not known here; the file has [[pools]] tables and nothing else"),
        ("pools = 3", "pools are tables, each under a line [[pools]]"),
    ],
)
def test_what_is_no_file_of_pools_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "pools.toml"
    path.write_text(text)
    with pytest.raises(InvalidError) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert told in str(raised.value)


def test_a_file_that_is_not_there_is_named_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"pools='.*none.toml' cannot be read \(No such file"):
        read(tmp_path / "none.toml")
