"""Support DistilBERT: BERT without token types, under names of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from edgedistill.architecture import Architecture
from edgedistill.supernet.families.family import Family

__all__ = ["DistilBert"]


class DistilBert(Family):
    """Read DistilBERT; its head for sequences has a relu where BERT's pooler has a tanh."""

    model_types = ("distilbert",)
    prefix = "distilbert"
    dense = "relu"
    ffn = "hidden_dim"
    activation = "activation"
    bare_model: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    modules = {  # noqa: RUF012 (ClassVar in the base)
        "embeddings.word": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "layers.{}.query": "transformer.layer.{}.attention.q_lin",
        "layers.{}.key": "transformer.layer.{}.attention.k_lin",
        "layers.{}.value": "transformer.layer.{}.attention.v_lin",
        "layers.{}.attention_output": "transformer.layer.{}.attention.out_lin",
        "layers.{}.attention_norm": "transformer.layer.{}.sa_layer_norm",
        "layers.{}.ffn_up": "transformer.layer.{}.ffn.lin1",
        "layers.{}.ffn_down": "transformer.layer.{}.ffn.lin2",
        "layers.{}.ffn_norm": "transformer.layer.{}.output_layer_norm",
    }
    heads = {  # noqa: RUF012 (ClassVar in the base)
        "SequenceClassification": {"dense": "pre_classifier", "classifier": "classifier"},
        "TokenClassification": {"classifier": "classifier"},
    }

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:
        """Return the keys of its config; its norms' epsilon is fixed."""
        keys = super().settings(arch, eps, pad_token_id)
        del keys["layer_norm_eps"]
        return keys
