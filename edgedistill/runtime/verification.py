"""Verify that a palette works here as it did at export: files by hash, members by their recorded answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgedistill.errors import LoadError, PaletteError
from edgedistill.palette import Manifest, Palette, Precision, Probes, SubnetEntry
from edgedistill.runtime.engine.kv_cache import Cache, heads_of
from edgedistill.runtime.engine.step_runner import StepRunner
from edgedistill.runtime.onnx import OnnxSession, StepSession, create_session
from edgedistill.runtime.snapshot import private_copy
from edgedistill.runtime.stopping import apart, run_options
from edgedistill.tasks.task import MEAN_ABSOLUTE_ERROR

__all__ = ["TOLERANCE", "MemberResult", "check_answers", "verify"]

_ROUNDINGS = 4  # roundings to fp32, which matter for a regression's answers far from 0

# Largest `_difference` of an answer. Processors sum in different orders, and in int8 a sum that is rounded the other
# way moves by a whole step.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "int8": 0.1, "int4": 0.1}

_LIMIT_S = 300.0  # to load a subnet, from a slow card too, and to run it


@dataclass(frozen=True, slots=True)
class MemberResult:
    """Hold a member, the difference of its answers from those recorded (None: no answers), and its fault, if any."""

    subnet: str
    difference: float | None
    fault: str | None


def verify(palette: Palette) -> Iterator[MemberResult]:
    """Read every file once, then run every member on the recorded rows.

    Raises:
        PaletteError: a file was altered, or the probes are not this palette's.
    """
    palette.check_hashes()
    palette = private_copy(palette)
    probes = palette.probes()
    if set(probes.answers) != {entry.name for entry in palette.manifest.subnets}:
        raise PaletteError(f"{palette.manifest.probes} is not of this palette's subnets; export the palette again")
    for entry in palette.manifest.subnets:
        yield _checked(palette, entry, probes)


def check_answers(palette: Palette, subnet: str, session: OnnxSession) -> None:
    """Run one member's session on the recorded rows.

    Raises:
        PaletteError: its answers differ from those recorded at export.
        LoadError: it does not run.
    """
    _, fault = _compared(session, palette.manifest, palette.manifest.subnet(subnet), palette.probes())
    if fault is not None:
        raise PaletteError(f"{subnet}: {fault}; export the palette again")


def _checked(palette: Palette, entry: SubnetEntry, probes: Probes) -> MemberResult:
    try:
        manifest = palette.manifest
        return apart(
            lambda: MemberResult(entry.name, *_compared(_session(palette, entry), manifest, entry, probes)), _LIMIT_S
        )
    except LoadError as error:
        return MemberResult(entry.name, None, str(error))


def _session(palette: Palette, entry: SubnetEntry) -> OnnxSession:
    return create_session(palette.graph_path(entry.name), threads=1, weights={entry.weights})


def _compared(
    session: OnnxSession, manifest: Manifest, entry: SubnetEntry, probes: Probes
) -> tuple[float | None, str | None]:
    """Return the difference of its answers from those recorded, and its fault, if any."""
    actual, expected = _answers(session, probes), np.array(probes.answers[entry.name])
    if actual.shape != expected.shape:
        return None, f"it gives {actual.size} numbers, expected {expected.size}"
    if not np.isfinite(actual).all():
        return None, "its answers are not finite"
    difference = _difference(manifest, probes, actual, expected)
    allowed = TOLERANCE[entry.precision]
    if difference <= allowed:
        return difference, None
    return difference, f"its answers differ by {difference:.1e}, expected at most {allowed:g}"


def _difference(
    manifest: Manifest, probes: Probes, actual: NDArray[np.float64], expected: NDArray[np.float64]
) -> float:
    """Return the largest difference over the largest answer, or over 1 if that is more.

    A regression's answers are in the unit of its labels, which may be close together and far from 0. So differences are
    compared with the spread of answers or their error, whichever is larger, less rounding at their offset.
    """
    gap, largest = np.abs(actual - expected).max(), float(np.abs(expected).max())
    errors = [q.value for entry in manifest.subnets for q in entry.quality if q.metric.startswith(MEAN_ABSOLUTE_ERROR)]
    if not errors:
        return float(gap / max(1.0, largest))
    spreads = [float(np.std(answers)) for answers in probes.answers.values()]
    rounding = _ROUNDINGS * float(np.spacing(np.float32(largest)))
    size = max(*errors, *spreads, float(np.finfo(np.float32).tiny))
    return float(np.maximum(gap - rounding, 0.0) / size)


def _answers(session: OnnxSession, probes: Probes) -> NDArray[np.float64]:
    try:
        return _continued(session, probes) if "prompt" in probes.inputs else _outputs(session, probes)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise LoadError(f"it does not run: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


def _outputs(session: OnnxSession, probes: Probes) -> NDArray[np.float64]:
    feeds = {
        node.name: np.array(probes.inputs[node.name], dtype=np.int64)
        for node in session.get_inputs()
        if node.name in probes.inputs
    }
    (outputs,) = session.run(None, feeds, run_options())
    return np.asarray(outputs, dtype=np.float64).ravel()


def _continued(session: OnnxSession, probes: Probes) -> NDArray[np.float64]:
    """Return the logits of the recorded ids after the prompt and after each token of its continuation."""
    (prompt,), (continuation,), (ids,) = (probes.inputs[name] for name in ("prompt", "continuation", "asked"))
    cache = Cache(heads_of(session.get_inputs()), len(prompt) + len(continuation))
    steps = StepRunner(cast(StepSession, session), cache, run_options())
    parts = [steps.run(tokens)[ids] for tokens in (prompt, *([token] for token in continuation))]
    return np.concatenate(parts).astype(np.float64)
