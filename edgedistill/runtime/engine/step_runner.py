"""Run a subnet's step graph with a cache bound to it in place: inputs and outputs are not copied.

Shapes: n new tokens, v entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.runtime.engine.kv_cache import Cache
from edgedistill.runtime.onnx import LARGE_TOKENS, StepSession, emptying_options, ort_value

__all__ = ["StepRunner"]


class StepRunner:
    """Run one generation's tokens through a session. Not thread-safe; other threads may use the session too.

    Past and present of a layer are bound to the same memory. Inputs of single tokens are bound once and written in
    place; a prompt's are bound for its own run.

    ``options`` are onnxruntime's for each run, ``emptying_options`` those of runs of many tokens.
    """

    def __init__(self, session: StepSession, cache: Cache, options: Any = None, emptying_options: Any = None) -> None:
        self._session, self.cache = session, cache
        self._options, self._emptying_options = options, emptying_options
        self._binding = session.io_binding()
        for heads, array in cache.arrays.items():
            value = ort_value(array)
            self._binding.bind_ortvalue_input(heads.past, value)
            self._binding.bind_ortvalue_output(heads.present, value)
        vocabulary = next(node.shape[-1] for node in session.get_outputs() if node.name == "logits")
        self._logits: NDArray[np.float32] = np.empty((1, 1, vocabulary), np.float32)
        self._binding.bind_ortvalue_output("logits", ort_value(self._logits))
        self._takes_positions = any(node.name == "position_ids" for node in session.get_inputs())
        self._single = self._inputs(1)
        # With cold caches, an element of a memoryview is written much faster than one of an array.
        self._cells = {name: array.reshape(-1).data for name, array in self._single.items()}
        self._bound: dict[str, NDArray[Any]] | None = None

    def run(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Run new tokens, and add them to the cache; return the logits [v] after them, valid until the next run.

        The cache must have capacity for them.
        """
        count, total = len(tokens), self.cache.tokens + len(tokens)
        assert total <= self.cache.capacity, "more tokens than the cache has room for"
        feeds = self._token_feeds(tokens[0], total) if count == 1 else self._prompt_feeds(tokens, total)
        if feeds is not self._bound:
            self._bind(feeds)
        options = self._options if count <= LARGE_TOKENS else self._emptying_options or emptying_options()
        self._session.run_with_iobinding(self._binding, options)
        self.cache.tokens = total
        logits: NDArray[np.float32] = self._logits[0, 0]
        return logits

    def _token_feeds(self, token: int, total: int) -> dict[str, NDArray[Any]]:
        """Return the inputs of one token, the last of ``total``."""
        cells = self._cells
        cells["input_ids"][0] = token
        cells["seqlens_k"][0] = total - 1
        cells["total_sequence_length"][0] = total
        if self._takes_positions:
            cells["position_ids"][0] = total - 1
        return self._single

    def _prompt_feeds(self, tokens: Sequence[int], total: int) -> dict[str, NDArray[Any]]:
        """Return the inputs of several tokens, the last of ``total``; only the last gets logits."""
        feeds = self._inputs(len(tokens))
        feeds["input_ids"][0] = tokens
        feeds["seqlens_k"][0] = total - 1
        feeds["total_sequence_length"][...] = total
        feeds["logit_positions"][0] = len(tokens) - 1
        if self._takes_positions:
            feeds["position_ids"][0] = np.arange(total - len(tokens), total)
        return feeds

    def _inputs(self, count: int) -> dict[str, NDArray[Any]]:
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": np.zeros((1, count), np.int64),
            "seqlens_k": np.zeros(1, np.int32),
            "total_sequence_length": np.zeros((), np.int32),
            "logit_positions": np.zeros(1, np.int64),
        }
        return inputs | ({"position_ids": np.zeros((1, count), np.int64)} if self._takes_positions else {})

    def _bind(self, feeds: dict[str, NDArray[Any]]) -> None:
        for name, array in feeds.items():
            self._binding.bind_ortvalue_input(name, ort_value(array))
        self._bound = feeds
