"""Check every step graph before it ships: against torch, over lengths, and over ways to feed a text to the cache.

Its operators are onnxruntime's own, which onnx's checker knows nothing of: a session on the graph is the check of its
form.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.checks import TOLERANCE
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["check_step_graph", "check_steps_run"]

_LENGTHS = (1, 17, 64)
_THREADS = 2


def check_step_graph(path: Path, model: ElasticTransformer, subnet: Subnet, context_tokens: int) -> float:
    """Return the largest difference from torch over all probes, none longer than the context.

    Raises:
        ExportError: it is more than `checks.TOLERANCE`.
        LoadError: onnxruntime refuses the graph.
    """
    difference = _largest_difference(path, model, subnet, context_tokens)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the graph of {subnet.name} differs from torch by {difference:.1e}, expected at most {TOLERANCE:.0e}"
        )
    return difference


def check_steps_run(path: Path, model: ElasticTransformer, context_tokens: int) -> None:
    """Check that a graph in few bits runs and gives finite numbers; torch's answers do not measure it.

    Raises:
        ExportError: it gives a number that is not finite.
        LoadError: onnxruntime refuses the graph.
    """
    steps = Steps(path, max(_LENGTHS), _THREADS)
    for ids, parts in _probes(model, context_tokens):
        for logits in _fed(steps, ids, parts):
            if not np.isfinite(logits).all():
                raise ExportError(f"the graph {path.name} gives answers that are not finite")


@torch.no_grad()
def _largest_difference(path: Path, model: ElasticTransformer, subnet: Subnet, context_tokens: int) -> float:
    """Return the largest difference of logits between graph and supernet, relative to the largest logit over 1."""
    steps = Steps(path, max(_LENGTHS), _THREADS)
    model.eval()
    worst = 0.0
    for ids, parts in _probes(model, context_tokens):
        rows = torch.tensor([ids])
        expected = model.logits(rows, torch.ones_like(rows), subnet)[0].numpy()
        actual = np.concatenate(list(_fed(steps, ids, parts)))
        gap = np.abs(expected - actual).max() / max(1.0, float(np.abs(expected).max()))
        worst = max(worst, float(gap) if np.isfinite(gap) else float("inf"))
    return worst


def _fed(steps: Steps, ids: list[int], parts: list[int]) -> Iterator[np.ndarray]:
    """Yield logits [n, V] of one part of the text after the other."""
    steps.begin()
    start = 0
    for part in parts:
        yield steps.step(ids[start : start + part])
        start += part


def _probes(model: ElasticTransformer, context_tokens: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield random token ids, and the lengths of the parts to feed: all at once, a prompt and steps, chunks."""
    rng = np.random.default_rng(0)
    for length in sorted({min(length, context_tokens) for length in _LENGTHS}):
        ids = rng.integers(0, model.arch.vocabulary, length).tolist()
        half = length // 2
        yield ids, [length]
        if half:
            yield ids, [half, *[1] * (length - half)]
            yield ids, [part for part in (1, half, length - half - 1) if part]
