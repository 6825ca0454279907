"""A palette whose family changes: what is known of the members that stay, and of devices, still holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import gt

from edgedistill.errors import ExportError
from edgedistill.exporters.binding import read_tensors
from edgedistill.exporters.calibration import Calibrator
from edgedistill.exporters.weights import Holdings, StoredTensor, WeightsFile
from edgedistill.manifest import Palette, SubnetEntry, write_profile
from edgedistill.subnet import SubnetConfig
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.slicing import slice_tensors

__all__ = ["carry_profiles", "known_entries", "stored_weights"]


def known_entries(
    palette: Palette, supernet: Supernet, largest: SubnetConfig, calibrator: Calibrator | None
) -> dict[str, SubnetEntry]:
    """Entries of the palette by their graph's name, which says what is in the graph and in the weights.

    None are known where members are measured against each other and the first of them is another now, or against
    other rows: of sentence encoders, and of a classifier whose ``largest`` changes.

    Raises:
        ExportError: it was exported with other texts out of scope than ``calibrator`` has.
    """
    manifest, first = palette.manifest, palette.manifest.subnets[0]
    if calibrator is not None and not calibrator.rejects_by(manifest.out_of_scope):
        raise ExportError(
            f"{palette.folder}: it was exported with other texts out of scope; give the same --out-of-scope, "
            "or export it anew"
        )
    embeds, leads_no_more = manifest.task == "sentence-embedding", first.config != largest
    if (
        embeds
        or (calibrator is not None and leads_no_more)
        or manifest.provenance.data_sha256 != supernet.info.data.sha256
    ):
        return {}
    return {entry.graph: entry for entry in manifest.subnets if calibrator is None or entry.name != first.name}


def stored_weights(palette: Palette, stock: Holdings, subnets: Iterable[SubnetConfig]) -> WeightsFile:
    """The palette's weights file of this stock's precision, as its members' graphs read it, for ``subnets`` to read.

    Raises:
        ExportError: it holds other weights than the stock, or less than a subnet needs.
    """
    entries = [entry for entry in palette.manifest.subnets if entry.precision == stock.precision]
    stored: dict[str, StoredTensor] = {}
    for entry in entries:
        for name, tensor in read_tensors(palette.folder / entry.graph).items():
            stored[name] = max(tensor, stored.get(name, tensor), key=lambda one: one.shape[0])
    file = entries[0].weights
    if not _agree(stored, stock, (palette.folder / file).read_bytes()):
        raise ExportError(
            f"{palette.folder} was exported from another supernet or with other options; give the same, or export anew"
        )
    for subnet in subnets:
        for name, shape in stock.extents(subnet).items():
            if name not in stored or any(map(gt, shape, stored[name].shape)):
                raise ExportError(
                    f"{palette.folder}: {subnet.name} keeps more of {name} than any of its members; export it anew"
                )
    return WeightsFile(file, stored)


def _agree(stored: Mapping[str, StoredTensor], stock: Holdings, content: bytes) -> bool:
    """Whether the file's bytes are the stock's, wherever a member reads them."""
    if not stored.keys() <= stock.tensors.keys():
        return False
    slices = slice_tensors(stock.tensors, {name: tensor.shape for name, tensor in stored.items()})
    return all(
        slices[name].dtype == tensor.dtype
        and content[tensor.offset : tensor.offset + tensor.shape[0] * tensor.row_bytes]
        == slices[name].numpy().tobytes()
        for name, tensor in stored.items()
    )


def carry_profiles(old: Palette, new: Palette) -> None:
    """Profiles of the old palette become the new one's, of the members whose graphs are the same."""
    graphs = {entry.name: entry.graph for entry in new.manifest.subnets}
    same = {entry.name for entry in old.manifest.subnets if graphs.get(entry.name) == entry.graph}
    for profile in old.profiles.values():
        kept = [subnet for subnet in profile.subnets if subnet.subnet in same]
        changed = profile.model_copy(update={"subnets": kept, "manifest_digest": new.manifest.digest})
        write_profile(new, changed)
        new.profiles[profile.device.name] = changed
