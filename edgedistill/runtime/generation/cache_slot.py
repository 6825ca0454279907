"""A generation's place on a subnet: the lease, the cache, and the graph that is bound to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgedistill.runtime.generation.cache import Cache, heads_of
from edgedistill.runtime.generation.steps import StepRunner
from edgedistill.runtime.onnx import StepSession
from edgedistill.runtime.sessions import Lease, LoadedSubnet

__all__ = ["CacheSlot"]


class CacheSlot:
    """Held from token to token, so that a subnet that no longer serves stays until its texts have ended or moved.

    ``capacity``: tokens that the cache has room for.

    Raises:
        PaletteError: the graph has caches of another shape than expected.
    """

    def __init__(self, lease: Lease, capacity: int) -> None:
        self._lease = lease
        self._cache = Cache(heads_of(lease.subnet.session.get_inputs()), capacity)
        self._steps: StepRunner | None = _steps(lease.subnet, self._cache)

    @property
    def subnet(self) -> LoadedSubnet:
        """The subnet that it is on."""
        return self._lease.subnet

    def missing(self, tokens: Sequence[int]) -> Sequence[int]:
        """Those of the tokens so far that the cache does not have yet."""
        return tokens[self._cache.tokens :]

    def run(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The logits after these further tokens, valid until the next run."""
        assert self._steps is not None, "used after leaving"
        return self._steps.run(tokens)

    def change_session(self, lease: Lease) -> None:
        """Go on with another session of the same graph, to which the same cache is bound."""
        self._steps = _steps(lease.subnet, self._cache)
        self._lease.release()
        self._lease = lease

    def leave(self) -> None:
        """Drop the cache, and what holds the session; then end the lease."""
        self._steps = None
        self._cache = Cache((), 0)
        self._lease.release()


def _steps(subnet: LoadedSubnet, cache: Cache) -> StepRunner:
    return StepRunner(cast("StepSession", subnet.session), cache, subnet.options, subnet.emptying_options)
