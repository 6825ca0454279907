"""What subnets of a supernet score on validation data, measured once and kept beside the supernet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.manifest import write_atomically
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["QUALITY", "scored_once"]

QUALITY = "quality.json"
_SAVED_EVERY = 10


@contextmanager
def scored_once(
    supernet: Supernet, folder: Path, quality: Callable[[SubnetConfig], float]
) -> Iterator[Callable[[SubnetConfig], float]]:
    """``quality``, but from the file in ``folder`` where a score of this very supernet is there already.

    What was measured is kept even where this is interrupted.
    """
    path, key = folder / QUALITY, _key(supernet)
    kept = _read(path, key)

    def score(subnet: SubnetConfig) -> float:
        name = repr(subnet)
        if name not in kept:
            kept[name] = quality(subnet)
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


def _write(path: Path, key: str, kept: dict[str, float]) -> None:
    """A supernet that lies on a read-only or a full disk can be searched too, only not remembered."""
    with suppress(OSError):
        write_atomically(path, {"supernet": key, "scores": kept})


def _read(path: Path, key: str) -> dict[str, float]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in document["scores"].items()} if document["supernet"] == key else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a cache that cannot be read is none
