"""How a member's weights are stored: a quantization scheme, tagged by ``scheme``, and its parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedistill.palette.values import Positive, Precision, StrictModel

__all__ = ["BlockQuantization", "DynamicInt8", "Quantization", "Unquantized"]


class Unquantized(StrictModel):
    """Weights in fp32."""

    scheme: Literal["none"]

    @property
    def precision(self) -> Precision:
        """Return the number type of the weights, as commands and names have it."""
        return "fp32"

    @property
    def bytes_per_weight(self) -> float:
        """Return what a weight takes in memory, its scales aside."""
        return 4.0


class DynamicInt8(StrictModel):
    """Matrices in uint8 with one scale an output channel; activations are quantized as they come, one scale a tensor.

    ``zero_point``: the stored number that stands for a weight of 0.
    """

    scheme: Literal["int8-dynamic"]
    zero_point: Annotated[int, Field(ge=0, le=255)]

    @property
    def precision(self) -> Precision:
        """Return the number type of the weights, as commands and names have it."""
        return "int8"

    @property
    def bytes_per_weight(self) -> float:
        """Return what a weight takes in memory, its scales aside."""
        return 1.0


class BlockQuantization(StrictModel):
    """Matrices of 4 or 8 bits with one scale for each ``block_size`` inputs of a row, as MatMulNBits reads them."""

    scheme: Literal["blocks"]
    bits: Literal[4, 8]
    block_size: Positive

    @property
    def precision(self) -> Precision:
        """Return the number type of the weights, as commands and names have it."""
        return "int4" if self.bits == 4 else "int8"

    @property
    def bytes_per_weight(self) -> float:
        """Return what a weight takes in memory, its scales aside."""
        return self.bits / 8


Quantization = Annotated[Unquantized | DynamicInt8 | BlockQuantization, Field(discriminator="scheme")]
