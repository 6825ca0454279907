"""Check the other sensors: what each reads, or why it does not. Memory and heat have checks of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from edgedistill.runtime.doctor.finding import Finding, boot_option, unread
from edgedistill.runtime.kernel_files import read_text
from edgedistill.runtime.onnx import usable_cores
from edgedistill.runtime.sensors.cpu import CpuSensor, RunQueueSensor
from edgedistill.runtime.sensors.power import PowerModeSensor, SupplySensor
from edgedistill.runtime.sensors.pressure import PressureSensor

__all__ = ["cpu_load", "cpu_pressure", "memory_pressure", "power_mode", "power_supply", "run_queue"]

_SPAN_S = 0.3


def cpu_load(root: Path) -> Finding:
    """Check the CPU load of other processes over a moment."""
    sensor = CpuSensor(usable_cores(root), root)
    sensor.read()
    time.sleep(_SPAN_S)
    share = sensor.read()
    if share is None:
        return unread(root, "proc/stat", lost="what others take is seen only when answers get slower")
    return Finding("ok", f"others take {share:.0%} of the usable cores")


def run_queue(root: Path) -> Finding:
    """Check the run queue now."""
    tasks = RunQueueSensor(usable_cores(root), root).read()
    if tasks is None:
        return unread(root, "proc/loadavg", lost="a new load is told from an outlier later")
    return Finding("ok", f"{tasks:.2f} tasks of others for each usable core")


def cpu_pressure(root: Path) -> Finding:
    """Check the share of time in which a task waited for a core."""
    return _pressure(root, "cpu")


def memory_pressure(root: Path) -> Finding:
    """Check the share of time in which a task waited for memory."""
    return _pressure(root, "memory")


def _pressure(root: Path, resource: Literal["cpu", "memory"]) -> Finding:
    share = PressureSensor(resource, root).read()
    if share is not None:
        return Finding("ok", f"tasks waited for it in {share:.1%} of the last ten seconds")
    finding = unread(root, f"proc/pressure/{resource}", lost="decisions carry no such figure")
    if finding.fix is not None:
        return finding
    if "psi=1" in (read_text(root / "proc/cmdline") or "").split():
        return Finding("ok", f"{finding.summary}: this kernel was built without")
    return Finding("note", finding.summary, boot_option(root, "psi=1"))


def power_supply(root: Path) -> Finding:
    """Check whether the machine runs on mains or battery."""
    on_battery, share = SupplySensor(root).read()
    if on_battery is None and share is None:
        return unread(root, "sys/class/power_supply/*/type")
    supply = {True: "on battery", False: "on mains", None: "not told whether on mains"}[on_battery]
    return Finding("ok", supply if share is None else f"{supply}, {share:.0%} charged")


def power_mode(root: Path) -> Finding:
    """Report the machine's power mode."""
    mode = PowerModeSensor(root).read()
    if mode is None:
        return unread(root, "var/lib/nvpmodel/status", "sys/firmware/acpi/platform_profile")
    return Finding("ok", mode)
