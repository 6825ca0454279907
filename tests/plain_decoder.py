"""A decoder written down plainly, over a dictionary of sliced tensors: what a subnet has to compute.

It shares no code with the elastic decoder, and every layer may have widths of its own. One text at a time, without
padding; rotations are products of complex numbers, and every query head has its own copy of keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.architecture import Architecture, Subnet

Tensors = Mapping[str, Tensor]


def run(t: Tensors, arch: Architecture, subnet: Subnet, ids: Tensor, eps: float) -> Tensor:
    """Ids [n] → logits [n, v]."""
    x = t["word.weight"][ids]
    if arch.rope_theta is None:
        x = x + t["position.weight"][: len(ids)]
    for layer in subnet.layers:
        name = f"layers.{layer.index}"
        context = _attention(t, arch, name, _norm(t, f"{name}.attention_norm", x, eps), eps)
        x = x + _linear(t, f"{name}.attention_output", context)
        y = _norm(t, f"{name}.ffn_norm", x, eps)
        up = _linear(t, f"{name}.ffn_up", y)
        inner = _activation(arch, _linear(t, f"{name}.ffn_gate", y)) * up if arch.gated else _activation(arch, up)
        x = x + _linear(t, f"{name}.ffn_down", inner)
    return _norm(t, "norm", x, eps) @ t["word.weight" if arch.tied else "head.weight"].T


def _attention(t: Tensors, arch: Architecture, name: str, x: Tensor, eps: float) -> Tensor:
    q, k, v = (
        _linear(t, f"{name}.{part}", x).unflatten(-1, (-1, arch.head_size)).transpose(0, 1)
        for part in ("query", "key", "value")
    )
    if arch.qk_norm:
        q, k = _norm(t, f"{name}.query_norm", q, eps), _norm(t, f"{name}.key_norm", k, eps)
    if arch.rope_theta is not None:
        q, k = _rotate(q, arch.rope_theta), _rotate(k, arch.rope_theta)
    copies = len(q) // len(k)
    k, v = k.repeat_interleave(copies, 0), v.repeat_interleave(copies, 0)
    return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0].transpose(0, 1).flatten(1)


def _rotate(x: Tensor, theta: float) -> Tensor:
    """x [h, n, s], feature i the real and i + s/2 the imaginary part of a number."""
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[1]).double(), theta ** (-torch.arange(half).double() / half))
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), -1).float()


def _activation(arch: Architecture, x: Tensor) -> Tensor:
    if arch.activation == "silu":
        return x / (1 + torch.exp(-x))
    if arch.activation == "gelu":
        return x * 0.5 * (1 + torch.erf(x / 2**0.5))
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _linear(t: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def _norm(t: Tensors, name: str, x: Tensor, eps: float) -> Tensor:
    weight, bias = t[f"{name}.weight"], t.get(f"{name}.bias")
    if bias is None:
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
