"""Write the products and table look-ups of an encoder's graph, in the precision of its weights."""

from __future__ import annotations

from edgedistill.exporters.graph_builder import GraphBuilder
from edgedistill.exporters.quantization import integer_product, integer_rows
from edgedistill.exporters.weights import EncoderWeightStore

__all__ = ["EncoderProducts"]


class EncoderProducts:
    """Write each product as its weight is stored: in floats, or in integers with a scale for each output channel."""

    def __init__(self, builder: GraphBuilder, store: EncoderWeightStore) -> None:
        self._builder, self._quantized = builder, frozenset(store.whole)

    def product(self, x: str, weight: str, output: str) -> str:
        """Multiply x [..., in] by a matrix [in, out]."""
        if weight in self._quantized:
            return integer_product(self._builder, x, weight, output)
        return self._builder.add("MatMul", [x, weight], output)

    def rows(self, table: str, ids: str, output: str) -> str:
        """Look up the rows of an embedding table."""
        if table in self._quantized:
            return integer_rows(self._builder, table, ids, output)
        return self._builder.add("Gather", [table, ids], output)
