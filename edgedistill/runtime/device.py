"""Name and describe this machine for its profiles."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path

import psutil

from edgedistill.palette import DeviceInfo
from edgedistill.runtime.cgroup import memory_limit_bytes
from edgedistill.runtime.kernel_files import read_text
from edgedistill.runtime.onnx import PROVIDER, import_onnxruntime, usable_cores

__all__ = ["board_name", "cpu_features", "cpu_name", "describe_device", "device_name", "is_emulated"]

# Arm's kernel interface has numbers; these are the cores of the known boards.
_ARM_CORES = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd42": "Cortex-A78AE"}
_MAX_NAME = 40  # characters of a board's name
# The instruction sets that matrix products in fp32 and int8 depend on.
_FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "asimd", "asimddp", "i8mm", "sve")


def device_name(root: Path = Path("/")) -> str:
    """Return this machine's name in profiles, which palettes carry: its board's, and a hash in place of its host name.

    It is fit for a file name.
    """
    board = re.sub(r"[^a-z0-9]+", "-", board_name(root).lower()).strip("-")[:_MAX_NAME].rstrip("-") or "device"
    return f"{board}-{hashlib.sha256(os.fsencode(platform.node())).hexdigest()[:6]}"


def describe_device(root: Path = Path("/")) -> DeviceInfo:
    """Describe this machine as a profile records it.

    Raises:
        OnnxruntimeMissing: onnxruntime, whose version is in the description, cannot be imported.
    """
    return DeviceInfo(
        name=device_name(root),
        board=board_name(root),
        cpu=cpu_name(root),
        cores=usable_cores(root),
        memory_mb=_memory_mb(root),
        system=f"{platform.system()} {platform.release()}",
        onnxruntime=getattr(import_onnxruntime(root), "__version__", "unknown"),
        provider=PROVIDER,
        emulated=is_emulated(root),
    )


def is_emulated(root: Path = Path("/")) -> bool:
    """Return whether this program's kind of processor is emulated by another."""
    kernel = re.match(r"cpu:type:(x86|aarch64)", read_text(root / "sys/devices/system/cpu/modalias") or "")
    program = {"x86_64": "x86", "i686": "x86", "aarch64": "aarch64", "armv7l": "aarch64"}.get(platform.machine())
    return kernel is not None and program is not None and kernel[1] != program


def cpu_name(root: Path = Path("/")) -> str:
    """Return the processor's name, with its relevant instruction sets in brackets."""
    fields = _cpu_fields(root)
    arm = fields.get("CPU part")
    name = fields.get("model name") or (f"Arm {_ARM_CORES.get(arm, arm)}" if arm else platform.machine())
    features = cpu_features(root)
    return f"{name} ({', '.join(features)})" if features else name


def cpu_features(root: Path = Path("/")) -> list[str]:
    """Return the relevant instruction sets, by the kernel's names."""
    fields = _cpu_fields(root)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return [name for name in _FEATURES if name in flags]


def _cpu_fields(root: Path) -> dict[str, str]:
    path = root / "proc/cpuinfo"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    # Every core has a block; the first line of a key stands for all cores.
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}


def board_name(root: Path = Path("/")) -> str:
    """Return the firmware's name of the board, or the processor's architecture without one."""
    for name in ("proc/device-tree/model", "sys/devices/virtual/dmi/id/product_name"):
        path = root / name
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return platform.machine()


def _memory_mb(root: Path) -> float:
    limit = memory_limit_bytes(root)
    total = psutil.virtual_memory().total
    return (total if limit is None else min(total, limit)) / 1e6
