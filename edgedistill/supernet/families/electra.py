"""Support ELECTRA's discriminators, the models that are fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from edgedistill.architecture import Architecture
from edgedistill.supernet.families.bert import ENCODER
from edgedistill.supernet.families.family import Family

__all__ = ["Electra"]


class Electra(Family):
    """Read BERT's encoder without a pooler; a projection follows embedding tables that are narrower than the states."""

    model_types = ("electra",)
    prefix = "electra"
    dense = "gelu"
    bare_model: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    modules = ENCODER | {"projection": "embeddings_project"}
    heads = {  # noqa: RUF012 (ClassVar in the base)
        "SequenceClassification": {"dense": "classifier.dense", "classifier": "classifier.out_proj"},
        "TokenClassification": {"classifier": "classifier"},
    }

    def architecture(self, config: Any) -> Architecture:
        """Return the dimensions that a transformers config states, without a head."""
        width = config.embedding_size
        return replace(super().architecture(config), table_width=0 if width == config.hidden_size else width)

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:
        """Return the keys of its config."""
        return super().settings(arch, eps, pad_token_id) | {"embedding_size": arch.table_width or arch.hidden}
