"""Describe where a palette comes from: names and hashes, and nothing of the workstation's folders."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import onnx

from edgedistill.palette import Provenance
from edgedistill.supernet.checkpoint import SupernetInfo

__all__ = ["provenance_of"]


def provenance_of(info: SupernetInfo) -> Provenance:
    """Describe a palette's origin. Only the last part of a path goes into it, as palettes are handed on."""
    return Provenance(
        base_model=_public(info.base_model, is_id=info.base_revision is not None),
        base_revision=info.base_revision,
        base_sha256=info.base_sha256,
        data=None if info.data.data is None else _public(info.data.data),
        unlabelled=None if info.data.unlabelled is None else _public(info.data.unlabelled),
        data_sha256=info.data.sha256,
        seed=info.seed,
        stages=info.stages,
        rank=info.rank,
        versions=info.versions | {"onnx": onnx.__version__, "edgedistill": metadata.version("edgedistill")},
    )


def _public(source: str, *, is_id: bool | None = None) -> str:
    """Return a hub id (owner/name) as it is, and of a path its last part."""
    if is_id is None:
        is_id = source.count("/") == 1 and not source.startswith((".", "/", "~"))
    return source if is_id else Path(source).absolute().name or "data"
