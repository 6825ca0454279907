"""RoBERTa and what is built like it: XLM-RoBERTa, CamemBERT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from edgedistill.subnet import Architecture
from edgedistill.supernet.families.bert import ENCODER
from edgedistill.supernet.families.family import Family, Head

__all__ = ["Roberta"]


class Roberta(Family):
    """BERT's encoder with two tables folded at load.

    Positions are counted from behind the padding token's id, so the rows before that are dropped. Every token
    has type 0, so that row of the token types is added to all positions, and no table of types is left.
    """

    model_types = ("roberta", "xlm-roberta", "camembert")
    prefix = "roberta"
    encoder = {ours: theirs for ours, theirs in ENCODER.items() if ours != "embeddings.token_type"}  # noqa: RUF012
    heads = {  # noqa: RUF012 (ClassVar in the base)
        "SequenceClassification": {"dense": "classifier.dense", "classifier": "classifier.out_proj"},
        "TokenClassification": {"classifier": "classifier"},
    }

    def positions(self, config: Any) -> int:
        """How many tokens a text may have."""
        return int(config.max_position_embeddings) - int(config.pad_token_id) - 1

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None) -> dict[str, Tensor]:
        """The elastic encoder's tensors from those of transformers' model."""
        state = super().read(tensors, arch, head)
        first_type = tensors[f"{self.prefix}.{ENCODER['embeddings.token_type']}.weight"][0]
        state["embeddings.position.weight"] = state["embeddings.position.weight"][-arch.positions :] + first_type
        return state
