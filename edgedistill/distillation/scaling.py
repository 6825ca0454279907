"""Count the parameters that a stage trains, and scale gradients by them."""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.architecture import Architecture, Subnet
from edgedistill.supernet.slicing import extents

__all__ = ["TrainedParameters", "gradient_scale", "trained_parameters"]


_TABLES = {f"{place}{kind}.weight" for place in ("", "embeddings.") for kind in ("word", "position", "token_type")}


@dataclass(frozen=True, slots=True)
class TrainedParameters:
    """How many parameters of a subnet one stage trains, by kind, and full fine-tuning would train of its matrices."""

    matrices: int
    vectors: int
    head: int
    full_matrices: int

    @property
    def total(self) -> int:
        """Return how many the stage trains in all."""
        return self.matrices + self.vectors + self.head


def trained_parameters(arch: Architecture, subnet: Subnet, rank: int | None) -> TrainedParameters:
    """Count those of one stage: r·(d_in + d_out) for each matrix (2rd for a square one), biases, norms, the head.

    Without a rank the matrices train in full. The embedding tables never train (arXiv 2404.01353, §3).
    """
    low_rank = vectors = head = full = 0
    for name, shape in extents(arch, subnet).items():
        if name.startswith("classifier."):
            head += shape[0] * (shape[1] if len(shape) == 2 else 1)
        elif name in _TABLES:
            continue
        elif len(shape) == 2:
            low_rank += (rank or 0) * (shape[0] + shape[1])
            full += shape[0] * shape[1]
        else:
            vectors += shape[0]
    return TrainedParameters(low_rank if rank is not None else full, vectors, head, full)


def gradient_scale(maxnet: int, subnet: int, gamma: float) -> float:
    """Return (n₁/n_j)^γ with n the trained parameters of the maxnet and of subnet j (§3)."""
    return float((maxnet / subnet) ** gamma)
