"""Carry entries, weights and profiles of unchanged members over when a palette's family changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import gt

from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.binding import read_tensors
from edgedistill.exporters.calibration import Calibrator
from edgedistill.exporters.weights import StoredTensor, WeightsFile, WeightStore
from edgedistill.palette import Palette, SubnetEntry, write_profile
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.slicing import slice_tensors
from edgedistill.tasks import task_of

__all__ = ["carry_profiles", "stored_weights", "unchanged_entries"]


def unchanged_entries(
    palette: Palette, supernet: Supernet, largest: Subnet, calibrator: Calibrator | None
) -> dict[str, SubnetEntry]:
    """Return the palette's entries that stay valid, by their graph's name, which is a hash of its content.

    Entries are dropped where members are measured against each other and the reference changes: for sentence
    encoders, and for a classifier whose ``largest`` changes. They are dropped as well where the rows changed.

    Raises:
        ExportError: it was exported with other texts out of scope than ``calibrator`` has.
    """
    manifest, first = palette.manifest, palette.manifest.subnets[0]
    if calibrator is not None and not calibrator.rejects_by(manifest.out_of_scope):
        raise ExportError(
            f"{palette.folder}: it was exported with other texts out of scope; give the same --out-of-scope, "
            "or export it to a new folder"
        )
    embeds, leads_no_more = task_of(manifest.task).embeds, first.config != largest
    if (
        embeds
        or (calibrator is not None and leads_no_more)
        or manifest.provenance.data_sha256 != supernet.info.data.sha256
    ):
        return {}
    return {entry.graph: entry for entry in manifest.subnets if calibrator is None or entry.name != first.name}


def stored_weights(palette: Palette, store: WeightStore, subnets: Iterable[Subnet]) -> WeightsFile:
    """Return the palette's weights file in this store's precision, once checked to hold what ``subnets`` need.

    Raises:
        ExportError: it holds other weights than the store, or less than a subnet needs.
    """
    entries = [entry for entry in palette.manifest.subnets if entry.precision == store.precision]
    stored: dict[str, StoredTensor] = {}
    for entry in entries:
        for name, tensor in read_tensors(palette.folder / entry.graph).items():
            stored[name] = max(tensor, stored.get(name, tensor), key=lambda candidate: candidate.shape[0])
    file = entries[0].weights
    if not _agree(stored, store, (palette.folder / file).read_bytes()):
        raise ExportError(
            f"{palette.folder} was exported from another supernet or with other options; "
            "give the same, or export to a new folder"
        )
    for subnet in subnets:
        for name, shape in store.extents(subnet).items():
            if name not in stored or any(map(gt, shape, stored[name].shape)):
                raise ExportError(
                    f"{palette.folder}: {subnet.name} keeps more of {name} than any of its members; "
                    "export it to a new folder"
                )
    return WeightsFile(file, stored)


def _agree(stored: Mapping[str, StoredTensor], store: WeightStore, content: bytes) -> bool:
    """Return True if the file holds the store's bytes wherever a member reads them."""
    if not stored.keys() <= store.tensors.keys():
        return False
    slices = slice_tensors(store.tensors, {name: tensor.shape for name, tensor in stored.items()})
    return all(
        slices[name].dtype == tensor.dtype
        and content[tensor.offset : tensor.offset + tensor.shape[0] * tensor.row_bytes]
        == slices[name].numpy().tobytes()
        for name, tensor in stored.items()
    )


def carry_profiles(old: Palette, new: Palette) -> None:
    """Copy the old palette's profiles to the new one, for members whose graphs are the same."""
    graphs = {entry.name: entry.graph for entry in new.manifest.subnets}
    same = {entry.name for entry in old.manifest.subnets if graphs.get(entry.name) == entry.graph}
    for profile in old.profiles.values():
        measurements = [subnet for subnet in profile.subnets if subnet.subnet in same]
        changed = profile.model_copy(update={"subnets": measurements, "manifest_digest": new.manifest.digest})
        write_profile(new, changed)
        new.profiles[profile.device.name] = changed
