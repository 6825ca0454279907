"""Replace the served palette by a new one: noticed by its manifest, verified before it serves.

Verified means: every file has its recorded SHA-256, tokens and labels have the same meaning, and the subnets that take
over give the answers recorded at export.
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
_LONGEST_WAIT_S = 10.0  # between two reads of a palette that is incomplete
_Signature = tuple[Stamp | None, ...]
"""Return the stamps of the manifest, and of the files that it lists while it is not served."""


class _NotWholeError(PaletteError):
    """The files are not those that the manifest lists: they may still be on their way."""


@dataclass(frozen=True)
class NewPalette:
    """Hold a verified palette: its source, its smallest subnet, and the one of the active name, if any."""

    source: Source
    fallback: LoadedSubnet
    live: LoadedSubnet | None


class Reloader:
    """Watch the folder of the served palette.

    Args:
        palette: the served palette.
        source_of: returns the source of another palette's subnets.
        size: the size of requests, which determines the smallest subnet.
    """

    def __init__(self, palette: Palette, source_of: Callable[[Palette], Source], size: Size) -> None:
        self._palette = palette
        self._source_of = source_of
        self._size = size
        self._last_read: tuple[Stamp | None, tuple[str, ...]] = None, ()
        self._seen = self._trying = self._refused = self._signature()
        self._served = self._seen[0]
        self._reported: Stamp | None = None  # the manifest whose files were reported as incomplete
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
        """Record a failed verification; return the message to log, None if it was logged before.

        It is retried when a file has changed, or in any case if the palette is not at fault.
        """
        if not isinstance(error, PaletteError):
            self._backoff.failed(MANIFEST_NAME, now_s)
            return f"the new palette is not served, and will be tried again: {error}"
        self._refused, self._is_new = self._trying, False
        if not isinstance(error, _NotWholeError):
            return f"the new palette is not served: {error}"
        self._backoff.failed(MANIFEST_NAME, now_s)
        if self._reported == self._trying[0]:
            return None
        self._reported = self._trying[0]
        return f"the new palette is not served until its files are those that it lists: {error}"

    def served(self, new: NewPalette) -> None:
        """Record that the verified palette is served now."""
        assert new.source.palette is not None
        self._palette, self._served, self._is_new = new.source.palette, self._trying[0], False
        self._backoff.forget()

    def prove(self, active: str | None, on_drained: Callable[[], None]) -> NewPalette:
        """Load the new palette, and check the subnets that will serve first: its smallest, and the active name.

        Raises:
            PaletteError: it is damaged, its answers differ from those recorded, or it has another purpose.
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
        """Read the new palette, check every hash, and copy it."""
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
            except PaletteError:  # half written
                files = []
            self._last_read = manifest, tuple(entry.name for entry in files)
        return self._last_read[1]


class _OtherUseError(PaletteError):
    """The palette is whole, and for something else than the one that is served."""


def _check_same_use(old: Manifest, new: Manifest) -> None:
    """Refuse a palette that changes what an application relies on."""
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
        # An index holds vectors of some subnet, and its queries were checked against the mixing.
        "its vectors": not embeds or (_members(old) == _members(new) and old.mixing == new.mixing),
    }
    for what, is_same in same.items():
        if not is_same:
            raise _OtherUseError(f"it has changed {what}; start the application again to serve it")


def _hashes(manifest: Manifest) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.files}


def _members(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """Return the hashes of each subnet's graph and weights."""
    hashes = _hashes(manifest)
    return {entry.name: (hashes[entry.graph], hashes[entry.weights]) for entry in manifest.subnets}
