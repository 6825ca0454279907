"""A trained supernet and a choice of its subnets become a palette on disk.

Files are named by their content and written first; the manifest, which names them, is replaced last. So a
reader sees the old palette or the new one. What no manifest names any more goes at the next export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedistill.distillation.batches import Batch, Encoded, make_batch
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.distillation.tasks import task_of
from edgedistill.exporters.calibration import Calibrator
from edgedistill.exporters.changes import carry_profiles, known_entries, stored_weights
from edgedistill.exporters.files import file_entry, new_files, put, sync
from edgedistill.exporters.members import MIXED_SPLIT, Source, export_member, member_template
from edgedistill.exporters.mixing import measure_mixing
from edgedistill.exporters.supergraph import OUTPUT, export_supergraph, graph_inputs
from edgedistill.exporters.surgery import template
from edgedistill.exporters.weights import Stock, write_weights
from edgedistill.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Manifest,
    Mixing,
    OutOfScope,
    Palette,
    Precision,
    Probes,
    Provenance,
    SubnetEntry,
    TensorSpec,
    TokenizerEntry,
    load,
    write_atomically,
)
from edgedistill.runtime.onnx import create_session
from edgedistill.subnet import Architecture, SubnetConfig
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.slicing import full_tensors

__all__ = ["write_palette"]

_PROBED_ROWS = 4


def write_palette(
    supernet: Supernet,
    subnets: Sequence[SubnetConfig],
    data: EncodedData,
    folder: Path,
    on_subnet: Callable[[str], None],
    *,
    precisions: Sequence[Precision] = ("fp32",),
    keep_fp32: Collection[str] = (),
    out_of_scope: Encoded | None = None,
    changing: Palette | None = None,
) -> Palette:
    """Export ``subnets`` to ``folder``, replacing the palette that is there.

    Every fp32 graph is checked against torch, and the quality of every graph is measured on validation and test
    rows through onnxruntime.

    Args:
        supernet: trained to its end.
        subnets: largest first.
        data: the rows that quality is measured on.
        folder: new, empty, or a palette.
        on_subnet: called with each member's name when it is done.
        precisions: each subnet in each of them.
        keep_fp32: prefixes of tensors (``layers.5``) that int8 leaves alone.
        out_of_scope: rows that a classifier should reject.
        changing: the palette in ``folder``, where its family is to change and nothing else: its weights files stay,
            and what is known of its members and of devices still holds.

    Raises:
        ExportError: the folder holds something else, a graph fails its check, or ``changing`` cannot be changed so.
            The old palette stands.
    """
    task = task_of(supernet.info.task)
    calibrator = Calibrator(data, supernet.teacher, out_of_scope) if task.name == "text-classification" else None
    vectors: dict[str, NDArray[np.float32]] = {}
    with new_files(folder):
        known = {} if changing is None else known_entries(changing, supernet, subnets[0], calibrator)
        base = template(export_supergraph(supernet.model.arch, supernet.model.eps), supernet.model.arch)
        tensors, entries = full_tensors(supernet.model), []
        for precision in precisions:
            stock = Stock.of(supernet.model.arch, tensors, precision, keep_fp32)
            weights = stored_weights(changing, stock, subnets) if changing else write_weights(folder, stock, subnets)
            own_base = member_template(base, stock)
            source = Source(supernet, data, own_base, stock, weights, task, vectors, calibrator, known)
            for subnet in subnets:
                entries.append(export_member(source, subnet, folder))
                on_subnet(entries[-1].name)
        asked = _asked(data)
        probes = _write_probes(asked, {entry.name: _answers(folder / entry.graph, asked) for entry in entries}, folder)
        mixing = measure_mixing(vectors, MIXED_SPLIT) if vectors else None
        rejected = calibrator.recorded() if calibrator is not None else None
        tokenizer = _write_tokenizer(supernet, folder)
        manifest = _manifest(supernet, entries, tokenizer, probes, mixing, rejected, folder)
        sync(folder)
        write_atomically(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    written = load(folder)
    if changing is not None:
        carry_profiles(changing, written)
    return written


def _asked(data: EncodedData) -> Batch:
    """The first rows of validation, of different lengths as a rule."""
    return make_batch(data.validation, range(min(_PROBED_ROWS, len(data.validation))))


def _answers(graph: Path, asked: Batch) -> list[float]:
    session = create_session(graph, threads=1)
    feeds = {node.name: getattr(asked, node.name).numpy() for node in session.get_inputs()}
    (outputs,) = session.run([OUTPUT], feeds)
    return [round(float(value), 6) for value in outputs.ravel()]


def _write_probes(asked: Batch, answers: dict[str, list[float]], folder: Path) -> str:
    """Under a name of their content; returns it."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    probes = Probes(inputs={name: getattr(asked, name).tolist() for name in names}, answers=answers)
    content = probes.model_dump_json().encode()
    name = f"probes-{hashlib.sha256(content).hexdigest()[:12]}.json"
    put(folder / name, content)
    return name


def _write_tokenizer(supernet: Supernet, folder: Path) -> TokenizerEntry:
    """The tokenizer, under a name of its content, so that an older palette's is not overwritten."""
    content = supernet.tokenizer.to_str().encode()
    name = f"tokenizer-{hashlib.sha256(content).hexdigest()[:12]}.json"
    put(folder / name, content)
    info = supernet.info
    return TokenizerEntry(
        file=name, max_tokens=info.max_tokens, pad_token_id=info.pad_token_id, pad_token=info.pad_token
    )


def _manifest(
    supernet: Supernet,
    entries: list[SubnetEntry],
    tokenizer: TokenizerEntry,
    probes: str,
    mixing: Mixing | None,
    out_of_scope: OutOfScope | None,
    folder: Path,
) -> Manifest:
    info, arch = supernet.info, supernet.model.arch
    names = sorted({tokenizer.file, probes, *(e.graph for e in entries), *(e.weights for e in entries)})
    provenance = Provenance(
        base_model=info.base_model,
        base_revision=info.base_revision,
        base_sha256=info.base_sha256,
        data=info.data.data,
        unlabelled=info.data.unlabelled,
        data_sha256=info.data.sha256,
        seed=info.seed,
        stages=info.stages,
        rank=info.rank,
        versions=info.versions | {"onnx": onnx.__version__, "edgedistill": metadata.version("edgedistill")},
    )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task=info.task,
        texts=2 if info.pairs else 1,
        labels=info.labels,
        tokenizer=tokenizer,
        probes=probes,
        inputs=[TensorSpec(name=name, dtype="int64", shape=["batch", "sequence"]) for name in graph_inputs(arch)],
        outputs=[TensorSpec(name=OUTPUT, dtype="float32", shape=_output_shape(arch))],
        provenance=provenance,
        subnets=entries,
        files=[file_entry(folder / name) for name in names],
        mixing=mixing,
        out_of_scope=out_of_scope,
    ).sealed()


def _output_shape(arch: Architecture) -> list[int | str]:
    return ["batch", *(["sequence"] if arch.pooling == "each" else []), arch.outputs]
