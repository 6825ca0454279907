"""A new palette put in place of the one that is served: noticed by its manifest, proven before it serves.

Proven means: every file has its recorded SHA-256, tokens and labels mean what they meant, and the subnets that take
over give the answers that they gave where they were exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedistill.errors import PaletteError
from edgedistill.manifest import MANIFEST_NAME, Manifest, Palette, load
from edgedistill.runtime.selector import smallest
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.slowdown import Size
from edgedistill.runtime.source import Source

__all__ = ["NewPalette", "Reloader"]

_LOOK_EVERY_S = 1.0
_Signature = tuple[int, int, int]


@dataclass(frozen=True)
class NewPalette:
    """Where its subnets come from, its smallest, and the one of the same name as served (None: there is none)."""

    source: Source
    floor: LoadedSubnet
    live: LoadedSubnet | None


class Reloader:
    """Watches the folder of the palette that is served.

    Args:
        palette: what is served.
        source_of: where the subnets of another one come from.
        size: of requests, to tell the smallest subnet by.
    """

    def __init__(self, palette: Palette, source_of: Callable[[Palette], Source], size: Size) -> None:
        self._palette = palette
        self._source_of = source_of
        self._size = size
        self._seen = self._signature()
        self._looked_s: float | None = None

    def changed(self, now_s: float) -> bool:
        """Whether there is a manifest that was not tried yet; looks once a second."""
        if self._looked_s is not None and now_s - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        signature = self._signature()
        if signature is None or signature == self._seen:
            return False
        self._seen = signature
        return True

    def prove(self, active: str, on_drained: Callable[[], None]) -> NewPalette:
        """Load it, and check it as far as it will serve at once.

        Raises:
            PaletteError: it is damaged, answers otherwise than it should, or is for something else.
            LoadError: a subnet cannot be loaded.
        """
        from edgedistill.runtime.verify import check_answers

        palette = load(self._palette.folder)
        _check_same_use(self._palette.manifest, palette.manifest)
        palette.check_hashes()
        source = self._source_of(palette)
        candidates = {c.name: c for c in source.candidates(self._size)}
        floor = source.load(smallest(tuple(candidates.values())).name, on_drained)
        live = floor if floor.name == active else None
        if live is None and active in candidates:
            live = source.load(active, on_drained)
        for subnet in {id(one): one for one in (floor, live) if one is not None}.values():
            check_answers(palette, subnet.name, subnet.session)
        self._palette = palette
        return NewPalette(source, floor, live)

    def _signature(self) -> _Signature | None:
        try:
            stat = (self._palette.folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _check_same_use(old: Manifest, new: Manifest) -> None:
    """What an application holds on to must stay as it is."""
    hashes = [{entry.name: entry.sha256 for entry in manifest.files} for manifest in (old, new)]
    same = {
        "the task": old.task == new.task and old.texts == new.texts,
        "the labels": old.labels == new.labels,
        "the inputs": old.inputs == new.inputs,
        "the outputs": old.outputs == new.outputs,
        "the tokenizer": old.tokenizer == new.tokenizer
        and hashes[0][old.tokenizer.file] == hashes[1][new.tokenizer.file],
        "whether it knows texts out of scope": (old.out_of_scope is None) == (new.out_of_scope is None),
        "the vectors of a subnet, which an index may hold": old.task != "sentence-embedding" or _same_vectors(old, new),
    }
    for what, is_same in same.items():
        if not is_same:
            raise PaletteError(f"it has changed {what}; start the application again to serve it")


def _same_vectors(old: Manifest, new: Manifest) -> bool:
    """Whether each subnet that both have is the same."""
    before, after = _contents(old), _contents(new)
    return all(before[name] == after[name] for name in before.keys() & after.keys())


def _contents(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """The hashes of each subnet's graph and weights."""
    hashes = {entry.name: entry.sha256 for entry in manifest.files}
    return {entry.name: (hashes[entry.graph], hashes[entry.weights]) for entry in manifest.subnets}
