"""Hold a generation's cache slot on a subnet: the lease, the cache, and the graph bound to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgedistill.runtime.engine.kv_cache import Cache, heads_of
from edgedistill.runtime.engine.step_runner import StepRunner
from edgedistill.runtime.onnx import StepSession
from edgedistill.runtime.sessions import Lease, LoadedSubnet

__all__ = ["CacheSlot"]


class CacheSlot:
    """Hold a lease from token to token, so that a retired subnet stays until its texts have ended or moved.

    ``capacity``: the capacity of the cache in tokens.

    Raises:
        PaletteError: the shape of the graph's caches is not as expected.
    """

    def __init__(self, lease: Lease, capacity: int) -> None:
        self._lease = lease
        self._cache = Cache(heads_of(lease.subnet.session.get_inputs()), capacity)
        self._steps: StepRunner | None = _steps(lease.subnet, self._cache)

    @property
    def subnet(self) -> LoadedSubnet:
        """Return the subnet of the slot."""
        return self._lease.subnet

    def missing(self, tokens: Sequence[int]) -> Sequence[int]:
        """Return the tokens that are not in the cache yet."""
        return tokens[self._cache.tokens :]

    def run(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Run further tokens; return the logits after them, valid until the next run."""
        assert self._steps is not None, "used after release"
        return self._steps.run(tokens)

    def change_session(self, lease: Lease) -> None:
        """Continue with another session of the same graph, bound to the same cache."""
        self._steps = _steps(lease.subnet, self._cache)
        self._lease.release()
        self._lease = lease

    def leave(self) -> None:
        """Drop the cache and the session's bindings, then end the lease."""
        self._steps = None
        self._cache = Cache((), 0)
        self._lease.release()


def _steps(subnet: LoadedSubnet, cache: Cache) -> StepRunner:
    return StepRunner(cast("StepSession", subnet.session), cache, subnet.options, subnet.emptying_options)
