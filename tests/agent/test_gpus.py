"""The GPUs of a node, read from a setting and from hand-written samples of a driver's formats. No GPU is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inrush.agent.devices import cdi, gpus
from inrush.errors import InvalidError
from inrush.wire import Gpu

SAMPLES = Path(__file__).parent / "samples"
REAL = [Gpu(type="RTX-4090", index=0, memory_mib=24564), Gpu(type="RTX-4090", index=1, memory_mib=24564)]


def test_declared_cards_are_numbered_through_all_types() -> None:
    cards = gpus.inventory("A10G:2,a100-80gb:1", found=[])
    assert [(c.type, c.index, c.declared) for c in cards] == [
        ("A10G", 0, True),
        ("A10G", 1, True),
        ("A100-80GB", 2, True),
    ]


def test_real_cards_can_be_given_the_names_that_programs_ask_for() -> None:
    cards = gpus.inventory("A10G=0,1,A100:1", found=REAL)
    assert [(c.type, c.index, c.declared) for c in cards] == [("A10G", 0, False), ("A10G", 1, False), ("A100", 2, True)]
    assert cards[0].memory_mib == 24564


def test_without_a_setting_real_cards_keep_their_own_type() -> None:
    assert [c.type for c in gpus.inventory("", found=REAL)] == ["RTX-4090", "RTX-4090"]


def test_naming_a_card_that_is_not_there_says_what_there_is() -> None:
    with pytest.raises(InvalidError, match=r"no real GPU 2 \(the driver reports 2 cards\)"):
        gpus.inventory("A10G=0,2", found=REAL)


@pytest.mark.parametrize("setting", ["A10G", "A10G:", ":8", "A10G:-1", "A10G=x", "3", "A10G 8"])
def test_a_malformed_setting_shows_both_forms(setting: str) -> None:
    with pytest.raises(InvalidError, match=r'"A10G:8" \(declared\)'):
        gpus.inventory(setting, found=[])


def test_declaring_too_many_is_refused() -> None:
    with pytest.raises(InvalidError, match="more than 1024"):
        gpus.inventory("A100:1000,A10G:1000", found=[])


@pytest.mark.parametrize("card", json.loads((SAMPLES / "nvml.json").read_text()), ids=lambda c: c["name"])
def test_product_names_become_the_types_that_programs_ask_for(card: dict[str, object]) -> None:
    assert gpus.short_type(str(card["name"]), int(str(card["memory_bytes"]))) == card["type"]


def test_cuda_is_told_the_index_of_declared_cards_and_positions_of_real_ones() -> None:
    declared = gpus.inventory("A10G:8", found=[])
    assert gpus.environment(declared[3:5], "A10G")["CUDA_VISIBLE_DEVICES"] == "3,4"
    assert gpus.environment(REAL[1:], "A10G")["CUDA_VISIBLE_DEVICES"] == "0"
    assert gpus.environment((), "") == {"INRUSH_GPU_TYPE": "", "CUDA_VISIBLE_DEVICES": ""}


def test_a_cdi_specification_gives_the_nodes_and_libraries_of_the_cards_asked_for(tmp_path: Path) -> None:
    (tmp_path / "nvidia.json").write_bytes((SAMPLES / "cdi.json").read_bytes())
    edits = cdi.edits(REAL[1:], spec_dirs=[tmp_path])
    assert edits.devices == ("/dev/nvidia-uvm", "/dev/nvidiactl", "/dev/nvidia1", "/dev/dri/card2")
    assert [src for src, _ in edits.binds] == [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.535.129.03",
        "/usr/bin/nvidia-smi",
    ]
    assert edits.env == (("NVIDIA_DRIVER_CAPABILITIES", "all"),)


def test_without_a_specification_the_plain_drivers_nodes_are_taken(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    edits = cdi.edits(REAL[:1], spec_dirs=[], dev=tmp_path)
    assert edits.devices == ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")


def test_a_broken_specification_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_bytes((SAMPLES / "cdi.json").read_bytes())
    assert "/dev/nvidia0" in cdi.edits(REAL[:1], spec_dirs=[tmp_path]).devices


def test_declared_cards_bring_no_device() -> None:
    assert cdi.edits(gpus.inventory("A10G:2", found=[])) == cdi.DeviceEdits()
