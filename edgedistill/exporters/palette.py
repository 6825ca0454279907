"""A trained supernet and a choice of its subnets become a palette on disk.

Files are named by their content and written first; the manifest, which names them, is replaced last. So a
reader sees the old palette or the new one. What no manifest names any more goes at the next export.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedistill.distillation.batches import Batch, make_batch
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.distillation.tasks import Task, task_of
from edgedistill.errors import ExportError, PaletteError
from edgedistill.exporters.attention import fused_template
from edgedistill.exporters.checks import check_graph, check_valid
from edgedistill.exporters.mixing import distinct_rows, measure_mixing
from edgedistill.exporters.quality import graph_outputs, quality_of
from edgedistill.exporters.quantization import quantised_template
from edgedistill.exporters.supergraph import OUTPUT, export_supergraph, graph_inputs
from edgedistill.exporters.surgery import derive, template
from edgedistill.exporters.weights import Stock, WeightsFile, write_weights
from edgedistill.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    FileEntry,
    Layer,
    Manifest,
    Mixing,
    Palette,
    Precision,
    Probes,
    Provenance,
    Quality,
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

__all__ = ["check_place", "member_name", "write_palette"]

_MAC_TOKENS = 64
_PROBED_ROWS = 4
_MIXED_SPLIT = "validation"
_OURS = re.compile(
    r"weights-\w+-[0-9a-f]{12}\.bin|l\d+-d\d+-[\w-]+-[0-9a-f]{12}\.onnx|(tokenizer|probes)-[0-9a-f]{12}\.json|\.\S+\.part"
)


@dataclass(frozen=True)
class _Source:
    """What every subnet's export in one precision needs; ``vectors`` collects those of a sentence encoder's members."""

    supernet: Supernet
    data: EncodedData
    base: onnx.ModelProto
    stock: Stock
    weights: WeightsFile
    task: Task
    vectors: dict[str, NDArray[np.float32]]


def write_palette(
    supernet: Supernet,
    subnets: Sequence[SubnetConfig],
    data: EncodedData,
    folder: Path,
    on_subnet: Callable[[str], None],
    *,
    precisions: Sequence[Precision] = ("fp32",),
    keep_fp32: Collection[str] = (),
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

    Raises:
        ExportError: the folder holds something else, or a graph fails its check. The old palette stands.
    """
    arch, tensors = supernet.model.arch, full_tensors(supernet.model)
    task, vectors = task_of(supernet.info.task), dict[str, NDArray[np.float32]]()
    with _new_files(folder):
        base = template(export_supergraph(arch, supernet.model.eps), arch)
        asked = _asked(data)
        entries = []
        for precision in precisions:
            stock = Stock.of(arch, tensors, precision, keep_fp32)
            weights = write_weights(folder, stock, subnets)
            own_base = quantised_template(base, stock.whole) if stock.whole else fused_template(base, arch)
            source = _Source(supernet, data, own_base, stock, weights, task, vectors)
            for subnet in subnets:
                entries.append(_export_subnet(source, subnet, folder))
                on_subnet(entries[-1].name)
        answers = {entry.name: _answers(folder / entry.graph, asked) for entry in entries}
        probes = _write_probes(asked, answers, folder)
        tokenizer = _write_tokenizer(supernet, folder)
        mixing = measure_mixing(vectors, _MIXED_SPLIT) if vectors else None
        manifest = _manifest(supernet, entries, tokenizer, probes, mixing, folder)
        _sync(folder)
        write_atomically(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return load(folder)


def member_name(subnet: SubnetConfig, precision: Precision) -> str:
    """The subnet's name in a palette: another precision than fp32 is a part of it."""
    return subnet.name if precision == "fp32" else f"{subnet.name}-{precision}"


def check_place(folder: Path) -> None:
    """Refuse to write where something else lies: worth asking before the long part.

    Raises:
        ExportError: the folder is neither new, nor empty, nor a palette.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST_NAME).exists())):
        raise ExportError(f"{folder} exists and is no palette; give a new or an empty folder")


@contextmanager
def _new_files(folder: Path) -> Iterator[None]:
    """Make room, and on failure take away whatever the block wrote."""
    is_new = not folder.exists()
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unnamed(folder)
    before = {path.name for path in folder.iterdir()}
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            if path.name not in before:
                path.unlink()
        if is_new:
            folder.rmdir()
        raise


def _remove_unnamed(folder: Path) -> None:
    """Delete files of earlier exports that the present manifest does not name."""
    try:
        named = {entry.name for entry in load(folder).manifest.files}
    except PaletteError:
        named = set()
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in named:
            path.unlink()


def _export_subnet(source: _Source, subnet: SubnetConfig, folder: Path) -> SubnetEntry:
    arch, precision = source.supernet.model.arch, source.stock.precision
    name = member_name(subnet, precision)
    graph, weight_bytes = derive(source.base, source.stock, subnet, source.weights)
    content = graph.SerializeToString(deterministic=True)
    path = folder / f"{subnet.name}-{precision}-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
    _put(path, content)
    if precision == "fp32":
        check_graph(path, source.supernet.model, subnet)
    else:
        check_valid(path, source.supernet.model)
    return SubnetEntry(
        name=name,
        precision=precision,
        graph=path.name,
        weights=source.weights.name,
        layers=[Layer(index=la.index, heads=la.heads, ffn=la.ffn) for la in subnet.layers],
        hidden=subnet.hidden,
        layer_parameters=arch.layer_parameters(subnet),
        total_parameters=arch.total_parameters(subnet),
        macs=arch.macs(subnet, tokens=_MAC_TOKENS),
        size_mb=round((len(content) + weight_bytes) / 1e6, 3),
        quality=[_quality(source, name, path, split) for split in ("validation", "test")],
    )


def _quality(source: _Source, name: str, graph: Path, split: str) -> Quality:
    supernet, task, data = source.supernet, source.task, getattr(source.data, split)
    outputs = graph_outputs(graph, data, task)
    if task.name == "sentence-embedding" and split == _MIXED_SPLIT:
        source.vectors[name] = outputs[distinct_rows(data)].numpy()
    reference = supernet.teacher.get(split)
    return quality_of(outputs, split, data, task, names=supernet.info.labels, reference=reference)


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
    _put(folder / name, content)
    return name


def _write_tokenizer(supernet: Supernet, folder: Path) -> TokenizerEntry:
    """The tokenizer, under a name of its content, so that an older palette's is not overwritten."""
    content = supernet.tokenizer.to_str().encode()
    name = f"tokenizer-{hashlib.sha256(content).hexdigest()[:12]}.json"
    _put(folder / name, content)
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
        files=[_file_entry(folder / name) for name in names],
        mixing=mixing,
    ).sealed()


def _output_shape(arch: Architecture) -> list[int | str]:
    return ["batch", *(["sequence"] if arch.pooling == "each" else []), arch.outputs]


def _file_entry(path: Path) -> FileEntry:
    content = path.read_bytes()
    return FileEntry(name=path.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _put(path: Path, content: bytes) -> None:
    """Write beside, then rename: the same file may be open in a session of the palette that is there."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _sync(folder: Path) -> None:
    """Put the files' bytes on the disk before the manifest names them."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
