"""Score subnets of a supernet on validation data, once, and keep the scores next to it."""

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
    """``metrics``, but from the file in ``folder`` where those of this very supernet are there already.

    What was measured is kept even where this is interrupted.
    """
    path, key = folder / QUALITY, _key(supernet)
    kept = _read(path, key)

    def score(subnet: Subnet) -> dict[str, float]:
        name = repr(subnet)
        if name not in kept:
            kept[name] = metrics(subnet)
            if len(kept) % _SAVED_EVERY == 0:
                _write(path, key, kept)
        return kept[name]

    try:
        yield score
    finally:
        _write(path, key, kept)


def _key(supernet: Supernet) -> str:
    """What the scores depend on: the weights, and the data that is named in the supernet's own note."""
    digest = hashlib.sha256(supernet.info.model_dump_json().encode())
    for name, tensor in sorted(supernet.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, key: str, kept: _Scores) -> None:
    """A supernet that lies on a read-only or a full disk can be searched too, only not remembered."""
    with suppress(OSError):
        write_json(path, {"supernet": key, "scores": kept})


def _read(path: Path, key: str) -> _Scores:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["supernet"] != key:
            return {}
        return {str(k): {str(m): float(v) for m, v in found.items()} for k, found in document["scores"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a cache that cannot be read is none
