from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from edgedistill.runtime.device import cpu_name, describe_device, device_name, is_emulated

PI_5 = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n\nprocessor\t: 1\nCPU part\t: 0xd0b\n"
PC = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: sse avx2 avx512_vnni\n"


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "raspberry-pi-5-model-b-rev-1-0-"),
        ("..", "device-"),
        ("Käthe's/board" + "x" * 99, "k-the-s-board" + "x" * 27 + "-"),
    ],
)
def test_the_name_is_fit_for_a_file_and_says_nothing_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, begins: str
) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text(model)
    names = set()
    for node in ("kaethes-laptop", "pi5.local", "", "n\udce9"):
        monkeypatch.setattr(platform, "node", lambda node=node: node)
        names.add(device_name(tmp_path))
        assert device_name(tmp_path) in names
    assert len(names) == 4
    assert all(re.fullmatch(f"{begins}[0-9a-f]{{6}}", name) for name in names)


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (PI_5, "Cortex-A76 (asimd, asimddp)"),
        (PC, "Some CPU (avx2, avx512_vnni)"),
        ("CPU part\t: 0xfff\n", "Arm 0xfff"),
        ("", platform.machine()),
    ],
)
def test_the_processor_with_what_matters_of_it(tmp_path: Path, cpuinfo: str, name: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert cpu_name(tmp_path).endswith(name)


def test_the_description_of_a_board(tmp_path: Path) -> None:
    model = tmp_path / "proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("123000000\n")
    device = describe_device(tmp_path)
    assert device.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert device.memory_mb == 123.0
    assert device.provider == "CPUExecutionProvider"
    assert re.match(r"\d+\.\d+", device.onnxruntime)


@pytest.mark.parametrize(
    ("kernel", "program", "emulated"),
    [
        ("cpu:type:x86,ven0002fam0019mod0011:feature:,0000", "aarch64", True),
        ("cpu:type:x86,ven0002fam0019mod0011:feature:,0000", "x86_64", False),
        ("cpu:type:aarch64:feature:,0000,0001", "x86_64", True),
        ("cpu:type:aarch64:feature:,0000,0001", "aarch64", False),
        ("cpu:type:aarch64:feature:,0000,0001", "armv7l", False),  # 32 bits on a 64-bit kernel
        (None, "aarch64", False),
    ],
)
def test_a_program_of_another_processor_than_the_kernels_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str | None, program: str, emulated: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: program)
    if kernel is not None:
        (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
        (tmp_path / "sys/devices/system/cpu/modalias").write_text(f"{kernel}\n")
    assert is_emulated(tmp_path) is emulated


def test_this_machine_can_be_described() -> None:
    device = describe_device()
    assert device.cores >= 1
    assert device.memory_mb > 100
    assert not device.emulated
