"""Make the palettes that replace the one that a stress run serves: another one, and broken ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx

from benchmarks.shared.shifted_weights import last_numbers, stored_tensors, with_one_added
from edgedistill.exporters.export_folder import file_entry, put
from edgedistill.palette import PROFILES_FOLDER, FileEntry, Manifest, Palette, Probes, SubnetEntry
from edgedistill.runtime.onnx import create_session


def other_palette(palette: Palette) -> Palette:
    """Make a palette without the first subnet and with other answers. Only its manifest is not written yet."""
    folder, old = palette.folder, palette.manifest
    entries = [_shifted(folder, entry) for entry in old.subnets[1:]]
    asked = palette.probes().inputs
    feeds = {spec.name: np.array(asked[spec.name], np.int64) for spec in old.graph_inputs}
    answers = {
        entry.name: create_session(folder / entry.graph, 1).run(None, feeds)[0].ravel().tolist() for entry in entries
    }
    probes = folder / "probes-other.json"
    probes.write_text(Probes(inputs=asked, answers=answers).model_dump_json(), encoding="utf-8")
    manifest = _manifest(folder, old, probes.name, entries)
    for device, profile in palette.profiles.items():
        subnets = [found for found in profile.subnets if found.subnet != old.subnets[0].name]
        changed = profile.model_copy(update={"manifest_digest": manifest.digest, "subnets": subnets})
        (folder / PROFILES_FOLDER / f"{device}-other.json").write_text(changed.model_dump_json(), encoding="utf-8")
    return Palette(folder, manifest, {})


def _shifted(folder: Path, entry: SubnetEntry) -> SubnetEntry:
    """Write its graph over a copy of the weights in which those that it uses last are higher by one."""
    model = onnx.load(str(folder / entry.graph), load_external_data=False)
    stored = stored_tensors(model)
    name = _shifted_weights(folder, entry.weights, *last_numbers(model, stored))
    for tensor in stored.values():
        for item in tensor.external_data:
            if item.key == "location":
                item.value = name
    put(folder / f"other-{entry.graph}", model.SerializeToString())
    return entry.model_copy(update={"graph": f"other-{entry.graph}", "weights": name})


@cache  # many graphs share a file
def _shifted_weights(folder: Path, weights: str, start: int, length: int) -> str:
    """Write a copy in which the numbers in these bytes are higher by one, and return its name."""
    name = f"other-{start}-{weights}"
    put(folder / name, with_one_added((folder / weights).read_bytes(), start, length))
    return name


def _manifest(folder: Path, like: Manifest, probes: str, entries: list[SubnetEntry]) -> Manifest:
    """Return a manifest of these subnets and probes, with the sizes and hashes of the files as they are."""
    names = sorted({*like.input.files, probes, *(e.graph for e in entries), *(e.weights for e in entries)})
    files = [file_entry(folder / name) for name in names]
    return like.model_copy(update={"probes": probes, "subnets": entries, "files": files, "mixing": None}).sealed()


def broken_manifests(palette: Palette) -> dict[str, bytes]:
    """Return broken manifests for this palette's folder, and write the files that they need."""
    folder, whole = palette.folder, palette.manifest
    graph = whole.subnets[-1].graph

    def with_file(entry: FileEntry) -> bytes:
        files = [entry if old.name == graph else old for old in whole.files]
        return as_bytes(whole.model_copy(update={"files": files}).sealed())

    put(folder / "no-graph.onnx", b"no graph at all")
    no_graphs = [entry.model_copy(update={"graph": "no-graph.onnx"}) for entry in whole.subnets]
    probes = palette.probes()
    wrong = {name: [value + 100 for value in values] for name, values in probes.answers.items()}
    put(folder / "probes-wrong.json", probes.model_copy(update={"answers": wrong}).model_dump_json().encode())
    known = file_entry(folder / graph)
    return {
        "an altered manifest": as_bytes(whole.model_copy(update={"digest": "0" * 64})),
        "half a manifest": as_bytes(whole)[: len(as_bytes(whole)) // 2],
        "a wrong hash": with_file(known.model_copy(update={"sha256": "0" * 64})),
        "a graph that does not load": as_bytes(_manifest(folder, whole, whole.probes, no_graphs)),
        "other answers": as_bytes(_manifest(folder, whole, "probes-wrong.json", list(whole.subnets))),
    }


def as_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as it is written."""
    return manifest.model_dump_json().encode()
