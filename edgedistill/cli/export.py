"""``edgedistill export``: a supernet in, a palette out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from edgedistill.cli.common import AsJson, locking, progress, reported, stage
from edgedistill.cli.output import console, print_json, styled
from edgedistill.cli.profile import palette_document, palette_table, profile_here
from edgedistill.cli.search import Asked, Count, MaxLatency, MaxMemory, Profiled, Tokens, found_family
from edgedistill.cli.train import GRAMMAR, Source, read_data
from edgedistill.errors import InputError
from edgedistill.manifest import Precision, load, write_profile

if TYPE_CHECKING:
    from edgedistill.distillation.batches import Encoded
    from edgedistill.distillation.data import TaskData
    from edgedistill.manifest import Palette
    from edgedistill.subnet import SubnetConfig
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["ENCODER_PRECISIONS", "export", "export_palette", "load_trained", "plain_name", "source_of"]

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ENCODER_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@reported
@locking(lambda output, **_: output)
def export(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The palette's folder; replaced as a whole.")],
    data: Annotated[str | None, typer.Option(help="Where the training data are now, if they moved.")] = None,
    unlabelled: Annotated[Path | None, typer.Option(help="Where the texts without labels are now.")] = None,
    count: Count = 8,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    tokens: Tokens = 64,
    profiled: Profiled = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Of each subnet's graph: fp32, int8, of a decoder int4 too; may be repeated. Default: all there are."
        ),
    ] = None,
    keep_fp32: Annotated[
        list[str] | None,
        typer.Option(help="Leave this part out of int8 and int4: embeddings, layers.0, ...; may be repeated."),
    ] = None,
    out_of_scope: Annotated[
        Path | None,
        typer.Option(
            help="Texts that a classifier should reject, one a line, so that it can, by the same share whichever "
            "subnet answers. A thousand or more, some near the task's own."
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(help="Add this subnet to the palette that is there, and change nothing else; may be repeated."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="Take this subnet out of the palette that is there; may be repeated.")
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Keep this many tokens (those of the training texts in any case, then the tokenizer's first, which "
            "are the common ones), and what spells out any other word. Default: all.",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Add a board's estimate; may be repeated. The first one's costs choose the family. "
            "With --profiled: the device whose figures choose it."
        ),
    ] = None,
    measure: Annotated[bool, typer.Option("--profile/--no-profile", help="Measure this machine.")] = True,
    as_json: AsJson = False,
) -> None:
    """Choose a family of subnets, write it as a palette, and profile it on this machine.

    Example: edgedistill export supernet -o palette --device pi5
    """
    from edgedistill.device_profiles import estimate, load_board
    from edgedistill.exporters import check_place

    started = time.monotonic()
    if keep_fp32 and precision == ["fp32"]:
        raise InputError("--keep-fp32 leaves parts out of int8, and --precision fp32 has none; drop one of the two")
    check_place(output)
    boards = [] if profiled else [load_board(name) for name in device or []]
    trained = load_trained(supernet)
    precisions = _precisions(trained, precision or [])
    if trained.info.generation is not None:
        _check_decoder(boards=bool(boards), out_of_scope=out_of_scope)
    rows = read_data(source_of(trained, data, unlabelled))
    first = next(iter(device or []), None)
    asked = Asked(count, first, profiled, tokens, max_latency_ms, max_memory_mb)
    changing = load(output) if add or drop else None
    if changing is not None:
        family, precisions = _changed(trained, changing, add or [], drop or [])
    else:
        family = [member.subnet for member in found_family(trained, supernet, rows, asked).family]
    if vocabulary is not None:
        trained = _trimmed(trained, rows, vocabulary)
    rejected = _rejected(trained, out_of_scope)
    palette = export_palette(trained, rows, family, output, precisions, tuple(keep_fp32 or ()), rejected, changing)
    profile = profile_here(palette) if measure else None
    for board in boards:
        path = write_profile(palette, estimate(palette, board))
        console.print(f"{path}: an estimate, never checked on the board")
    document = palette_document(palette, profile) | {"wall_s": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(document)
    else:
        console.print(palette_table(palette, profile))
        console.print(f"Next: {_using(palette)}")


def _using(palette: Palette) -> str:
    """What may be done with it."""
    if palette.manifest.generation is not None:
        return f"edgedistill run {palette.folder} --prompt 'a text that goes on'"
    if palette.manifest.task == "text-classification" and palette.manifest.texts == 1:
        return f"edgedistill run {palette.folder} 'a text'"
    return "edgedistill.runtime.AdaptiveSession, with token ids"


def _precisions(trained: Supernet, asked: Sequence[str]) -> tuple[Precision, ...]:
    """Those that are asked for, or all that there are for this kind of model.

    Raises:
        InputError: there is no such precision, or it is for decoders alone.
    """
    known = _PRECISIONS if trained.info.generation is not None else ENCODER_PRECISIONS
    unknown = next((one for one in asked if one not in known), None)
    if unknown is not None:
        raise InputError(
            f"--precision: got {unknown!r}, expected {' or '.join(known)} of a supernet for {trained.info.task}"
        )
    return tuple(one for one in known if one in asked) or known


def _check_decoder(*, boards: bool, out_of_scope: Path | None) -> None:
    """Refuse what an export of a decoder does not do.

    Raises:
        InputError: one of these is asked for.
    """
    asked = {"--device": boards, "--out-of-scope": out_of_scope is not None}
    refused = " and ".join(name for name, given in asked.items() if given)
    if refused:
        raise InputError(
            f"{refused}: of an encoder alone; leave it out, and run 'edgedistill profile' on the board for its costs"
        )


def plain_name(member: str) -> str:
    """A subnet's name without its precision."""
    for precision in _PRECISIONS:
        member = member.removesuffix(f"-{precision}")
    return member


