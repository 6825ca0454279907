"""Read checkpoints of llama2.c's first binary format: a Llama-type model as one file of fp32 numbers.

The file is seven int32, little-endian: hidden width d, FFN width f, layers l, heads h, KV heads k, vocabulary v
(negative where the head is not the embedding table) and positions p; then fp32 tensors, each of all layers at once:
embeddings [v, d], attention norms [l, d], queries [l, h·s, d], keys and values [l, k·s, d], attention outputs
[l, d, h·s], FFN norms [l, d], gates [l, f, d], downs [l, d, f], ups [l, f, d], the last norm [d], the rotations'
cosines and sines [p, s/2] each, which follow from p, and an untied head [v, d]. Rotations pair the features 2i and
2i + 1 of a head, where `edgedistill.supernet.layers` pairs i and i + s/2.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.errors import ModelError
from edgedistill.supernet.families.llama import LLAMA_BLOCK
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["llama2c_files", "load_llama2c"]

_HEADER = struct.Struct("<7i")
_THETA, _EPS = 10_000.0, 1e-5  # which the format does not state: llama2.c's own


def llama2c_files(folder: Path) -> tuple[Path, Path] | None:
    """Return the checkpoint and the tokenizer (tok*.bin) in a folder of llama2.c's; None in any other folder."""
    if (folder / "config.json").exists():
        return None
    tokenizers = sorted(folder.glob("tok*.bin"))
    checkpoints = sorted(set(folder.glob("*.bin")) - set(tokenizers))
    return (checkpoints[0], tokenizers[0]) if len(checkpoints) == len(tokenizers) == 1 else None


def load_llama2c(path: Path, *, scale: float, dropout: float) -> ElasticTransformer:
    """Load the checkpoint as an elastic decoder.

    Raises:
        ModelError: the file cannot be read, or is none of this format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    arch = _architecture(path, data)
    layout = _layout(arch)
    numbers = sum(torch.Size(shape).numel() for shape in layout.values())
    if len(data) != _HEADER.size + 4 * numbers:
        raise ModelError(
            f"{path} has {len(data)} bytes; its header asks for {_HEADER.size + 4 * numbers}: "
            "expected a whole checkpoint of llama2.c's first format (version 0, fp32)"
        )
    model = ElasticTransformer(arch, scale=scale, eps=_EPS, dropout=dropout)
    tensors = _tensors(data, layout)
    used = {name: tensor for name, tensor in tensors.items() if name != "rotations"}
    broken = [name for name, tensor in used.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(f"{path}: the tensor {broken[0]!r} is not finite; download the checkpoint again")
    model.load_state_dict(_state(arch, tensors))
    model.freeze()
    return model.eval()


def _architecture(path: Path, data: bytes) -> Architecture:
    header = _HEADER.unpack_from(data) if len(data) >= _HEADER.size else (0,) * 7
    hidden, ffn, layers, heads, kv_heads, vocabulary, positions = header
    counts = (hidden, ffn, layers, heads, kv_heads, abs(vocabulary), positions)
    if min(counts) <= 0 or hidden % heads or heads % kv_heads or hidden // heads % 2:
        raise ModelError(f"{path} begins with {header}, which are not the dimensions of a llama2.c checkpoint")
    return Architecture(
        model_type="llama",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        ffn=ffn,
        vocabulary=abs(vocabulary),
        positions=positions,
        rope_theta=_THETA,
        tied=vocabulary > 0,
        **LLAMA_BLOCK,
    )


def _layout(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shapes in the file's order, by the elastic decoder's names; {} stands for all layers."""
    layers, d, f, size = arch.layers, arch.hidden, arch.ffn, arch.head_size
    inner, shared = arch.heads * size, arch.kv_heads * size
    layout: dict[str, tuple[int, ...]] = {
        "word": (arch.vocabulary, d),
        "layers.{}.attention_norm": (layers, d),
        "layers.{}.query": (layers, inner, d),
        "layers.{}.key": (layers, shared, d),
        "layers.{}.value": (layers, shared, d),
        "layers.{}.attention_output": (layers, d, inner),
        "layers.{}.ffn_norm": (layers, d),
        "layers.{}.ffn_gate": (layers, f, d),
        "layers.{}.ffn_down": (layers, d, f),
        "layers.{}.ffn_up": (layers, f, d),
        "norm": (d,),
        "rotations": (2, arch.positions, size // 2),
    }
    return layout if arch.tied else layout | {"head": (arch.vocabulary, d)}


def _tensors(data: bytes, layout: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    tensors, offset = {}, _HEADER.size
    for name, shape in layout.items():
        count = torch.Size(shape).numel()
        numbers = np.frombuffer(data, dtype="<f4", count=count, offset=offset)
        tensors[name] = torch.from_numpy(numbers.astype(np.float32).reshape(shape))
        offset += 4 * count
    return tensors


def _state(arch: Architecture, stacked: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the elastic decoder's tensors: a layer each, and rotary partners half a head apart."""
    for name in ("layers.{}.query", "layers.{}.key"):
        pairs = stacked[name].view(arch.layers, -1, arch.head_size // 2, 2, arch.hidden)
        stacked[name] = pairs.transpose(2, 3).flatten(1, 3)
    state = {f"{name}.weight": tensor for name, tensor in stacked.items() if name in {"word", "norm", "head"}}
    for name, tensor in stacked.items():
        if "{}" in name:
            state |= {f"{name.format(index)}.weight": layer for index, layer in enumerate(tensor)}
    return state
