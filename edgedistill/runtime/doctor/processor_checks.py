"""Check cores, clock and temperature of the processor."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from edgedistill.runtime.cgroup import cpu_quota
from edgedistill.runtime.doctor.finding import Finding, unread
from edgedistill.runtime.kernel_files import read_number, read_text
from edgedistill.runtime.onnx import is_jetson, usable_cores
from edgedistill.runtime.predict.heat import HeatTrend
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.sensors.power import power_modes
from edgedistill.runtime.sensors.thermal import ThermalSensor, is_raspberry_pi
from edgedistill.runtime.sensors.throttling import ThrottlingSensor, event_counters, firmware_bits

__all__ = ["clock", "cores", "governor", "temperature", "throttling"]

_POLICIES = "sys/devices/system/cpu/cpufreq/policy*"
# Drivers whose "powersave" is not the lowest clock but the usual, demand-driven one.
_OWN_POWERSAVE = {"intel_pstate", "amd-pstate-epp"}
_PREFERRED = ("schedutil", "ondemand", "performance")
# Bits of a Raspberry Pi's firmware: now, and 16 bits higher, since boot.
_EVENTS = {0x1: "low voltage", 0x2: "clock capped", 0x4: "throttled", 0x8: "soft temperature limit"}
_SUPPLY = "use the power supply that is made for this board, on a short cable of its own"
_COOL = "give it a heat sink and a fan, and room for air"


def cores(root: Path) -> Finding:
    """Check the cores that this process may use, and the quota of its control group."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    present, online = (read_text(root / f"sys/devices/system/cpu/{name}") for name in ("present", "online"))
    summary = f"{usable_cores(root)} usable; {affinity} by its affinity"
    summary += ", no quota" if quota is None else f", a quota of {quota:g}"
    if present and online and present != online:
        summary += f"; cores {present.strip()} are there, {online.strip()} are switched on"
    if quota is not None and quota < 1:
        fix = "give it a whole core: CPUQuota=100% in the systemd unit, or docker run --cpus 1"
        return Finding("note", f"{summary}: less than a core, so that answers stall in every period", fix)
    return Finding("ok", summary)


def governor(root: Path) -> Finding:
    """Check the clock's governor: "powersave" holds the clock at its lowest."""
    policies = sorted(root.glob(_POLICIES))
    names = Counter(_stripped(policy / "scaling_governor") for policy in policies)
    del names[""]
    if not names:
        return unread(root, f"{_POLICIES}/scaling_governor")
    summary = ", ".join(names)
    slow = [p for p in policies if _stripped(p / "scaling_governor") == "powersave" and not _own_powersave(p)]
    if not slow:
        return Finding("ok", summary)
    offered = _stripped(slow[0] / "scaling_available_governors").split()
    better = next((name for name in _PREFERRED if name in offered), _PREFERRED[-1])
    fix = f"echo {better} | sudo tee /{_POLICIES}/scaling_governor"
    return Finding("note", f"{summary}: the clock stays at its lowest", fix)


def _own_powersave(policy: Path) -> bool:
    return _stripped(policy / "scaling_driver") in _OWN_POWERSAVE


def clock(root: Path) -> Finding:
    """Compare the highest clock that is allowed with the processor's own."""
    pairs = {
        policy: (allowed, highest)
        for policy in sorted(root.glob(_POLICIES))
        if (allowed := read_number(policy / "scaling_max_freq")) is not None
        and (highest := read_number(policy / "cpuinfo_max_freq")) is not None
    }
    if not pairs:
        return unread(root, f"{_POLICIES}/scaling_max_freq")
    policy, (allowed, highest) = min(pairs.items(), key=lambda pair: pair[1][0] / pair[1][1])
    if allowed >= highest:
        return Finding("ok", f"up to {highest / 1e6:g} GHz")
    fix = f"echo {highest} | sudo tee /{policy.relative_to(root)}/scaling_max_freq"
    modes = power_modes(root)
    if is_jetson(root) and modes:
        listed = ", ".join(f"{number} is {name}" for number, name in modes.items())
        fix = f"sudo nvpmodel -m NUMBER, where {listed}"
    return Finding("note", f"capped at {allowed / 1e6:g} of {highest / 1e6:g} GHz, by a setting or by heat", fix)


def temperature(root: Path) -> Finding:
    """Check the processor's temperature against the one at which it is slowed down."""
    now_c, limit_c = ThermalSensor(root).read()
    if now_c is None:
        return unread(root, "sys/class/thermal/thermal_zone*/temp", lost="heat is met only when answers get slower")
    if limit_c is None:
        return Finding("ok", f"{now_c:.1f} °C; the kernel tells no limit, so give one: Policy(max_temperature_c=...)")
    summary = f"{now_c:.1f} °C, {limit_c - now_c:.1f} below where it is slowed down"
    heat = HeatTrend().add(0.0, Readings(temperature_c=now_c, temperature_limit_c=limit_c))
    return Finding("note", summary, _COOL) if heat.warm else Finding("ok", summary)


def throttling(root: Path) -> Finding:
    """Check whether the processor is slowed down now, or was since boot."""
    bits = _firmware_word(root)
    if bits is not None:
        return _judge_firmware(bits)
    now = ThrottlingSensor(root).read()
    if now is None:
        return unread(root, "sys/class/thermal/cooling_device*/cur_state", f"{_POLICIES}/scaling_max_freq")
    events = sum(read_number(counter) or 0 for counter in event_counters(root))
    summary = f"{'yes' if now else 'not'} now; {events:,} events since the start"
    if is_raspberry_pi(root):
        summary = f"{'yes' if now else 'not'} now; since the start: not told, for want of vcgencmd"
    if now or events:
        lower = "sudo nvpmodel -m NUMBER, of a mode with less power" if is_jetson(root) else _COOL
        return Finding("note", summary, lower)
    return Finding("ok", summary)


def _judge_firmware(bits: int) -> Finding:
    now, before = ([name for bit, name in _EVENTS.items() if word & bit] for word in (bits, bits >> 16))
    summary = f"now: {', '.join(now) or 'no'}; since the start: {', '.join(before) or 'no'}"
    if not now and not before:
        return Finding("ok", summary)
    return Finding("note", summary, _SUPPLY if "low voltage" in (*now, *before) else _COOL)


def _firmware_word(root: Path) -> int | None:
    """Return a Raspberry Pi's state bits from the kernel's file, which newer kernels lack, or the firmware's tool."""
    file, tool = firmware_bits(root), root / "usr/bin/vcgencmd"
    if file is not None:
        return int(file.read_text(), 16)
    if not tool.is_file():
        return None
    output = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=False).stdout
    name, _, word = output.strip().partition("=")
    return int(word, 16) if name == "throttled" else None


def _stripped(file: Path) -> str:
    return (read_text(file) or "").strip()
