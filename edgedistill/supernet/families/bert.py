"""BERT: MiniLM and every other checkpoint whose ``model_type`` is ``bert``."""

from __future__ import annotations

import re

__all__ = ["hugging_face_name"]

_PLAIN = {
    "embeddings.word.weight": "embeddings.word_embeddings.weight",
    "embeddings.position.weight": "embeddings.position_embeddings.weight",
    "embeddings.token_type.weight": "embeddings.token_type_embeddings.weight",
    "embeddings.norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
_IN_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "ffn_norm": "output.LayerNorm",
}


def hugging_face_name(name: str) -> str:
    """The elastic encoder's tensor name → its name in ``BertForSequenceClassification``."""
    if name.startswith("classifier."):
        return name
    if match := re.fullmatch(r"layers\.(\d+)\.(\w+)\.(weight|bias)", name):
        index, part, kind = match.groups()
        return f"bert.encoder.layer.{index}.{_IN_LAYER[part]}.{kind}"
    if name in _PLAIN:
        return f"bert.{_PLAIN[name]}"
    part, kind = name.rsplit(".", 1)
    return f"bert.{_PLAIN[part]}.{kind}"
