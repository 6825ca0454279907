"""Score subnets of a supernet on validation data once, and cache the scores next to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.architecture import Subnet
from edgedistill.files import write_json
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["QUALITY", "cached_scores"]

QUALITY = "quality.json"
_SAVED_EVERY = 10
_Scores = dict[str, dict[str, float]]


@contextmanager
def cached_scores(
    supernet: Supernet, folder: Path, metrics: Callable[[Subnet], dict[str, float]]
) -> Iterator[Callable[[Subnet], dict[str, float]]]:
    """Provide ``metrics``, from the file in ``folder`` if it has those of this supernet.

    What was measured is kept even where this is interrupted.
    """
    path, key = folder / QUALITY, _key(supernet)
    scores = _read(path, key)

    def score(subnet: Subnet) -> dict[str, float]:
        name = repr(subnet)
        if name not in scores:
            scores[name] = metrics(subnet)
            if len(scores) % _SAVED_EVERY == 0:
                _write(path, key, scores)
        return scores[name]

    try:
        yield score
    finally:
        _write(path, key, scores)


def _key(supernet: Supernet) -> str:
    """Return a hash of what the scores depend on: the weights, and the supernet's record of its data."""
    digest = hashlib.sha256(supernet.info.model_dump_json().encode())
    for name, tensor in sorted(supernet.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, key: str, scores: _Scores) -> None:
    """Write the scores, except on a read-only or full disk: there a search works without the cache."""
    with suppress(OSError):
        write_json(path, {"supernet": key, "scores": scores})


def _read(path: Path, key: str) -> _Scores:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["supernet"] != key:
            return {}
        return {str(k): {str(m): float(v) for m, v in metrics.items()} for k, metrics in document["scores"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # an unreadable cache counts as empty
