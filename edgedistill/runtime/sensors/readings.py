"""One look at the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Readings", "Sensors"]


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at the machine; None where it does not tell.

    Attributes:
        other_load: share of the usable cores that other processes take, 0 to 1.
        run_queue: tasks of others that run or wait for a core, for each usable core; over 1 some wait. In a
            process of more than 16 threads, its own that run are counted too, all but one.
        free_mb: memory that can still be had, in 10⁶ bytes.
        cpu_pressure: share of the last ten seconds in which a task waited for a core, 0 to 1. Of the control
            group around this process where the kernel tells that (its own threads count), else of the machine.
        memory_pressure: share of the last ten seconds in which a task waited for memory, 0 to 1, likewise.
        temperature_c: the hottest of the zones of the processor and the chip around it, in °C.
        temperature_limit_c: the lowest temperature of such a zone at which the processor is slowed down, in °C.
        throttled: whether the processor is being slowed down, by heat, low voltage or too high a current.
        on_battery: whether the machine lives on its battery.
        battery_share: what the battery holds, 0 to 1.
        power_mode: what the machine calls its present mode: "MAXN" or "15W" on a Jetson, "balanced" on a laptop.
        extra: values of the application's own sensors that have one.
    """

    other_load: float | None = None
    run_queue: float | None = None
    free_mb: float | None = None
    cpu_pressure: float | None = None
    memory_pressure: float | None = None
    temperature_c: float | None = None
    temperature_limit_c: float | None = None
    throttled: bool | None = None
    on_battery: bool | None = None
    battery_share: float | None = None
    power_mode: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict, hash=False)  # so that readings can be hashed


class Sensors(Protocol):
    """Whatever can be read: the machine, or a script in a test."""

    def read(self) -> Readings:
        """The state of the machine now."""
