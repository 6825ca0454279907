"""Support BERT: MiniLM and every other checkpoint whose ``model_type`` is ``bert``."""

from __future__ import annotations

from edgedistill.supernet.families.family import Family

__all__ = ["ENCODER", "Bert"]

ENCODER = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{}.query": "encoder.layer.{}.attention.self.query",
    "layers.{}.key": "encoder.layer.{}.attention.self.key",
    "layers.{}.value": "encoder.layer.{}.attention.self.value",
    "layers.{}.attention_output": "encoder.layer.{}.attention.output.dense",
    "layers.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layers.{}.ffn_up": "encoder.layer.{}.intermediate.dense",
    "layers.{}.ffn_down": "encoder.layer.{}.output.dense",
    "layers.{}.ffn_norm": "encoder.layer.{}.output.LayerNorm",
}


class Bert(Family):
    """Read BERT; its pooler, a tanh layer over the first token, is part of the encoder's checkpoint."""

    model_types = ("bert",)
    prefix = "bert"
    modules = ENCODER
    heads = {  # noqa: RUF012 (ClassVar in the base)
        "SequenceClassification": {"dense": "bert.pooler.dense", "classifier": "classifier"},
        "TokenClassification": {"classifier": "classifier"},
    }
