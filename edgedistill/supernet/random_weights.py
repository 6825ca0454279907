"""Build decoders with random weights: baselines that show what slicing is worth."""

from __future__ import annotations

import torch
from torch import nn

from edgedistill.architecture import Architecture
from edgedistill.supernet.lowrank import ElasticLinear
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["random_decoder"]

_SPREAD = 0.02


def random_decoder(
    arch: Architecture, seed: int, *, scale: float = 1.0, eps: float = 1e-6, dropout: float = 0.0
) -> ElasticTransformer:
    """Build a decoder as GPT-2 begins: matrices and tables normal, spread 0.02, biases 0.

    What is added to the residual stream, 2 matrices a layer, is narrower by √(2·layers), so that it adds up to as much
    at any depth. Of a subnet alone the architecture is ``arch.alone(subnet)``.
    """
    generator = torch.Generator().manual_seed(seed)
    model = ElasticTransformer(arch, scale=scale, eps=eps, dropout=dropout)
    for name, module in model.named_modules():
        if isinstance(module, ElasticLinear | nn.Embedding):
            added = name.endswith(("attention_output", "ffn_down"))
            spread = _SPREAD * (2 * arch.layers) ** -0.5 if added else _SPREAD
            module.weight.data.normal_(0.0, spread, generator=generator)
    model.freeze()
    return model.eval()
