"""A new palette put in place of the one that is served: noticed by its manifest, proven before it serves.

Proven means: every file has its recorded SHA-256, tokens and labels mean what they meant, and the subnets that take
over give the answers that they gave where they were exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedistill.errors import PaletteError
from edgedistill.manifest import MANIFEST_NAME, Manifest, Palette, load
from edgedistill.runtime.backoff import Backoff
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
        self._known = self._trying = self._seen = self._signature()
        self._backoff = Backoff()
        self._looked_s: float | None = None
        self._is_new = False

    def is_due(self, now_s: float) -> bool:
        """Whether there is a manifest to be tried; looks once a second."""
        if self._looked_s is None or now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            signature = self._signature()
            self._is_new = signature is not None and signature != self._known
            if signature != self._seen:
                self._seen = signature
                self._backoff.forget()  # which was of another manifest
        return self._is_new and self._backoff.allows(MANIFEST_NAME, now_s)

    def failed(self, error: Exception, now_s: float) -> bool:
        """A proof came to nothing; whether this manifest will be tried again, since it is not the manifest's fault."""
        if isinstance(error, PaletteError):
            self._known, self._is_new = self._trying, False
            return False
        self._backoff.failed(MANIFEST_NAME, now_s)
        return True

    def served(self, new: NewPalette) -> None:
        """What was proven is served."""
        assert new.source.palette is not None
        self._palette, self._known, self._is_new = new.source.palette, self._trying, False
        self._backoff.forget()

    def prove(self, active: str | None, on_drained: Callable[[], None]) -> NewPalette:
        """Load it, and check it as far as it will serve at once: its smallest subnet, and the one of that name.

        Raises:
            PaletteError: it is damaged, answers otherwise than it should, or is for something else.
            LoadError: a subnet cannot be loaded.
        """
        from edgedistill.runtime.verify import check_answers

        self._trying = self._signature()
        palette = load(self._palette.folder, profiles=self._palette.profiles_folder)
        _check_same_use(self._palette.manifest, palette.manifest)
        palette.check_hashes()
        source = self._source_of(palette)
        names = {c.name for c in source.candidates(self._size)}
        floor = source.load(source.floor(self._size, lambda _: True), on_drained)
        live = floor if floor.name == active else None
        if live is None and active in names:
            live = source.load(active, on_drained)
        for subnet in (floor, live):
            if subnet is not None:
                check_answers(palette, subnet.name, subnet.session)
        return NewPalette(source, floor, live)

    def _signature(self) -> _Signature | None:
        try:
            stat = (self._palette.folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _check_same_use(old: Manifest, new: Manifest) -> None:
    """What an application holds on to must stay as it is."""
    before, after = _hashes(old), _hashes(new)
    embeds = old.task == "sentence-embedding"
    same = {
        "the task": old.task == new.task and old.texts == new.texts,
        "the labels": old.labels == new.labels,
        "the inputs": old.inputs == new.inputs,
        "the outputs": old.outputs == new.outputs,
        "how it generates": old.generation == new.generation,
        "the tokenizer": old.tokenizer == new.tokenizer and before[old.tokenizer.file] == after[new.tokenizer.file],
        "whether it knows texts out of scope": (old.out_of_scope is None) == (new.out_of_scope is None),
        # An index holds vectors of some subnet, and whoever asks it was checked against the mixing.
        "its vectors": not embeds or (_members(old) == _members(new) and old.mixing == new.mixing),
    }
    for what, is_same in same.items():
        if not is_same:
            raise PaletteError(f"it has changed {what}; start the application again to serve it")


def _hashes(manifest: Manifest) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.files}


def _members(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """The hashes of each subnet's graph and weights."""
    hashes = _hashes(manifest)
    return {entry.name: (hashes[entry.graph], hashes[entry.weights]) for entry in manifest.subnets}
