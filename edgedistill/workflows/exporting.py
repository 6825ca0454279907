"""Export a supernet: choose a family of subnets, and write it as a palette."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import InputError
from edgedistill.palette import Palette, Precision, load, write_profile
from edgedistill.places import lock
from edgedistill.tasks import task_of
from edgedistill.workflows import profiling
from edgedistill.workflows.capabilities import capabilities_of
from edgedistill.workflows.progress import ProgressCallback, note, silent, warn, work
from edgedistill.workflows.searching import SearchOptions, find_family
from edgedistill.workflows.supernets import find_subnet, load_trained, plain_name
from edgedistill.workflows.task_data import read_data, recorded_source
from edgedistill.workflows.training_side import needs_training_side

if TYPE_CHECKING:
    from edgedistill.architecture import Subnet
    from edgedistill.data.batches import Encoded
    from edgedistill.data.dataset import TaskData
    from edgedistill.device_profiles import Board
    from edgedistill.palette import DeviceProfile
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["ExportResult", "export", "export_family"]


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A palette that was exported.

    Attributes:
        palette: its manifest and profiles; ``palette.folder`` is where it is.
        profile: what was measured on this machine; None if it was not.
        estimates: the files of the boards' estimates.
    """

    palette: Palette
    profile: DeviceProfile | None
    estimates: Sequence[Path]


@needs_training_side
def export(
    supernet: str | Path,
    *,
    output: str | Path,
    data: str | Path | None = None,
    unlabelled: str | Path | None = None,
    count: int = 8,
    max_latency_ms: float | None = None,
    max_memory_mb: float | None = None,
    tokens: int = 64,
    profiled_palette: str | Path | None = None,
    precisions: Sequence[str] = (),
    keep_fp32: Sequence[str] = (),
    out_of_scope: str | Path | None = None,
    add: Sequence[str] = (),
    drop: Sequence[str] = (),
    vocabulary: int | None = None,
    devices: Sequence[str] = (),
    profile: bool = True,
    progress: ProgressCallback = silent,
) -> ExportResult:
    """Choose a family of subnets, write it as a palette, and profile it on this machine.

    Args:
        supernet: the folder that `train` wrote.
        output: the palette's folder; replaced as a whole.
        data: where the training data are now, if they moved.
        unlabelled: where the texts without labels are now.
        count: how many subnets make the family; 2 or more.
        max_latency_ms: leave out what takes longer, at ``tokens`` tokens.
        max_memory_mb: leave out what takes more memory, in 10⁶ bytes.
        tokens: the length of a text that costs are counted at.
        profiled_palette: a palette that was profiled on the device; its figures choose the family.
        precisions: of each subnet's graph: fp32, int8, of a decoder int4 too; empty for all that there are.
        keep_fp32: parts to leave out of int8 and int4: ``embeddings``, ``layers.0``.
        out_of_scope: a file of texts that a classifier should reject, one a line.
        add: subnets to add to the palette in ``output``, which changes in nothing else.
        drop: subnets to take out of the palette in ``output``.
        vocabulary: how many tokens to keep, those of the training texts in any case; None for all.
        devices: boards to estimate; the first one's costs choose the family. With ``profiled_palette``: one of its
            devices.
        profile: measure this machine.
        progress: receives each `ProgressEvent`, in this thread.

    Raises:
        InputError: an option cannot be used, or another process writes to ``output``.
        SearchError: no subnet keeps to the limits.
        CheckpointError: the supernet is damaged, or not trained to its end.
        ExportError: ``output`` holds something else, or a graph disagrees with torch; the old palette stands.
    """
    from edgedistill.device_profiles import load_board
    from edgedistill.exporters import check_place

    folder, place = Path(supernet), Path(output)
    options = SearchOptions(
        count=count,
        device=next(iter(devices), None),
        profiled_palette=profiled_palette,
        tokens=tokens,
        max_latency_ms=max_latency_ms,
        max_memory_mb=max_memory_mb,
    )
    _check_options(precisions, keep_fp32, vocabulary)
    with lock(place):
        check_place(place)
        boards = [] if profiled_palette else [load_board(name) for name in devices]
        trained = load_trained(folder)
        chosen = _precisions(trained, precisions)
        _check_capabilities(trained, boards=bool(boards), out_of_scope=out_of_scope is not None)
        rows = read_data(recorded_source(trained, data, unlabelled), progress)
        changing = load(place) if add or drop else None
        if changing is not None:
            family, chosen = _changed(trained, changing, add, drop)
        else:
            family = [member.subnet for member in find_family(trained, folder, rows, options, progress).family]
        if vocabulary is not None:
            trained = _trimmed(trained, rows, vocabulary, progress)
        palette = export_family(
            trained,
            rows,
            family,
            place,
            precisions=chosen,
            keep_fp32=tuple(keep_fp32),
            out_of_scope=_rejected(trained, out_of_scope),
            changing=changing,
            progress=progress,
        )
        measured = profiling.profile(palette, progress=progress) if profile else None
        return ExportResult(palette=palette, profile=measured, estimates=_estimates(palette, boards, progress))


