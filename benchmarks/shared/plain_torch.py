"""Build a subnet as a plain torch module, which latency.py runs eagerly and compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.architecture import Architecture, LayerShape, Subnet
from edgedistill.supernet.layers import attention_bias
from edgedistill.supernet.model import classify


class PlainEncoder(nn.Module):
    """Compute a subnet from its own sliced tensors, with torch's fused attention."""

    def __init__(self, arch: Architecture, subnet: Subnet, tensors: Mapping[str, Tensor], eps: float) -> None:
        super().__init__()
        self.arch = arch
        self.word = _table(tensors, "embeddings.word")
        self.position = _table(tensors, "embeddings.position")
        self.token_type = _table(tensors, "embeddings.token_type")
        self.norm = _norm(tensors, "embeddings.norm", eps)
        self.layers = nn.ModuleList(_Layer(arch.head_size, shape, tensors, eps) for shape in subnet.layers)
        self.dense = _linear(tensors, "dense") if arch.dense else None
        self.classifier = _linear(tensors, "classifier")
        self.requires_grad_(False)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the outputs [b, c] of inputs [b, n] int64."""
        positions = torch.arange(input_ids.shape[1])
        x = self.norm(self.word(input_ids) + self.position(positions) + self.token_type(token_type_ids))
        bias = attention_bias(attention_mask, x.dtype, causal=False)
        for layer in self.layers:
            x = layer(x, bias)
        return classify(self.arch, x, attention_mask, self.dense, self.classifier)


class _Layer(nn.Module):
    def __init__(self, head_size: int, shape: LayerShape, tensors: Mapping[str, Tensor], eps: float) -> None:
        super().__init__()
        prefix = f"layers.{shape.index}"
        self.head_size = head_size
        self.query, self.key, self.value, self.attention_output, self.ffn_up, self.ffn_down = (
            _linear(tensors, f"{prefix}.{part}")
            for part in ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
        )
        self.attention_norm = _norm(tensors, f"{prefix}.attention_norm", eps)
        self.ffn_norm = _norm(tensors, f"{prefix}.ffn_norm", eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (
            part(x).view(b, n, -1, self.head_size).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.attention_output(context))
        result: Tensor = self.ffn_norm(x + self.ffn_down(F.gelu(self.ffn_up(x))))
        return result


def _table(tensors: Mapping[str, Tensor], name: str) -> nn.Embedding:
    weight = tensors[f"{name}.weight"]
    table = nn.Embedding(*weight.shape)
    table.load_state_dict({"weight": weight})
    return table


def _linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = tensors[f"{name}.weight"]
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
    return linear


def _norm(tensors: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm:
    weight = tensors[f"{name}.weight"]
    norm = nn.LayerNorm(weight.shape[0], eps)
    norm.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
    return norm
