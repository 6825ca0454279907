"""Store weights in blocks of 4 or 8 bits, as onnxruntime's MatMulNBits and GatherBlockQuantized read them.

A row of a matrix [out, in] is cut into blocks of 32 inputs, w ≈ s·(q − z) with one s a block, z = 2^(bits − 1) and q in
[0, 2^bits). They are quantised once, at full width. Rows of fewer inputs are fewer blocks: where a subnet keeps a part
of the last one, the product reads the rest of the block against zeros. So a slice is the slice's own quantisation
whatever its width, and subnets share one file.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BLOCK", "block_extents", "in_blocks", "restored", "scale_name"]

BLOCK = 32
# Shares of a block's largest weight that its scale is first made for. Against absmax / 7, three and the refit leave 0.7
# of a Gaussian's squared error, and sixteen without it as much.
_REACHES = {4: (1.1, 1.0, 0.9), 8: (1.0,)}
_ROWS_AT_ONCE = 256  # what is computed stays in the processor's cache


def scale_name(name: str) -> str:
    """Return the name of the scales of a tensor in blocks."""
    return f"{name}.scale"


def block_extents(name: str, shape: tuple[int, ...], bits: int) -> dict[str, tuple[int, ...]]:
    """Return the extents of a tensor in blocks and of its scales, where ``shape`` [out, in] is kept of the matrix."""
    blocks = -(-shape[1] // BLOCK)
    return {name: (shape[0], blocks, BLOCK * bits // 8), scale_name(name): (shape[0], blocks)}


def in_blocks(name: str, matrix: Tensor, bits: int) -> dict[str, Tensor]:
    """Return the matrix [out, in] as uint8 [out, blocks, bytes of a block], and its scales [out, blocks]."""
    padded = F.pad(matrix, (0, -matrix.shape[1] % BLOCK)).view(matrix.shape[0], -1, BLOCK)
    parts = [_quantised(rows, bits) for rows in torch.split(padded, _ROWS_AT_ONCE)]
    whole, scales = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    if bits == 4:
        whole = whole[..., 0::2] | (whole[..., 1::2] << 4)
    return {name: whole.contiguous(), scale_name(name): scales.contiguous()}


def _quantised(blocks: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return blocks [out, blocks, 32] as whole numbers, and the scales [out, blocks] that fit their weights best.

    The weight that is largest, whatever its sign, takes the lowest number, of which there is one more. Rounded for such
    a scale, the numbers get the one that fits them best.
    """
    zero = 2 ** (bits - 1)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    tried = []
    for reach in _REACHES[bits]:
        scale = largest * reach / -zero
        numbers = (blocks / torch.where(scale == 0, 1.0, scale)).round_().clamp_(-zero, zero - 1)
        scale = (blocks * numbers).sum(2, keepdim=True) / numbers.square().sum(2, keepdim=True).clamp_(min=1)
        tried.append((numbers, scale, (numbers * scale - blocks).square_().sum(2, keepdim=True)))
    numbers, scale, least = tried[0]
    for others, other, error in tried[1:]:
        better = error < least
        numbers, scale = torch.where(better, others, numbers), torch.where(better, other, scale)
        least = torch.minimum(least, error)
    return (numbers + zero).to(torch.uint8), scale.squeeze(2)


def restored(whole: Tensor, scales: Tensor, width: int) -> Tensor:
    """Return the matrix [out, width] that a tensor in blocks and its scales encode."""
    bits = whole.shape[2] * 8 // BLOCK
    numbers = torch.stack((whole & 15, whole >> 4), -1).flatten(2) if bits == 4 else whole
    matrix: Tensor = (numbers.float() - 2 ** (bits - 1)) * scales[..., None]
    return matrix.flatten(1)[:, :width]
