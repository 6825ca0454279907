"""Plan which subnets, shapes and threads of a palette to measure, and in which groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from edgedistill.device_profiles.cost_model import PassWork, choose_spanning
from edgedistill.errors import InputError
from edgedistill.palette import Palette, Precision, SubnetEntry

__all__ = ["DEFAULT_LENGTHS", "MeasurementPlan", "plan_measurements", "usable_lengths"]

DEFAULT_LENGTHS = (16, 64, 128)
_MAX_QUICK_SUBNETS = 5  # of each precision, measured by a quick profile
# MiniLM-L6's session took 20 MB and a little more than its layers' weights (x86-64, onnxruntime 1.32).
_SESSION_MB = 20.0
_BYTES_A_WEIGHT: dict[Precision, float] = {"fp32": 4.4, "int8": 1.2, "int4": 0.7}


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """Hold the profile's ``lengths``, ``batches`` and ``threads``, and those of them that are measured.

    ``groups``: subnets whose sessions are open together, so that their latencies are measured in turns.
    """

    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    measured_lengths: tuple[int, ...]
    measured_batches: tuple[int, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Return batch and length of each shape in the profile."""
        return list(product(self.batches, self.lengths))

    @property
    def measured_shapes(self) -> list[tuple[int, int]]:
        """Return batch and length of each measured shape."""
        return list(product(self.measured_batches, self.measured_lengths))

    @property
    def subnets(self) -> list[str]:
        """Return the names of the measured subnets."""
        return [name for group in self.groups for name in group]


def plan_measurements(
    palette: Palette,
    *,
    lengths: Iterable[int],
    batches: Iterable[int],
    threads: Iterable[int],
    quick: bool,
    free_mb: float | None,
) -> MeasurementPlan:
    """Plan all subnets at all shapes; if ``quick``, at most five of each precision at the extreme shapes.

    Sessions that are open together take at most half of ``free_mb``. A palette for generation also measures a single
    token.

    Raises:
        InputError: a length, batch or number of threads is missing or below 1, or unsuitable for generation.
    """
    lengths, batches, threads = (_numbers(values, name) for name, values in _named(lengths, batches, threads))
    lengths = usable_lengths(palette, lengths)
    batches = tuple(sorted(set(batches)))
    if palette.manifest.generation is not None and (quick or batches != (1,)):
        raise InputError(
            "the palette generates one text at a time, and is profiled in full: leave out quick and batches"
        )
    entries, measured = palette.manifest.subnets, (lengths, batches)
    if quick:
        measured = (_ends(lengths), _ends(batches))
        entries = _spanning(palette, list(product(measured[1], measured[0])))
    return MeasurementPlan(lengths, batches, threads, *measured, tuple(_grouped(entries, free_mb)))


def _named(*values: Iterable[int]) -> Iterator[tuple[str, Iterable[int]]]:
    yield from zip(("lengths", "batches", "threads"), values, strict=True)


def _numbers(values: Iterable[int], name: str) -> tuple[int, ...]:
    numbers = tuple(dict.fromkeys(values))
    if not numbers or min(numbers) < 1:
        raise InputError(f"{name}: got {', '.join(map(str, numbers)) or 'none'}, expected numbers of 1 or more")
    return numbers


def usable_lengths(palette: Palette, lengths: Iterable[int]) -> tuple[int, ...]:
    """Return ``lengths`` in tokens, ascending and cut to the longest that the palette accepts.

    For generation they are prompt lengths, and 1 is added: a token after the prompt.
    """
    manifest = palette.manifest
    alone = set() if manifest.generation is None else {1}
    return tuple(sorted({min(length, manifest.max_tokens) for length in lengths} | alone))


def _ends(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((values[0], values[-1])))


def _spanning(palette: Palette, shapes: Sequence[tuple[int, int]]) -> list[SubnetEntry]:
    """Choose the subnets of each precision for a quick profile, in the manifest's order."""
    outputs = len(palette.manifest.labels)
    chosen: set[str] = set()
    precisions: set[Precision] = {entry.precision for entry in palette.manifest.subnets}
    for precision in precisions:
        entries = [entry for entry in palette.manifest.subnets if entry.precision == precision]
        works = [PassWork.of_entry(entry, outputs) for entry in entries]
        chosen |= {entries[index].name for index in choose_spanning(works, shapes, _MAX_QUICK_SUBNETS)}
    return [entry for entry in palette.manifest.subnets if entry.name in chosen]


def _grouped(entries: Sequence[SubnetEntry], free_mb: float | None) -> Iterator[tuple[str, ...]]:
    """Group as many subnets as fit into half of the memory together, at least one."""
    group: list[str] = []
    taken_mb = 0.0
    for entry in entries:
        own_mb = _SESSION_MB + _BYTES_A_WEIGHT[entry.precision] * entry.layer_parameters / 1e6
        if group and free_mb is not None and taken_mb + own_mb > free_mb / 2:
            yield tuple(group)
            group, taken_mb = [], 0.0
        group.append(entry.name)
        taken_mb += own_mb
    yield tuple(group)
