"""Every check, one after the other: one that fails or hangs takes no other down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgedistill.runtime.doctor import inference, memory, palette, processor, sensing, system
from edgedistill.runtime.doctor.finding import Finding

__all__ = ["Check", "Checked", "examine", "machine_checks", "palette_checks"]

_PATIENCE_S = 150.0
_REPORT = "report this line, with what 'edgedistill doctor --json' prints"


@dataclass(frozen=True, slots=True)
class Check:
    """``vital``: a problem that it finds keeps EdgeDistill from running."""

    name: str
    look: Callable[[], Finding]
    vital: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A check's name, what it came to, and whether that keeps EdgeDistill from running."""

    name: str
    finding: Finding
    fatal: bool


def machine_checks(root: Path = Path("/")) -> list[Check]:
    """Those of the machine alone."""
    looks: dict[str, Callable[[Path], Finding]] = {
        "system": system.system,
        "Python": system.python,
        "onnxruntime": inference.onnxruntime,
        "int8": inference.int8,
        "memory": memory.memory,
        "memory limit": memory.limit,
        "memory groups": memory.limitable,
        "swap": memory.swap,
        "cores": processor.cores,
        "governor": processor.governor,
        "clock": processor.clock,
        "temperature": processor.temperature,
        "throttling": processor.throttling,
        "CPU load": sensing.cpu_load,
        "run queue": sensing.run_queue,
        "CPU pressure": sensing.cpu_pressure,
        "memory pressure": sensing.memory_pressure,
        "power supply": sensing.power_supply,
        "power mode": sensing.power_mode,
    }
    vital = {"system", "Python", "onnxruntime"}
    return [Check(name, partial(look, root), name in vital) for name, look in looks.items()]


def palette_checks(folder: Path, root: Path = Path("/")) -> list[Check]:
    """Those of a palette on this machine; without the first the others say nothing."""
    return [
        Check("palette", partial(palette.whole, folder), vital=True),
        Check("profile", partial(palette.profile, folder, root)),
        Check("subnets", partial(palette.memory_fit, folder, root), vital=True),
    ]


def examine(folder: Path | None = None, root: Path = Path("/")) -> Iterator[Checked]:
    """Make all checks of the machine, and of the palette in ``folder``."""
    yield from map(_checked, machine_checks(root))
    if folder is not None:
        first, *others = palette_checks(folder, root)
        palette_found = _checked(first)
        yield palette_found
        if not palette_found.fatal:
            yield from map(_checked, others)


def _checked(check: Check) -> Checked:
    """What it came to; a driver that does not answer is left alone in its thread."""
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(_looked(check)), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    finding = found[0] if found else Finding("problem", f"no answer for {_PATIENCE_S:g} s", _REPORT)
    return Checked(check.name, finding, check.vital and finding.state == "problem")


def _looked(check: Check) -> Finding:
    try:
        return check.look()
    except Exception as error:  # noqa: BLE001 (the others have to be made all the same)
        reason = next(iter(str(error).splitlines()), "")
        return Finding("problem", f"this check failed: {type(error).__name__}: {reason}", _REPORT)
