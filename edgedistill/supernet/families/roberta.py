"""Support RoBERTa and what is built like it: XLM-RoBERTa, CamemBERT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.families.bert import ENCODER
from edgedistill.supernet.families.family import Family, Head

__all__ = ["Roberta"]


class Roberta(Family):
    """Fold two of BERT's tables at load.

    Positions are counted from behind the padding token's id, so the rows before that are dropped. Every token
    has type 0, so that row of the token types is added to all positions, and no table of types is left.
    """

    model_types = ("roberta", "xlm-roberta", "camembert")
    prefix = "roberta"
    modules = {ours: theirs for ours, theirs in ENCODER.items() if ours != "embeddings.token_type"}  # noqa: RUF012
    heads = {  # noqa: RUF012 (ClassVar in the base)
        "SequenceClassification": {"dense": "classifier.dense", "classifier": "classifier.out_proj"},
        "TokenClassification": {"classifier": "classifier"},
    }

    def check(self, config: Any) -> None:
        """Refuse what the elastic transformer does not compute.

        Raises:
            ModelError: as every family, and if a padding token, from which positions are counted, is missing.
        """
        super().check(config)
        if not isinstance(config.pad_token_id, int):
            raise ModelError(
                f"the model's config.json has pad_token_id = {config.pad_token_id!r}; "
                f"a {config.model_type} counts positions from it"
            )

    def positions(self, config: Any) -> int:
        """Return how many tokens a text may have."""
        return int(config.max_position_embeddings) - int(config.pad_token_id) - 1

    def read(self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None = None) -> dict[str, Tensor]:
        """Return the elastic transformer's tensors from those of transformers' model."""
        state = super().read(tensors, arch, head)
        first_type = tensors[f"{self.prefix}.{ENCODER['embeddings.token_type']}.weight"][0]
        state["embeddings.position.weight"] = state["embeddings.position.weight"][-arch.positions :] + first_type
        return state

    def write(
        self, tensors: Mapping[str, Tensor], arch: Architecture, head: Head | None = None, pad_token_id: int = 0
    ) -> dict[str, Tensor]:
        """Return the tensors of transformers' model: the type is in the positions, so its own row is zero."""
        named = super().write(tensors, arch, head, pad_token_id)
        table = f"{self.prefix}.{ENCODER['embeddings.position']}.weight"
        named[table] = F.pad(named[table], (0, 0, pad_token_id + 1, 0))
        named[f"{self.prefix}.{ENCODER['embeddings.token_type']}.weight"] = torch.zeros(1, arch.hidden)
        return named

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:
        """Return the keys of its config."""
        keys = super().settings(arch, eps, pad_token_id)
        return keys | {"max_position_embeddings": arch.positions + pad_token_id + 1, "type_vocab_size": 1}
