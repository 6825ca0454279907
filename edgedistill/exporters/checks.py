"""Check every graph before it ships: by onnx's checker, and against torch on shapes of many kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.encoder_graph import graph_inputs
from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.label_scale import LabelScale
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["TOLERANCE", "check_graph", "check_valid", "largest_difference"]

TOLERANCE = 1e-4
_ROUNDINGS = 4  # to fp32, of a head far from 0: its bias, and parts of its sum
_BATCHES = (1, 5)
_LENGTHS = (1, 17, 128)


def check_graph(path: Path, model: ElasticTransformer, subnet: Subnet, scale: LabelScale | None = None) -> float:
    """Return the largest difference from torch over all probes, as `largest_difference` has it.

    Raises:
        ExportError: the graph is not valid ONNX, or differs by more than `TOLERANCE` and what rounding explains.
    """
    _check_form(path)
    difference = largest_difference(path, model, subnet, scale)
    allowed = TOLERANCE + (0.0 if scale is None else _ROUNDINGS * scale.rounding)
    if not difference <= allowed:
        raise ExportError(
            f"the graph of {subnet.name} differs from torch by {difference:.1e}, expected at most {allowed:.0e}"
        )
    return difference


def check_valid(path: Path, model: ElasticTransformer) -> None:
    """Check that an integer graph is valid and gives finite numbers; torch's answers do not measure it.

    Raises:
        ExportError: the graph is not valid ONNX, or gives a number that is not finite.
    """
    _check_form(path)
    session = create_session(path, threads=2)
    for feeds in _probes(model):
        (outputs,) = session.run([OUTPUT], feeds)
        if not np.isfinite(outputs).all():
            raise ExportError(f"the graph {path.name} gives answers that are not finite")


def _check_form(path: Path) -> None:
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the graph {path.name} is not valid ONNX: {str(error).splitlines()[0]}") from error


@torch.no_grad()
def largest_difference(path: Path, model: ElasticTransformer, subnet: Subnet, scale: LabelScale | None = None) -> float:
    """Return the largest difference of outputs between the graph and the supernet, over batches, lengths and masks.

    It is absolute. For a regression, whose graph answers in the unit of the labels, it is in spreads of the labels, or
    without a ``scale`` relative to the largest output over 1.
    """
    session = create_session(path, threads=2)
    model.eval()
    worst = 0.0
    for feeds in _probes(model):
        inputs = {"token_type_ids": None} | {name: torch.from_numpy(feed) for name, feed in feeds.items()}
        expected = model(**inputs, subnet=subnet).logits
        (actual,) = session.run([OUTPUT], feeds)
        if scale is not None:
            worst = max(worst, _gap(expected, scale.standardised(actual)))
        else:
            size = max(1.0, float(expected.abs().max())) if model.arch.outputs == 1 else 1.0
            worst = max(worst, _gap(expected, actual) / size)
    return worst


def _gap(expected: Tensor, actual: NDArray[np.floating[Any]]) -> float:
    gap = np.abs(expected.numpy() - actual).max()
    return float(gap) if np.isfinite(gap) else float("inf")


def _probes(model: ElasticTransformer) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Yield random token ids; in a batch every row but the first is padded by a different length."""
    rng = np.random.default_rng(0)
    for batch in _BATCHES:
        for length in sorted({min(length, model.arch.positions) for length in _LENGTHS}):
            shape = (batch, length)
            lengths = np.maximum(1, length - np.arange(batch) * length // (batch + 1))
            values = {
                "input_ids": rng.integers(0, model.arch.vocabulary, shape),
                "attention_mask": (np.arange(length) < lengths[:, None]).astype(np.int64),
                "token_type_ids": rng.integers(0, max(1, model.arch.token_types), shape),
            }
            yield {name: values[name] for name in graph_inputs(model.arch)}
