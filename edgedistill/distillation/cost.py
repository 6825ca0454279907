"""Count training FLOPs: what a step costs on any machine. One multiply-accumulate is two FLOPs.

A forward pass costs its MACs. A backward pass costs as much again for the gradients of activations, and a
third time the matrices' share for the gradients of weights where these train, and attention's, both of whose
sides are activations. Norms, biases, softmax and the
optimizer are left out: they are below a percent.
"""

from __future__ import annotations

from edgedistill.architecture import Architecture, Subnet
from edgedistill.supernet.slicing import extents

__all__ = ["forward_flops", "train_flops"]


def forward_flops(arch: Architecture, subnet: Subnet, *, rows: int, tokens: int) -> int:
    """Return the FLOPs of one pass over ``rows`` sequences of ``tokens`` tokens, padding included."""
    return 2 * rows * arch.macs(subnet, tokens=tokens)


def train_flops(
    arch: Architecture, subnet: Subnet, rank: int | None, *, rows: int, tokens: int, tables: bool = False
) -> int:
    """Return the FLOPs of one pass and its gradients; ``rank`` is of the pair that trains, None where the matrices do.

    With ``tables`` the embeddings train too: of them only a tied head costs anything.
    """
    attention = 2 * rows * arch.attention_macs(subnet, tokens=tokens)
    both = 2 * forward_flops(arch, subnet, rows=rows, tokens=tokens) + attention
    if tables and arch.tied:
        both += 2 * rows * tokens * arch.vocabulary * subnet.hidden
    matrices = _matrices(arch, subnet)
    if rank is None:
        return both + 2 * rows * tokens * sum(out * back for out, back in matrices)
    return both + 3 * 2 * rows * tokens * sum(rank * (out + back) for out, back in matrices)


def _matrices(arch: Architecture, subnet: Subnet) -> list[tuple[int, int]]:
    """Return (out, in) of every matrix of the layers, and of a decoder's untied head."""
    return [
        (shape[0], shape[1])
        for name, shape in extents(arch, subnet).items()
        if name.startswith(("layers.", "head.", "projection.")) and len(shape) == 2
    ]
