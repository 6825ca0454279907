"""State what commands can do with an architecture: encoders and language models differ in it."""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.architecture import Architecture
from edgedistill.palette import Precision

__all__ = ["Capabilities", "capabilities_of"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """List what commands can do with an architecture.

    Attributes:
        precisions: of graphs.
        predicts_costs: whether a subnet's cost on a device is predicted.
        rejects: whether its answers can reject texts out of scope.
        one_file: whether a subnet is written as one ONNX file.
        finds_costly_parts: whether the part that costs most in int8 is found.
    """

    precisions: tuple[Precision, ...]
    predicts_costs: bool
    rejects: bool
    one_file: bool
    finds_costly_parts: bool


_ENCODER = Capabilities(
    precisions=("fp32", "int8"), predicts_costs=True, rejects=True, one_file=True, finds_costly_parts=True
)
_CAUSAL = Capabilities(
    precisions=("fp32", "int8", "int4"), predicts_costs=False, rejects=False, one_file=False, finds_costly_parts=False
)


def capabilities_of(arch: Architecture) -> Capabilities:
    """Return what commands can do with an architecture."""
    return _CAUSAL if arch.causal else _ENCODER
