"""Run step graphs as an export needs them: to check them, and to score them, with the logits of many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.runtime.onnx import OnnxSession, create_session

__all__ = ["Steps"]

_Logits = NDArray[np.float32]


class Steps:
    """Hold a session on a step graph, and the cache of one text.

    Args:
        graph: its file.
        capacity: how many tokens the cache may have.
        threads: of the session.
    """

    def __init__(self, graph: Path, capacity: int, threads: int) -> None:
        self._session: OnnxSession = create_session(graph, threads)
        inputs = self._session.get_inputs()
        self._names = [node.name for node in self._session.get_outputs()]
        self._takes_positions = any(node.name == "position_ids" for node in inputs)
        self._empty = {
            node.name: np.zeros([capacity if size == "capacity" else size for size in node.shape], np.float32)
            for node in inputs
            if node.name.startswith("past_")
        }
        self.begin()

    def begin(self) -> None:
        """Forget the text."""
        self._cache: dict[str, Any] = self._empty
        self._tokens = 0

    def step(self, ids: Sequence[int], positions: Sequence[int] | None = None) -> _Logits:
        """Run the text's next n tokens → logits [m, V] of those at the ``positions`` among the n; of all for None."""
        total = self._tokens + len(ids)
        feeds = {
            "input_ids": np.array([ids], np.int64),
            "seqlens_k": np.array([total - 1], np.int32),
            "total_sequence_length": np.array(total, np.int32),
            "logit_positions": np.array(range(len(ids)) if positions is None else positions, np.int64),
            **({"position_ids": np.arange(self._tokens, total)[None]} if self._takes_positions else {}),
            **self._cache,
        }
        values = dict(zip(self._names, self._session.run(self._names, feeds), strict=True))
        logits: _Logits = values.pop(OUTPUT)[0]
        self._cache = {name.replace("present_", "past_"): value for name, value in values.items()}
        self._tokens = total
        return logits
