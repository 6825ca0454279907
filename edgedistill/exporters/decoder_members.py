"""Export the members of a palette of decoders: write and check step graphs, and score their next tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.architecture import Subnet
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.exporters.changes import unchanged_entries
from edgedistill.exporters.decoder_attention import cache_head_size
from edgedistill.exporters.decoder_checks import check_step_graph, check_steps_run
from edgedistill.exporters.decoder_graph import step_graph, step_inputs
from edgedistill.exporters.decoder_quality import graph_figures, next_token_qualities
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.exporters.decoder_weights import DecoderWeightStore
from edgedistill.exporters.graph_builder import OUTPUT
from edgedistill.exporters.members import MAC_TOKENS, SCORED, member_name, put_graph
from edgedistill.exporters.weights import WeightsFile
from edgedistill.palette import Generation, Layer, Palette, Precision, Probes, Quality, SubnetEntry, TensorSpec
from edgedistill.printable import get_logger
from edgedistill.runtime.generation.chat import template_fault
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["DecoderMembers"]

_FLOAT_BYTES = 4
_PROMPT, _CONTINUATION, _SAMPLED_IDS = 12, 6, 16

_log = get_logger(__name__)


class DecoderMembers:
    """Hold what every member's export needs.

    Args:
        supernet: of a decoder.
        data: the rows that quality is measured on.
    """

    def __init__(self, supernet: Supernet, data: EncodedData) -> None:
        self._supernet, self._data, self._model = supernet, data, supernet.model
        self._arch = self._model.arch
        self._generation = supernet.info.generating
        self._try_chat()

    def _try_chat(self) -> None:
        """Warn of a chat template that no device could use."""
        generation, tokenizer = self._generation, self._supernet.tokenizer
        template = generation.chat_template
        if template is None:
            return
        ids = {"bos_token": generation.bos_token_id, "eos_token": next(iter(generation.eos_token_ids), None)}
        tokens = {name: tokenizer.id_to_token(id_) or "" for name, id_ in ids.items() if id_ is not None}
        fault = template_fault(template, tokens)
        if fault is not None:
            _log.warning("the chat template %s; the palette takes no chats", fault)

    def unchanged_entries(self, palette: Palette, largest: Subnet) -> dict[str, SubnetEntry]:
        """Return the palette's entries that stay valid, by their graph's name: see `changes.unchanged_entries`."""
        return unchanged_entries(palette, self._supernet, largest, None)

    def weight_store(self, precision: Precision, keep_fp32: Collection[str]) -> DecoderWeightStore:
        """Return what graphs of this precision may hold."""
        context = self._generation.context_tokens
        return DecoderWeightStore.of(self._model, precision, context_tokens=context, keep_fp32=keep_fp32)

    def export(
        self,
        store: DecoderWeightStore,
        weights: WeightsFile,
        subnet: Subnet,
        folder: Path,
        unchanged: Mapping[str, SubnetEntry],
    ) -> SubnetEntry:
        """Write the graph into ``folder``; check and score it, unless ``unchanged`` has its entry by its name.

        Raises:
            ExportError: it disagrees with torch.
        """
        arch, precision = self._arch, store.precision
        graph, weight_bytes = step_graph(store, subnet, weights)
        path = put_graph(graph, subnet, precision, folder)
        if path.name in unchanged:
            return unchanged[path.name]
        if precision == "fp32":
            check_step_graph(path, self._model, subnet, store.context_tokens)
        else:
            check_steps_run(path, self._model, store.context_tokens)
        heads = [arch.kv_heads_of(layer.heads) for layer in subnet.layers]
        return SubnetEntry(
            name=member_name(subnet, precision),
            quantization=store.quantization,
            graph=path.name,
            weights=weights.name,
            layers=[
                Layer(index=la.index, heads=la.heads, ffn=la.ffn, kv_heads=shared)
                for la, shared in zip(subnet.layers, heads, strict=True)
            ],
            hidden=subnet.hidden,
            layer_parameters=arch.layer_parameters(subnet),
            total_parameters=arch.total_parameters(subnet),
            macs=arch.macs(subnet, tokens=MAC_TOKENS),
            attention_macs=arch.attention_macs(subnet, tokens=MAC_TOKENS),
            size_mb=round((path.stat().st_size + weight_bytes) / 1e6, 3),
            quality=[quality for split in SCORED for quality in self._qualities(path, split)],
            cache_bytes_a_token=2 * _FLOAT_BYTES * cache_head_size(arch) * sum(heads),
        )

    def _qualities(self, graph: Path, split: str) -> list[Quality]:
        figures = graph_figures(graph, getattr(self._data, split), self._arch.vocabulary)
        return next_token_qualities(figures, split)

    def probes(self, entries: Sequence[SubnetEntry], folder: Path) -> Probes:
        """Return a text of validation as prompt and continuation, and logits of some ids behind each of its tokens."""
        longest = max(self._data.validation.ids, key=len)[: _PROMPT + _CONTINUATION]
        prompt, continuation = longest[:_PROMPT], longest[_PROMPT:]
        sampled = np.linspace(0, self._arch.vocabulary - 1, _SAMPLED_IDS).astype(int).tolist()
        answers = {}
        for entry in entries:
            steps = Steps(folder / entry.graph, _PROMPT + _CONTINUATION, 1)
            parts = [steps.step(prompt, [len(prompt) - 1]), *(steps.step([token]) for token in continuation)]
            answers[entry.name] = [round(float(value), 6) for value in np.concatenate(parts)[:, sampled].ravel()]
        inputs = {"prompt": [list(prompt)], "continuation": [list(continuation)], "asked": [sampled]}
        return Probes(inputs=inputs, answers=answers)

    def manifest_fields(self) -> dict[str, Any]:
        """Return what a manifest states of all members, except the caches: a subnet has one for each of its layers."""
        generation = self._generation
        return {
            "graph_inputs": step_inputs(self._arch),
            "graph_outputs": [TensorSpec(name=OUTPUT, dtype="float32", shape=[1, "m", self._arch.vocabulary])],
            "generation": Generation(
                context_tokens=generation.context_tokens,
                eos_token_ids=generation.eos_token_ids,
                bos_token_id=generation.bos_token_id,
                chat_template=generation.chat_template,
                head_size=cache_head_size(self._arch),
            ),
        }