def _check_options(precisions: Sequence[str], keep_fp32: Sequence[str], vocabulary: int | None) -> None:
    if keep_fp32 and list(precisions) == ["fp32"]:
        raise InputError("--keep-fp32 leaves parts out of int8, and --precision fp32 has none; drop one of the two")
    if vocabulary is not None and vocabulary < 0:
        raise InputError(f"vocabulary: got {vocabulary}, expected 0 or more")


def _estimates(palette: Palette, boards: Sequence[Board], progress: ProgressCallback) -> list[Path]:
    """Write each board's estimate next to the palette's profiles."""
    from edgedistill.device_profiles import estimate

    files = []
    for board in boards:
        files.append(write_profile(palette, estimate(palette, board)))
        note(progress, f"{files[-1]}: an estimate, never checked on the board")
    return files


def _precisions(trained: Supernet, names: Sequence[str]) -> tuple[Precision, ...]:
    """Return the named precisions, or all that this kind of model has.

    Raises:
        InputError: the precision is unknown, or only for decoders.
    """
    allowed = capabilities_of(trained.model.arch).precisions
    unknown = next((name for name in names if name not in allowed), None)
    if unknown is not None:
        raise InputError(
            f"--precision: got {unknown!r}, expected {' or '.join(allowed)} of a supernet for {trained.info.task}"
        )
    return tuple(name for name in allowed if name in names) or allowed


def _check_capabilities(trained: Supernet, *, boards: bool, out_of_scope: bool) -> None:
    """Refuse what an export of this kind of model does not do.

    Raises:
        InputError: there is such an option.
    """
    can = capabilities_of(trained.model.arch)
    options = {"--device": boards and not can.predicts_costs, "--out-of-scope": out_of_scope and not can.rejects}
    refused = " and ".join(name for name, is_set in options.items() if is_set)
    if refused:
        raise InputError(
            f"{refused}: of an encoder alone; leave it out, and run 'edgedistill profile' on the board for its costs"
        )


def _changed(
    trained: Supernet, palette: Palette, add: Sequence[str], drop: Sequence[str]
) -> tuple[list[Subnet], tuple[Precision, ...]]:
    """Return the palette's family with these changes, largest first, and its precisions.

    Raises:
        InputError: a subnet to add is there, one to drop is not, or none would be left.
    """
    entries, arch = palette.manifest.subnets, trained.model.arch
    family = {entry.config.name: entry.config for entry in entries}
    for name in map(plain_name, drop):
        if family.pop(name, None) is None:
            raise InputError(f"there is no {name!r} to drop from {palette.folder}; it has {', '.join(family)}")
    for name in map(plain_name, add):
        if name in family:
            raise InputError(f"{name!r} is in {palette.folder} already; it has {', '.join(family)}")
        family[name] = find_subnet(trained, name)
    if not family:
        raise InputError(f"nothing would be left of {palette.folder}; drop fewer")
    largest_first = sorted(family.values(), key=arch.layer_parameters, reverse=True)
    return largest_first, tuple(dict.fromkeys(entry.precision for entry in entries))


