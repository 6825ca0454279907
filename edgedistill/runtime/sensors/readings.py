"""Define the readings of a machine, and the protocol of what provides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Readings", "Sensors"]


@dataclass(frozen=True, slots=True)
class Readings:
    """Hold one sample of the machine's state; None for what is not available.

    Attributes:
        other_load: share of the usable cores that other processes take, 0 to 1.
        run_queue: other processes' tasks that run or wait for a core, per usable core; above 1 some wait. In a process
            of more than 16 threads, its own running threads but one are counted too.
        free_mb: memory that can still be allocated, in 10⁶ bytes.
        cpu_pressure: share of the last ten seconds in which a task waited for a core, 0 to 1. It is that of the control
            group around this process if the kernel reports it (own threads included), or else of the machine.
        memory_pressure: share of the last ten seconds in which a task waited for memory, 0 to 1, of the same group.
        temperature_c: the hottest of the zones of the processor and the chip around it, in °C.
        temperature_limit_c: the lowest temperature of such a zone at which the processor is slowed down, in °C.
        throttled: whether the processor is being slowed down, by heat, low voltage or too high a current.
        on_battery: whether the machine runs on battery.
        battery_share: charge of the battery, 0 to 1.
        power_mode: the machine's name of its present mode: "MAXN" or "15W" on a Jetson, "balanced" on a laptop.
        extra: readings of the application's own sensors, by name.
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
    """Provide readings: of the machine, or from a script in a test."""

    def read(self) -> Readings:
        """Return the present state of the machine."""
