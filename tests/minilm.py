"""MiniLM-L6's dimensions and a space of it, for tests that need no weights."""

from __future__ import annotations

from edgedistill.architecture import Architecture, SearchSpace, Subnet

ARCH = Architecture(
    model_type="bert",
    layers=6,
    hidden=384,
    heads=12,
    head_size=32,
    ffn=1536,
    vocabulary=30522,
    positions=512,
    token_types=2,
    outputs=2,
    dense="tanh",
)
SPACE = SearchSpace(((0, 1, 2, 3, 4, 5), (0, 2, 3, 5), (0, 5)), (384,), (12, 6, 3), (1536, 768, 384))


def share(subnet: Subnet) -> float:
    """Its part of the layer parameters."""
    return ARCH.layer_parameters(subnet) / ARCH.layer_parameters(SPACE.maxnet)