def _changed(
    trained: Supernet, palette: Palette, add: Sequence[str], drop: Sequence[str]
) -> tuple[list[SubnetConfig], tuple[Precision, ...]]:
    """The palette's own family with some more and some less, largest first, and its precisions.

    Raises:
        InputError: a subnet to add is there, one to drop is not, or none would be left.
    """
    from edgedistill.cli.extract import named_subnet

    entries, arch = palette.manifest.subnets, trained.model.arch
    family = {entry.config.name: entry.config for entry in entries}
    for name in map(plain_name, drop):
        if family.pop(name, None) is None:
            raise InputError(f"there is no {name!r} to drop from {palette.folder}; it has {', '.join(family)}")
    for name in map(plain_name, add):
        if name in family:
            raise InputError(f"{name!r} is in {palette.folder} already; it has {', '.join(family)}")
        family[name] = named_subnet(trained, name)
    if not family:
        raise InputError(f"nothing would be left of {palette.folder}; drop fewer")
    largest_first = sorted(family.values(), key=arch.layer_parameters, reverse=True)
    return largest_first, tuple(dict.fromkeys(entry.precision for entry in entries))


def _rejected(trained: Supernet, texts: Path | None) -> Encoded | None:
    """The texts out of scope as rows.

    Raises:
        InputError: the supernet is no classifier of texts.
    """
    from edgedistill.distillation.batches import encode
    from edgedistill.distillation.data import load_texts

    if texts is None:
        return None
    info = trained.info
    if info.task != "text-classification":
        raise InputError(f"--out-of-scope is for text-classification; this supernet is for {info.task}")
    split = load_texts(texts, info.task, pair=info.pairs)
    return encode(trained.tokenizer, split, info.task, max_tokens=info.max_tokens, pad=info.pad_token_id)


def _trimmed(trained: Supernet, rows: TaskData, least: int) -> Supernet:
    """With the tokens of the training texts, more to make up ``least``, and what spells out any other word."""
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.supernet.vocabulary import trimmed

    of = trained.model.arch.vocabulary
    used = {token for ids in encode_data(trained, rows).train.ids for token in ids}
    named = set(trained.tokenizer.get_vocab().values())  # a model may have rows beyond
    others = (token for token in range(of) if token in named and token not in used)
    small = trimmed(trained, used.union(islice(others, max(0, least - len(used)))))
    console.print(f"vocabulary: {small.model.arch.vocabulary:,} of {of:,} tokens kept; other words are spelt out")
    return small


