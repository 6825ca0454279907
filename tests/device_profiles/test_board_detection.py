"""Which board a machine is, by trees as the boards' kernels show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedistill.device_profiles import load_board, shipped_boards
from edgedistill.device_profiles.board_detection import detect_board, is_board, this_machine
from edgedistill.runtime.device import describe_device

PC = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu lm sse4_2 fma avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"
DEVELOPER_KIT = "NVIDIA Jetson Orin Nano Developer Kit"


def _root(folder: Path, *, model: str = "", compatible: tuple[str, ...] = (), cpuinfo: str = "") -> Path:
    tree = folder / "proc/device-tree"
    tree.mkdir(parents=True)
    if model:
        (tree / "model").write_text(f"{model}\0")
    if compatible:
        (tree / "compatible").write_text("".join(f"{entry}\0" for entry in compatible))
    (folder / "proc/cpuinfo").write_text(cpuinfo)
    return folder


def _recognised(root: Path) -> str | None:
    board = detect_board(this_machine(root))
    return None if board is None else board.name


@pytest.mark.parametrize(
    ("model", "compatible", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", ("raspberrypi,4-model-b", "brcm,bcm2711"), "pi4"),
        ("Raspberry Pi 5 Model B Rev 1.0", ("raspberrypi,5-model-b", "brcm,bcm2712"), "pi5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", ("raspberrypi,model-zero-2-w", "brcm,bcm2837"), "pi-zero-2w"),
        (DEVELOPER_KIT, ("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005"), "jetson-orin-nano"),
        ("NVIDIA Jetson Orin NX", ("nvidia,p3768-0000+p3767-0000-super", "nvidia,p3767-0000"), "jetson-orin-nx"),
        ("NVIDIA Jetson AGX Orin", ("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005"), "jetson-agx-orin"),
        ("Raspberry Pi 500 Rev 1.0", ("raspberrypi,500", "brcm,bcm2712"), None),
        ("Raspberry Pi Zero W Rev 1.1", ("raspberrypi,model-zero-w", "brcm,bcm2835"), None),
        ("Raspberry Pi 3 Model B Rev 1.2", ("raspberrypi,3-model-b", "brcm,bcm2837"), None),
    ],
)
def test_a_board_is_recognised_by_its_device_tree(
    tmp_path: Path, model: str, compatible: tuple[str, ...], name: str | None
) -> None:
    whole = _root(tmp_path / "whole", model=model, compatible=compatible, cpuinfo=ARM)
    assert _recognised(whole) == name
    assert _recognised(_root(tmp_path / "model", model=model, cpuinfo=ARM)) == name
    assert _recognised(_root(tmp_path / "compatible", compatible=compatible, cpuinfo=ARM)) == name
    fitting = [one for one in shipped_boards() if is_board(this_machine(whole), load_board(one))]
    assert fitting == ([] if name is None else [name])


def test_the_module_decides_not_what_the_carriers_maker_wrote(tmp_path: Path) -> None:
    wrong = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super"
    nano = _root(tmp_path / "nano", model=wrong, compatible=("acme,carrier", "nvidia,p3767-0003", "nvidia,tegra234"))
    assert _recognised(nano) == "jetson-orin-nano"
    six_cores = _root(tmp_path / "8gb", model="NVIDIA Jetson Orin NX", compatible=("nvidia,p3767-0001",))
    assert _recognised(six_cores) is None


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [(PC, "x86-64-avx2"), (PC.replace(" avx2", ""), None), (ARM, None), ("", None)],
)
def test_a_pc_is_recognised_by_its_instruction_sets(tmp_path: Path, cpuinfo: str, name: str | None) -> None:
    assert _recognised(_root(tmp_path, cpuinfo=cpuinfo)) == name


def test_a_machine_without_these_files_is_no_board_of_ours(tmp_path: Path) -> None:
    assert _recognised(tmp_path) is None


def test_the_model_is_what_profiles_carry_as_their_board(tmp_path: Path) -> None:
    root = _root(tmp_path, model="Raspberry Pi 5 Model B Rev 1.0", cpuinfo=ARM)
    assert this_machine(root).model == describe_device(root).board
    assert this_machine(root).cpu == describe_device(root).cpu


def test_a_board_that_does_not_say_how_is_never_this_machine(tmp_path: Path) -> None:
    machine = this_machine(_root(tmp_path, model="Raspberry Pi 5 Model B Rev 1.0"))
    board = load_board("pi5")
    assert is_board(machine, board)
    assert not is_board(machine, board.model_copy(update={"recognised_by": None}))
