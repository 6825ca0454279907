"""A new palette put in place of the one that is served: noticed by its manifest, proven before it serves.

Proven means: every file has its recorded SHA-256, tokens and labels mean what they meant, and the subnets that take
over give the answers that they gave where they were exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedistill.errors import PaletteError
from edgedistill.palette import MANIFEST_NAME, Manifest, Palette, load, read_manifest
from edgedistill.palette.bounded_files import Stamp, stamp
from edgedistill.runtime.backoff import Backoff
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.snapshot import private_copy
from edgedistill.runtime.source import Source
from edgedistill.tasks import task_of

__all__ = ["NewPalette", "Reloader"]

_LOOK_EVERY_S = 1.0
_LONGEST_WAIT_S = 10.0  # between two times that a palette's bytes are read which is not whole
_Signature = tuple[Stamp | None, ...]
"""Return the stamps of the manifest, and of the files that it lists while it is not served."""


class _NotWholeError(PaletteError):
    """The files are not those that the manifest lists: they may still be on their way."""


@dataclass(frozen=True)
class NewPalette:
    """Where its subnets come from, its smallest, and the one of the same name as served (None: there is none)."""

    source: Source
    fallback: LoadedSubnet
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
        self._last_read: tuple[Stamp | None, tuple[str, ...]] = None, ()
        self._seen = self._trying = self._refused = self._signature()
        self._served = self._seen[0]
        self._told: Stamp | None = None  # the manifest of which it was said that its files are not whole
        self._backoff = Backoff(longest_s=_LONGEST_WAIT_S)
        self._looked_s: float | None = None
        self._is_new = False

    def is_due(self, now_s: float) -> bool:
        """Return whether there is a palette to be tried: one that differs, and did not change since the last look."""
        if self._looked_s is None or now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            signature = self._signature()
            is_other = signature[0] not in (None, self._served) and signature != self._refused
            self._is_new = is_other and signature == self._seen
            if signature[0] != self._seen[0]:
                self._backoff.forget()  # which was of another manifest
            self._seen = signature
        return self._is_new and self._backoff.allows(MANIFEST_NAME, now_s)

    def failed(self, error: Exception, now_s: float) -> str | None:
        """Note that a proof came to nothing; return what to say of it, None where that was said.

        It is tried again when a file has changed. Where the palette is not at fault, it is tried again in any case.
        """
        if not isinstance(error, PaletteError):
            self._backoff.failed(MANIFEST_NAME, now_s)
            return f"the new palette is not served, and will be tried again: {error}"
        self._refused, self._is_new = self._trying, False
        if not isinstance(error, _NotWholeError):
            return f"the new palette is not served: {error}"
        self._backoff.failed(MANIFEST_NAME, now_s)
        if self._told == self._trying[0]:
            return None
        self._told = self._trying[0]
        return f"the new palette is not served until its files are those that it lists: {error}"

    def served(self, new: NewPalette) -> None:
        """What was proven is served."""
        assert new.source.palette is not None
        self._palette, self._served, self._is_new = new.source.palette, self._trying[0], False
        self._backoff.forget()

    def prove(self, active: str | None, on_drained: Callable[[], None]) -> NewPalette:
        """Load it, and check it as far as it will serve at once: its smallest subnet, and the one of that name.

        Raises:
            PaletteError: it is damaged, answers otherwise than it should, or is for something else.
            LoadError: a subnet cannot be loaded.
        """
        from edgedistill.runtime.verification import check_answers

        self._trying = self._signature()
        palette = self._opened()
        source = self._source_of(palette)
        names = {c.name for c in source.candidates(self._size)}
        fallback = source.load(source.fallback(self._size, lambda _: True), on_drained)
        live = fallback if fallback.name == active else None
        if live is None and active in names:
            live = source.load(active, on_drained)
        for subnet in (fallback, live):
            if subnet is not None:
                check_answers(palette, subnet.name, subnet.session)
        return NewPalette(source, fallback, live)

    def _opened(self) -> Palette:
        """Read the new palette, and copy it once every hash is right."""
        old = self._palette
        digest = old.manifest.digest if old.pinned else None
        try:
            palette = load(old.folder, profiles=old.profiles_folder, digest=digest)
            _check_same_use(old.manifest, palette.manifest)
            palette.check_hashes()
        except _OtherUseError:
            raise
        except PaletteError as error:
            raise _NotWholeError(str(error)) from error
        return private_copy(palette)

    def _signature(self) -> _Signature:
        manifest = self._stamp(MANIFEST_NAME)
        return manifest, *(self._stamp(name) for name in self._listed(manifest))

    def _stamp(self, name: str) -> Stamp | None:
        try:
            return stamp((self._palette.folder / name).stat())
        except OSError:
            return None

    def _listed(self, manifest: Stamp | None) -> tuple[str, ...]:
        """Return the files of the manifest that is there now, which is read when its stamp changes."""
        if self._last_read[0] != manifest:
            try:
                files = read_manifest(self._palette.folder).files
            except PaletteError:  # half of one
                files = []
            self._last_read = manifest, tuple(entry.name for entry in files)
        return self._last_read[1]


class _OtherUseError(PaletteError):
    """The palette is whole, and for something else than the one that is served."""


def _check_same_use(old: Manifest, new: Manifest) -> None:
    """What an application holds on to must stay as it is."""
    before, after = _hashes(old), _hashes(new)
    tokenizer, other = old.text_input.tokenizer, new.text_input.tokenizer
    embeds = task_of(old.task).embeds
    same = {
        "the task": old.task == new.task and old.text_input.texts == new.text_input.texts,
        "the labels": old.labels == new.labels,
        "the inputs": old.graph_inputs == new.graph_inputs,
        "the outputs": old.graph_outputs == new.graph_outputs,
        "how it generates": old.generation == new.generation,
        "the tokenizer": tokenizer == other and before[tokenizer.file] == after[other.file],
        "whether it knows texts out of scope": (old.out_of_scope is None) == (new.out_of_scope is None),
        # An index holds vectors of some subnet, and whoever asks it was checked against the mixing.
        "its vectors": not embeds or (_members(old) == _members(new) and old.mixing == new.mixing),
    }
    for what, is_same in same.items():
        if not is_same:
            raise _OtherUseError(f"it has changed {what}; start the application again to serve it")


def _hashes(manifest: Manifest) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.files}


def _members(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """The hashes of each subnet's graph and weights."""
    hashes = _hashes(manifest)
    return {entry.name: (hashes[entry.graph], hashes[entry.weights]) for entry in manifest.subnets}