def load_trained(folder: Path) -> Supernet:
    """A supernet whose stages are all done.

    Raises:
        CheckpointError: it is none, or not trained to its end.
    """
    from edgedistill.distillation.mlfs import STAGES
    from edgedistill.errors import CheckpointError
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(folder)
    if len(supernet.info.stages) < len(STAGES):
        raise CheckpointError(f"{folder} is not trained to the end; run the same 'edgedistill train' again")
    return supernet


def source_of(supernet: Supernet, data: str | None, unlabelled: Path | None) -> Source:
    """Return where the supernet's data are: where they were, or ``data`` and ``unlabelled`` if they moved.

    Raises:
        InputError: they are not where they were.
    """
    was = supernet.info.data
    place = None if unlabelled is not None else _still_there(was.unlabelled, "--unlabelled")
    return Source(
        task=supernet.info.task,
        data=data or _still_there(was.data, "--data"),
        unlabelled=unlabelled if place is None else Path(place),
        text_columns=was.text_columns,
        label_column=was.label_column,
        label_names=tuple(supernet.info.labels),
        is_recorded=data is None,
    )


def _still_there(recorded: str | None, option: str) -> str | None:
    """Return a recorded place; refuse a path that is gone, and name the option that says where it is now."""
    from edgedistill.distillation.tables import local_path

    path = None if recorded in (None, GRAMMAR) else local_path(str(recorded))
    if path is not None and not path.exists():
        raise InputError(f"the supernet was trained on {path}, which is not there; say where it is now by {option}")
    return recorded


def export_palette(
    supernet: Supernet,
    data: TaskData,
    family: Sequence[SubnetConfig],
    output: Path,
    precisions: tuple[Precision, ...] = ("fp32",),
    keep_fp32: tuple[str, ...] = (),
    out_of_scope: Encoded | None = None,
    changing: Palette | None = None,
) -> Palette:
    """Write the family; say where int8 or int4 costs too much."""
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.exporters import write_palette

    rows, graphs = encode_data(supernet, data), len(family) * len(precisions)
    title = f"exporting {graphs} graphs over one weights file a precision"
    with progress() as bars, stage(bars, title, graphs) as task:
        palette = write_palette(
            supernet,
            family,
            rows,
            output,
            lambda _: bars.advance(task),
            precisions=precisions,
            keep_fp32=keep_fp32,
            out_of_scope=out_of_scope,
            changing=changing,
        )
    for precision in precisions:
        _warn_of_losses(supernet, palette, precision, rows.validation)
    return palette


def _warn_of_losses(supernet: Supernet, palette: Palette, precision: Precision, validation: Encoded) -> None:
    """Where a precision costs more than it should: how much, and, of an encoder, what to keep in fp32."""
    from edgedistill.exporters.sensitivity import BOUND, losses_in, parts_that_cost

    losses = {name: loss for name, loss in losses_in(palette.manifest, precision).items() if loss > BOUND}
    if not losses:
        return
    worst = max(losses, key=losses.__getitem__)
    entry = palette.manifest.subnet(worst)
    cost = (
        f"{precision} costs {len(losses)} members more than {100 * BOUND:g} point on validation, {worst} "
        f"{100 * losses[worst]:.1f}"
    )
    if supernet.info.generation is not None:
        console.print(styled((f"{cost}; '--keep-fp32' leaves a part out of it", "yellow")))
        return
    with console.busy("finding which layers int8 costs most in"):
        part = parts_that_cost(supernet, entry.config, validation)[0]
    gained = 100 * (part.score - entry.score("validation"))
    console.print(styled((f"{cost}; '--keep-fp32 {part.prefix}' gives it {gained:.1f} back", "yellow")))
