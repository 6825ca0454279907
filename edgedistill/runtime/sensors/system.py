"""Read all of this machine's sensors."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from edgedistill.errors import InputError
from edgedistill.runtime.onnx import usable_cores
from edgedistill.runtime.sensors.cpu import CpuSensor, RunQueueSensor
from edgedistill.runtime.sensors.free_memory import MemorySensor
from edgedistill.runtime.sensors.guard import Guarded, Patient
from edgedistill.runtime.sensors.power import PowerModeSensor, Supply, SupplySensor
from edgedistill.runtime.sensors.pressure import PressureSensor
from edgedistill.runtime.sensors.readings import Readings
from edgedistill.runtime.sensors.thermal import Temperature, ThermalSensor
from edgedistill.runtime.sensors.throttling import ThrottlingSensor

__all__ = ["SystemSensors"]

_DRIVERS_EVERY_S = 1.0
_POWER_EVERY_S = 5.0  # a laptop's controller may take a tenth of a second to answer
_WAIT_S = 0.05


class SystemSensors:
    """Read this machine's sensors; safe to call from any thread.

    A sensor that fails reads None, is logged once, and is retried now and then. Kernel figures (load, memory, pressure)
    are read at each call. Drivers and the application's sensors are read once a second (power every 5 s), each in a
    thread of its own, and a call waits at most 50 ms for them. A sensor that does not return keeps its last value for
    5 s, then reads None.

    Args:
        root: the folder that stands for "/".
        extra: the application's own sensors by name. Each is called about once a second, in another thread than the
            caller's, and returns a number, or None for no reading. `Policy` may set limits on them.
        clock: monotonic seconds from any start.

    Raises:
        InputError: a sensor of the application is not a function, or has the name of a field of `Readings`.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        extra: Mapping[str, Callable[[], float | None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        usable = usable_cores(root)
        self._load = Guarded("CPU load", CpuSensor(usable, root).read, clock)
        self._run_queue = Guarded("run queue", RunQueueSensor(usable, root, clock).read, clock)
        self._free_memory = Guarded("free memory", MemorySensor(root, clock).read, clock)
        self._cpu_pressure = Guarded("CPU pressure", PressureSensor("cpu", root, clock).read, clock)
        self._memory_pressure = Guarded("memory pressure", PressureSensor("memory", root, clock).read, clock)

        driver = partial(Patient, every_s=_DRIVERS_EVERY_S, clock=clock)
        slow = partial(Patient, every_s=_POWER_EVERY_S, clock=clock)
        self._temperature: Patient[Temperature] = driver("temperature", ThermalSensor(root, clock).read)
        self._throttling: Patient[bool | None] = driver("throttling", ThrottlingSensor(root, clock).read)
        self._supply: Patient[Supply] = slow("power supply", SupplySensor(root, clock).read)
        self._power_mode: Patient[str | None] = slow("power mode", PowerModeSensor(root, clock).read)
        self._extra: dict[str, Patient[float | None]] = {
            name: driver(name, partial(_number, sensor)) for name, sensor in _checked(extra or {}).items()
        }
        self._lock = threading.Lock()

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Return the names of the application's own sensors."""
        return tuple(self._extra)

    def read(self) -> Readings:
        """Return the present state of the machine; CPU load is over the time since the last call."""
        with self._lock:
            threads = [thread for sensor in self._patient() if (thread := sensor.start()) is not None]
            other_load, run_queue = self._load(), self._run_queue()
            free_mb = self._free_memory()
            cpu_pressure, memory_pressure = self._cpu_pressure(), self._memory_pressure()
            _wait(threads)
            temperature = self._temperature.value() or Temperature()
            supply = self._supply.value() or Supply()
            return Readings(
                other_load=other_load,
                run_queue=run_queue,
                free_mb=free_mb,
                cpu_pressure=cpu_pressure,
                memory_pressure=memory_pressure,
                temperature_c=temperature.now_c,
                temperature_limit_c=temperature.limit_c,
                throttled=self._throttling.value(),
                on_battery=supply.on_battery,
                battery_share=supply.battery_share,
                power_mode=self._power_mode.value(),
                extra={name: value for name, sensor in self._extra.items() if (value := sensor.value()) is not None},
            )

    def _patient(self) -> list[Patient[Any]]:
        return [self._temperature, self._throttling, self._supply, self._power_mode, *self._extra.values()]


def _wait(threads: list[threading.Thread]) -> None:
    """Wait for the threads to end, but no longer than the reading loop can afford."""
    until_s = time.monotonic() + _WAIT_S
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


def _checked(extra: Mapping[str, Callable[[], float | None]]) -> Mapping[str, Callable[[], float | None]]:
    taken = {field.name for field in fields(Readings)}
    for name, sensor in extra.items():
        if not (isinstance(name, str) and name) or name in taken:
            raise InputError(f"extra names a sensor {name!r}; expected a name that no field of Readings has")
        if not callable(sensor):
            raise InputError(f"the sensor {name!r} is {sensor!r}; expected a function without arguments")
    return extra


def _number(sensor: Callable[[], float | None]) -> float | None:
    value = sensor()
    if value is not None and not math.isfinite(value):
        raise ValueError(f"it gave {value!r}, which is not a finite number")
    return None if value is None else float(value)
