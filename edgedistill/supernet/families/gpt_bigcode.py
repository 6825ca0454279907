"""Support GPT-BigCode: SantaCoder and StarCoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.supernet.families.gpt2 import Gpt2

__all__ = ["GptBigCode"]


class GptBigCode(Gpt2):
    """Read a GPT-2 whose heads may all read one head of keys and values; its matrices are [out, in].

    Without multi-query attention its one matrix has the rows of a head's queries, keys and values together.
    """

    model_types = ("gpt_bigcode",)
    transposed = False

    def kv_heads(self, config: Any) -> int:
        """Return how many heads of keys and values there are."""
        return 1 if config.multi_query else int(config.n_head)

    def settings(self, arch: Architecture, eps: float, pad_token_id: int = 0) -> dict[str, Any]:
        """Return the keys of its config."""
        return super().settings(arch, eps, pad_token_id) | {"multi_query": arch.kv_heads == 1}

    def split(self, fused: Tensor, arch: Architecture) -> tuple[Tensor, Tensor, Tensor]:
        """Split the rows of the one matrix, or of its bias, → queries, keys and values."""
        if arch.kv_heads == 1:
            return super().split(fused, arch)
        by_head = fused.view(arch.heads, 3, arch.head_size, *fused.shape[1:])
        q, k, v = (by_head[:, part].flatten(0, 1) for part in range(3))
        return q, k, v

    def join(self, q: Tensor, k: Tensor, v: Tensor, arch: Architecture) -> Tensor:
        """Join what ``split`` takes apart."""
        if arch.kv_heads == 1:
            return super().join(q, k, v, arch)
        by_head = [part.view(arch.heads, arch.head_size, *part.shape[1:]) for part in (q, k, v)]
        return torch.stack(by_head, 1).flatten(0, 2)