def _rejected(trained: Supernet, texts: str | Path | None) -> Encoded | None:
    """Return the texts out of scope as rows.

    Raises:
        InputError: the supernet does not classify texts.
    """
    from edgedistill.data.batches import encode
    from edgedistill.data.readers import load_texts

    if texts is None:
        return None
    info = trained.info
    if not task_of(info.task).rejects:
        raise InputError(f"--out-of-scope is for text-classification; this supernet is for {info.task}")
    split = load_texts(Path(texts), info.task, pair=info.pairs)
    return encode(trained.tokenizer, split, info.task, max_tokens=info.max_tokens, pad=info.pad_token_id)


def _trimmed(trained: Supernet, rows: TaskData, least: int, progress: ProgressCallback) -> Supernet:
    """Return it with the tokens of the training texts, others up to ``least``, and what spells out any other word."""
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.supernet.vocabulary import trimmed

    count = trained.model.arch.vocabulary
    used = {token for ids in encode_data(trained, rows).train.ids for token in ids}
    named = set(trained.tokenizer.get_vocab().values())  # a model may have rows beyond
    others = (token for token in range(count) if token in named and token not in used)
    small = trimmed(trained, used.union(islice(others, max(0, least - len(used)))))
    left = small.model.arch.vocabulary
    note(progress, f"vocabulary: {left:,} of {count:,} tokens kept; other words are spelt out")
    return small


def export_family(
    supernet: Supernet,
    data: TaskData,
    family: Sequence[Subnet],
    output: Path,
    *,
    precisions: tuple[Precision, ...] = ("fp32",),
    keep_fp32: tuple[str, ...] = (),
    out_of_scope: Encoded | None = None,
    changing: Palette | None = None,
    progress: ProgressCallback = silent,
) -> Palette:
    """Write the family; warn where int8 or int4 costs too much.

    Raises:
        ExportError: ``output`` holds something else, or a graph disagrees with torch; the old palette stands.
        InputError: another process writes to ``output``.
    """
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.exporters import write_palette

    rows, graphs = encode_data(supernet, data), len(family) * len(precisions)
    with work(progress, f"exporting {graphs} graphs over one weights file a precision", graphs) as exporting:
        palette = write_palette(
            supernet,
            family,
            rows,
            output,
            lambda _: exporting.advance(),
            precisions=precisions,
            keep_fp32=keep_fp32,
            out_of_scope=out_of_scope,
            changing=changing,
        )
    for precision in precisions:
        _warn_of_losses(supernet, palette, precision, rows.validation, progress)
    return palette


def _warn_of_losses(
    supernet: Supernet, palette: Palette, precision: Precision, validation: Encoded, progress: ProgressCallback
) -> None:
    """Say what a precision costs where it is too much, and, of an encoder, which part to keep in fp32."""
    from edgedistill.exporters.sensitivity import MAX_SCORE_LOSS, losses_in, parts_that_cost

    losses = {name: loss for name, loss in losses_in(palette.manifest, precision).items() if loss > MAX_SCORE_LOSS}
    if not losses:
        return
    worst = max(losses, key=losses.__getitem__)
    entry = palette.manifest.subnet(worst)
    cost = (
        f"{precision} costs {len(losses)} members more than {100 * MAX_SCORE_LOSS:g} point on validation, {worst} "
        f"{100 * losses[worst]:.1f}"
    )
    if not capabilities_of(supernet.model.arch).finds_costly_parts:
        warn(progress, f"{cost}; '--keep-fp32' leaves a part out of it")
        return
    with work(progress, "finding which layers int8 costs most in"):
        part = parts_that_cost(supernet, entry.config, validation)[0]
    gained = 100 * (part.score - entry.score("validation"))
    warn(progress, f"{cost}; '--keep-fp32 {part.prefix}' gives it {gained:.1f} back")
