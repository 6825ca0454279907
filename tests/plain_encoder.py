"""An encoder written down plainly, over a dictionary of sliced tensors: what a subnet has to compute.

It shares no code with the elastic encoder, and every layer may have widths of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.architecture import Architecture, Subnet


def run(
    tensors: Mapping[str, Tensor], arch: Architecture, subnet: Subnet, ids: Tensor, mask: Tensor, types: Tensor
) -> Tensor:
    """Outputs [b, c], or [b, n, c] where each token is answered on its own, one text at a time."""
    texts = zip(ids, mask, types, strict=True)
    return torch.stack([_text(tensors, arch, subnet, *(row[None] for row in text))[0] for text in texts])


def _text(
    t: Mapping[str, Tensor], arch: Architecture, subnet: Subnet, ids: Tensor, mask: Tensor, types: Tensor
) -> Tensor:
    count = int(mask.sum())
    x = t["embeddings.word.weight"][ids[:, :count]] + t["embeddings.position.weight"][:count]
    if arch.token_types:
        x = x + t["embeddings.token_type.weight"][types[:, :count]]
    x = _norm(t, "embeddings.norm", x)
    if arch.table_width:
        x = _linear(t, "projection", x)
    for layer in subnet.layers:
        name = f"layers.{layer.index}"
        q, k, v = (
            _linear(t, f"{name}.{part}", x).unflatten(-1, (layer.heads, arch.head_size)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = _norm(t, f"{name}.attention_norm", x + _linear(t, f"{name}.attention_output", context))
        up = _linear(t, f"{name}.ffn_up", x)
        down = _linear(t, f"{name}.ffn_down", _gelu(up))
        x = _norm(t, f"{name}.ffn_norm", x + down)
    if arch.pooling == "each":
        x = F.pad(x, (0, 0, 0, ids.shape[1] - count))
    else:
        x = x[:, 0] if arch.pooling == "first" else x.mean(1)
    if arch.dense:
        x = _linear(t, "dense", x)
        x = {"tanh": torch.tanh, "relu": F.relu, "gelu": _gelu}[arch.dense](x)
    result = _linear(t, "classifier", x)
    return result / result.norm(dim=-1, keepdim=True) if arch.normalise else result


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def _linear(t: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def _norm(t: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-12)
