"""Write a palette: some subnets of a trained supernet, with their weights, tokenizer, probes and manifest.

Files are named by their content and written first; the manifest, which names them, is replaced last. So a
reader sees the old palette or the new one. What no manifest names any more goes at the next export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.errors import ExportError
from edgedistill.exporters.changes import carry_profiles, stored_weights
from edgedistill.exporters.decoder_members import DecoderMembers
from edgedistill.exporters.export_folder import file_entry, new_files, put
from edgedistill.exporters.members import EncoderMembers
from edgedistill.exporters.provenance import provenance_of
from edgedistill.exporters.weights import write_weights
from edgedistill.files import write_json
from edgedistill.palette import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Manifest,
    Palette,
    Precision,
    Probes,
    SubnetEntry,
    TextInput,
    TokenizerEntry,
    load,
)
from edgedistill.supernet.checkpoint import Supernet

__all__ = ["write_palette"]


def write_palette(
    supernet: Supernet,
    subnets: Sequence[Subnet],
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
        precisions: each subnet in each of them; int4 is for decoders alone.
        keep_fp32: prefixes of tensors (``layers.5``) that int8 and int4 leave alone.
        out_of_scope: rows that a classifier should reject.
        changing: the palette in ``folder``, where its family is to change and nothing else: its weights files stay,
            and what was measured of its members and on devices stays valid.

    Raises:
        ExportError: the folder holds something else, a graph fails its check, or ``changing`` cannot be changed so.
            The old palette stands.
        InputError: another command is writing to ``folder``.
    """
    with new_files(folder):
        members = _members(supernet, data, out_of_scope)
        unchanged = {} if changing is None else members.unchanged_entries(changing, subnets[0])
        entries = []
        for precision in precisions:
            store: Any = members.weight_store(precision, keep_fp32)
            weights = stored_weights(changing, store, subnets) if changing else write_weights(folder, store, subnets)
            for subnet in subnets:
                entries.append(members.export(store, weights, subnet, folder, unchanged))
                on_subnet(entries[-1].name)
        probes = _write_probes(members.probes(entries, folder), folder)
        tokenizer = _write_tokenizer(supernet, folder)
        manifest = _manifest(supernet, entries, tokenizer, probes, members.manifest_fields(), folder)
        write_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    written = load(folder)
    if changing is not None:
        carry_profiles(changing, written)
    return written


def _members(supernet: Supernet, data: EncodedData, out_of_scope: Encoded | None) -> EncoderMembers | DecoderMembers:
    if not supernet.model.arch.causal:
        return EncoderMembers(supernet, data, out_of_scope)
    if out_of_scope is not None:
        raise ExportError("texts out of scope are for classifiers to reject; this supernet is for text-generation")
    return DecoderMembers(supernet, data)


def _write_probes(probes: Probes, folder: Path) -> str:
    """Write the probes under a name of their content, and return the name."""
    content = probes.model_dump_json().encode()
    name = f"probes-{hashlib.sha256(content).hexdigest()[:12]}.json"
    put(folder / name, content)
    return name


def _write_tokenizer(supernet: Supernet, folder: Path) -> TokenizerEntry:
    """Write the tokenizer under a name of its content, so that an older palette's is not overwritten."""
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
    fields: dict[str, Any],
    folder: Path,
) -> Manifest:
    info = supernet.info
    names = sorted({tokenizer.file, probes, *(e.graph for e in entries), *(e.weights for e in entries)})
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task=info.task,
        input=TextInput(kind="text", texts=2 if info.pairs else 1, tokenizer=tokenizer),
        labels=info.labels,
        probes=probes,
        provenance=provenance_of(info),
        subnets=entries,
        files=[file_entry(folder / name) for name in names],
        **fields,
    ).sealed()
