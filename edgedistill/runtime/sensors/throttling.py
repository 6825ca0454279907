"""Detect whether the processor is being slowed down, by all signals that this machine has."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgedistill.runtime.kernel_files import read_number, read_text
from edgedistill.runtime.sensors.cached_value import CachedValue
from edgedistill.runtime.sensors.thermal import (
    FIRMWARE_LIMIT_C,
    ThermalSensor,
    cools_processor,
    is_raspberry_pi,
    named_hwmon,
)

__all__ = ["ThrottlingSensor", "event_counters", "firmware_bits"]

_Signal = Callable[[], bool | None]

# Low voltage, frequency capped, throttled, soft temperature limit; the same since the start are bits 16 to 19.
_FIRMWARE_NOW = 0xF


class ThrottlingSensor:
    """Detect throttling: True if any signal reports it, False if all deny it, None without signals."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._thermal = ThermalSensor(root, clock)
        self._counts: dict[Path, int] = {}
        self._signals = CachedValue(self._search, clock)

    def read(self) -> bool | None:
        """Return whether it is throttled; a counter of events reports one since the last call."""
        readings = [reading for signal in self._signals() if (reading := signal()) is not None]
        return any(readings) if readings else None

    def _search(self) -> list[_Signal]:
        signals = [*self._raspberry_pi(), *self._counters(), *_coolers(self._root)]
        # A frequency cap is often intended (a power mode), so it counts only without other signals.
        return signals or _caps(self._root)

    def _raspberry_pi(self) -> list[_Signal]:
        alarms = [folder / "in0_lcrit_alarm" for folder in named_hwmon(self._root, "rpi_volt")]
        signals: list[_Signal] = [partial(_is_positive, alarm) for alarm in alarms]
        bits = firmware_bits(self._root)
        if bits is not None:
            signals.append(partial(_is_set, bits))
        elif is_raspberry_pi(self._root):
            signals.append(self._is_at_firmware_limit)
        return signals

    def _is_at_firmware_limit(self) -> bool | None:
        now_c = self._thermal.read().now_c
        return None if now_c is None else now_c >= FIRMWARE_LIMIT_C

    def _counters(self) -> list[_Signal]:
        return [partial(self._has_risen, file) for file in event_counters(self._root)]

    def _has_risen(self, counter: Path) -> bool | None:
        count = read_number(counter)
        if count is None:
            return None
        before = self._counts.get(counter, count)
        self._counts[counter] = count
        return count > before


def event_counters(root: Path) -> list[Path]:
    """Return the counters, since boot, of events at which the hardware throttles.

    These are over-current and under-voltage events of a Jetson, and heat events of an Intel processor.
    """
    files = [root / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"]
    for folder in named_hwmon(root, "soctherm_oc"):
        files += folder.glob("oc*_event_cnt")
    return [file for file in files if _is_counted(file)]


def firmware_bits(root: Path) -> Path | None:
    """Return the state file of a Raspberry Pi's firmware; kernels since March 2025 have none.

    The first read makes the kernel log a deprecation warning once, at which a kernel with panic_on_warn would halt.
    """
    if read_number(root / "proc/sys/kernel/panic_on_warn"):
        return None
    return next(iter(sorted(root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"))), None)


def _is_set(bits: Path) -> bool | None:
    text = read_text(bits)
    return None if text is None else bool(int(text, 16) & _FIRMWARE_NOW)


def _is_counted(counter: Path) -> bool:
    enabled = counter.with_name(counter.name.replace("_event_cnt", "_throt_en"))
    return read_number(counter) is not None and read_number(enabled) != 0


def _is_positive(file: Path) -> bool | None:
    number = read_number(file)
    return None if number is None else number > 0


def _coolers(root: Path) -> list[_Signal]:
    devices = sorted((root / "sys/class/thermal").glob("cooling_device*"))
    return [partial(_is_positive, device / "cur_state") for device in devices if cools_processor(device)]


def _caps(root: Path) -> list[_Signal]:
    return [partial(_is_capped, policy) for policy in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*"))]


def _is_capped(policy: Path) -> bool | None:
    allowed, highest = read_number(policy / "scaling_max_freq"), read_number(policy / "cpuinfo_max_freq")
    return None if allowed is None or highest is None else allowed < highest
