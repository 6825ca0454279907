"""Run every check in turn; one that fails or hangs does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgedistill.runtime.doctor import (
    inference_checks,
    memory_checks,
    palette_health,
    processor_checks,
    sensor_checks,
    system_checks,
)
from edgedistill.runtime.doctor.finding import Finding

__all__ = ["Check", "CheckResult", "examine", "machine_checks", "palette_checks"]

_PATIENCE_S = 150.0
_REPORT = "report this line, with what 'edgedistill doctor --json' prints"


@dataclass(frozen=True, slots=True)
class Check:
    """Describe a check; a problem found by a ``vital`` one keeps EdgeDistill from running."""

    name: str
    run: Callable[[], Finding]
    vital: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Hold a check's name and finding, and whether that keeps EdgeDistill from running."""

    name: str
    finding: Finding
    fatal: bool


def machine_checks(root: Path = Path("/")) -> list[Check]:
    """Return the checks of the machine."""
    checks: dict[str, Callable[[Path], Finding]] = {
        "system": system_checks.system,
        "Python": system_checks.python,
        "onnxruntime": inference_checks.onnxruntime,
        "int8": inference_checks.int8,
        "memory": memory_checks.memory,
        "memory limit": memory_checks.limit,
        "memory groups": memory_checks.limitable,
        "swap": memory_checks.swap,
        "cores": processor_checks.cores,
        "governor": processor_checks.governor,
        "clock": processor_checks.clock,
        "temperature": processor_checks.temperature,
        "throttling": processor_checks.throttling,
        "CPU load": sensor_checks.cpu_load,
        "run queue": sensor_checks.run_queue,
        "CPU pressure": sensor_checks.cpu_pressure,
        "memory pressure": sensor_checks.memory_pressure,
        "power supply": sensor_checks.power_supply,
        "power mode": sensor_checks.power_mode,
    }
    vital = {"system", "Python", "onnxruntime"}
    return [Check(name, partial(check, root), name in vital) for name, check in checks.items()]


def palette_checks(folder: Path, root: Path = Path("/")) -> list[Check]:
    """Return the checks of a palette on this machine; the others depend on the first."""
    return [
        Check("palette", partial(palette_health.whole, folder), vital=True),
        Check("profile", partial(palette_health.profile, folder, root)),
        Check("subnets", partial(palette_health.memory_fit, folder, root), vital=True),
    ]


def examine(folder: Path | None = None, root: Path = Path("/")) -> Iterator[CheckResult]:
    """Run all checks of the machine, and of the palette in ``folder``."""
    yield from map(_checked, machine_checks(root))
    if folder is not None:
        first, *others = palette_checks(folder, root)
        palette_result = _checked(first)
        yield palette_result
        if not palette_result.fatal:
            yield from map(_checked, others)


def _checked(check: Check) -> CheckResult:
    """Run a check in a thread, which is abandoned if a driver does not answer."""
    findings: list[Finding] = []
    thread = threading.Thread(target=lambda: findings.append(_run_safely(check)), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    finding = findings[0] if findings else Finding("problem", f"no answer for {_PATIENCE_S:g} s", _REPORT)
    return CheckResult(check.name, finding, check.vital and finding.state == "problem")


def _run_safely(check: Check) -> Finding:
    try:
        return check.run()
    except Exception as error:  # noqa: BLE001 (the other checks must still run)
        reason = next(iter(str(error).splitlines()), "")
        return Finding("problem", f"this check failed: {type(error).__name__}: {reason}", _REPORT)
