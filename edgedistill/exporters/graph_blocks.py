"""Write the blocks that graphs of encoders and of decoders share."""

from __future__ import annotations

from onnx import TensorProto

from edgedistill.architecture import Architecture
from edgedistill.exporters.graph_builder import GraphBuilder

__all__ = ["by_head", "flat", "heads_of", "norm", "norm_tensors"]


def norm_tensors(arch: Architecture, name: str) -> list[str]:
    """Return the names of a norm's tensors."""
    return [f"{name}.weight", *([f"{name}.bias"] if arch.norm == "layer" else [])]


def norm(builder: GraphBuilder, arch: Architecture, name: str, x: str, eps: float) -> str:
    """Normalize the last dimension of x."""
    kind = "SimplifiedLayerNormalization" if arch.norm == "rms" else "LayerNormalization"
    inputs = [x, *norm_tensors(arch, name)]
    return builder.add(kind, inputs, name, axis=-1, epsilon=eps, stash_type=TensorProto.FLOAT)


def heads_of(builder: GraphBuilder, size: int) -> str:
    """Add the shape [b, n, heads, size] that `Reshape` takes."""
    return builder.constant([0, 0, -1, size], f"heads_of_{size}")


def by_head(builder: GraphBuilder, x: str, size: int, output: str) -> str:
    """Split x by head: [b, n, heads·size] → [b, n, heads, size]."""
    return builder.add("Reshape", [x, heads_of(builder, size)], output)


def flat(builder: GraphBuilder, x: str, output: str) -> str:
    """Join the heads of x: [b, n, heads, size] → [b, n, heads·size]."""
    return builder.add("Reshape", [x, builder.constant([0, 0, -1], "flat")], output)
