"""Write the products of activations with a subnet's matrices; those of the same activations become one product.

The matrices stay as they are in the shared file: a Concat puts a subnet's rows below each other, which onnxruntime
folds when it creates the session.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgedistill.architecture import Subnet
from edgedistill.exporters.blocks import BLOCK, scale_name
from edgedistill.exporters.decoder_weights import HEAD, DecoderWeightStore
from edgedistill.exporters.graph_builder import GraphBuilder
from edgedistill.supernet.slicing import extents

__all__ = ["Products"]

# Activations are rounded to 8 bits, block by block, and multiplied as whole numbers (MatMulNBits' accuracy_level).
_WHOLE_NUMBERS = 4


class Products:
    """Write the products of one subnet's graph, in its store's precision."""

    def __init__(self, builder: GraphBuilder, store: DecoderWeightStore, subnet: Subnet) -> None:
        self._builder, self._store = builder, store
        self._shapes = extents(store.arch, subnet) | {HEAD: (store.arch.vocabulary, subnet.hidden)}

    def product(self, x: str, modules: Sequence[str], output: str, *, biased: bool = False) -> str:
        """Multiply x [1, n, in] by the transposes of the modules' matrices [out, in] → [1, n, sum of outs].

        ``biased``: add their biases.
        """
        names = [f"{module}.weight" for module in modules]
        bias = self._joined([f"{module}.bias" for module in modules], f"{output}.bias") if biased else ""
        weight = self._joined(names, f"{output}.weight")
        if names[0] in self._store.bits:
            return self._in_blocks(x, names, weight, bias, output)
        if not bias:
            return self._builder.fuse("FusedMatMul", [x, weight], output, transB=1)
        unbiased = self._builder.fuse("FusedMatMul", [x, weight], f"{output}.unbiased", transB=1)
        return self._builder.add("Add", [unbiased, bias], output)

    def _in_blocks(self, x: str, names: Sequence[str], weight: str, bias: str, output: str) -> str:
        scales = self._joined([scale_name(name) for name in names], f"{output}.scales")
        return self._builder.fuse(
            "MatMulNBits",
            [x, weight, scales, *(["", "", bias] if bias else [])],
            output,
            N=sum(self._shapes[name][0] for name in names),
            K=self._shapes[names[0]][1],
            bits=self._store.bits[names[0]],
            block_size=BLOCK,
            accuracy_level=_WHOLE_NUMBERS,
        )

    def rows(self, table: str, ids: str, output: str) -> str:
        """Look up rows of an embedding table [1, n, d]: as wide as the subnet, of a table as wide as the supernet."""
        width, whole = self._shapes[table][1], self._store.arch.hidden
        held = -(-whole // BLOCK) * BLOCK if table in self._store.bits else whole
        out = output if width == held else f"{output}.whole"
        if table in self._store.bits:
            inputs = [table, ids, scale_name(table)]
            attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK, "bits": self._store.bits[table]}
            self._builder.fuse("GatherBlockQuantized", inputs, out, **attributes)
        else:
            self._builder.add("Gather", [table, ids], out)
        return out if width == held else self._builder.first(out, width, output)

    def _joined(self, names: Sequence[str], output: str) -> str:
        """Stack matrices, rows below rows."""
        return names[0] if len(names) == 1 else self._builder.add("Concat", names, output, axis=0)
