"""What is kept of the machine while it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedistill.device_profiles.conditions import ProcessorWatch, measured_conditions


def _machine(root: Path, *, temperature: int, clock_khz: int, cooling: int) -> None:
    """A thermal zone of the processor, the clock of its cores, and a cooling device that slows them down."""
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": str(temperature),
        "sys/class/thermal/cooling_device0/type": "Processor",
        "sys/class/thermal/cooling_device0/cur_state": str(cooling),
        "sys/class/thermal/cooling_device0/max_state": "3",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": str(clock_khz),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_temperature_and_clock_are_those_before_and_after(tmp_path: Path) -> None:
    _machine(tmp_path, temperature=41_000, clock_khz=2_400_000, cooling=0)
    watch = ProcessorWatch(tmp_path)
    watch.look()
    _machine(tmp_path, temperature=63_500, clock_khz=2_000_000, cooling=0)
    watch.look()
    _machine(tmp_path, temperature=79_000, clock_khz=1_500_000, cooling=2)
    watch.look()
    found = measured_conditions(4, watch, [(0.0, 10.0)], 0.75)
    assert found.temperature_c == (41.0, 79.0)
    assert found.clock_mhz == (2400.0, 1500.0)
    assert found.throttled is True
    assert found.kept_pace == 0.75


def test_what_the_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    watch = ProcessorWatch(tmp_path)
    watch.look()
    found = measured_conditions(1, watch, [], 1.0)
    assert (found.temperature_c, found.clock_mhz, found.throttled) == (None, None, None)


@pytest.mark.parametrize(
    ("pieces", "load", "quiet"),
    [([(0.5, 10.0), (0.0, 10.0)], 0.025, True), ([(0.0, 10.0), (4.0, 10.0)], 0.2, False), ([(30.0, 10.0)], 1.0, False)],
)
def test_other_work_is_of_all_pieces_together(
    tmp_path: Path, pieces: list[tuple[float, float]], load: float, quiet: bool
) -> None:
    found = measured_conditions(1, ProcessorWatch(tmp_path), pieces, 1.0)
    assert (found.other_load, found.quiet) == (load, quiet)
