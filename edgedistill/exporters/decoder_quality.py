"""Score a step graph's next tokens on real texts, through onnxruntime, with their uncertainty."""

from __future__ import annotations

from pathlib import Path

import torch

from edgedistill.data.batches import Encoded
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.exporters.quality import bootstrap
from edgedistill.palette import Quality
from edgedistill.runtime.onnx import usable_cores
from edgedistill.tasks.text_generation import TokenFigures

__all__ = ["graph_figures", "next_token_qualities"]

_MAX_LOGITS_AT_ONCE = 1 << 24  # 64 MB


def graph_figures(graph: Path, data: Encoded, vocabulary: int) -> TokenFigures:
    """Return the graph's figures of every row of next tokens, a part of a row at a time."""
    steps = Steps(graph, max(map(len, data.ids)), usable_cores())
    figures = TokenFigures.empty(len(data))
    size = max(1, _MAX_LOGITS_AT_ONCE // vocabulary)
    for row, ids in enumerate(data.ids):
        labels = data.unit_labels([row])
        assert labels is not None
        assert data.words is not None
        places = data.words[row]
        steps.begin()
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            own = [unit for unit, place in enumerate(places) if start <= place < start + len(part)]
            logits = steps.step(part, [places[unit] - start for unit in own])
            figures.add(row, torch.from_numpy(logits), labels[own])
    return figures


def next_token_qualities(figures: TokenFigures, split: str) -> list[Quality]:
    """Return the metrics of a split, each with a percentile bootstrap's 95 % interval over texts."""
    rows, values = len(figures.tokens), figures.metrics()
    return [
        Quality(metric=metric, split=split, value=values[metric], low=low, high=high, examples=rows)
        for metric, (low, high) in bootstrap(figures.metrics, rows, values).items()
    ]
