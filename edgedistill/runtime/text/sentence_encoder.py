"""Sentence embeddings: one vector a text, and which subnets' vectors may meet in a search.

Shapes: n texts, d numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.palette import Manifest, Palette, load
from edgedistill.runtime.adaptive import AdaptiveSession
from edgedistill.runtime.text.pipeline import Pipeline, Source, countdown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SentenceEncoder", "Vectors"]


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no one answer to ==
class Vectors:
    """The answer to some texts; each attribute has a row, or an entry, for each.

    Attributes:
        vectors: float32 [n, d], of unit length.
        subnets: which subnet gave the row.
        latency_ms: how long the run took that the text was in.
        truncated: whether the text was longer than what is read: the model's tokens, of 64 characters at most.
    """

    vectors: NDArray[np.float32]
    subnets: tuple[str, ...]
    latency_ms: tuple[float, ...]
    truncated: tuple[bool, ...]


class SentenceEncoder(Pipeline):
    """Turns texts into vectors with the palette behind ``session``: an open session, or a palette to open.

    A session that was given stays the caller's to close; one opened here closes with the encoder.
    ``options`` are those of `AdaptiveSession`. ``index``: the subnet that built the index which the vectors are to
    query; then those alone answer whose vectors find in it nearly what they would find in one of their own, by the
    palette's measurements, or only itself where nothing was measured.

    Raises:
        InputError: the session that was given may serve a subnet that may not query the index, or there are options
            for a session that is open already.
        PaletteError: the palette is for another task, has no subnet of that name, or it or its tokenizer is damaged.
    """

    task = "sentence-embedding"

    def __init__(self, session: Source, *, index: str | None = None, **options: Any) -> None:
        if index is None:
            super().__init__(session, **options)
        elif isinstance(session, AdaptiveSession):
            _check_may_query(index, session)
            super().__init__(session, **options)
        else:
            palette = session if isinstance(session, Palette) else load(session)
            super().__init__(palette, only=_allowed(index, palette.manifest), **options)

    def encode(self, texts: Sequence[str], *, deadline_ms: float | None = None) -> Vectors:
        """One vector a text, in their order; runs take up to 32 texts at a time, and may go to different subnets.

        With ``deadline_ms``, counted from the call, the smallest subnet answers what the live one is not expected to in
        time.

        Raises:
            InputError: a text is empty, blank, no valid Unicode or no string; none is answered then.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet gave a usable answer.
            SessionClosed: after `close`.
        """
        import numpy as np

        found = list(self._answered(countdown(deadline_ms), self._read(texts)))
        shape = len(found), int(self.session.palette.manifest.graph_outputs[0].shape[-1])
        return Vectors(
            np.array([outputs for _, outputs, _ in found], dtype=np.float32).reshape(shape),
            tuple(answer.subnet for _, _, answer in found),
            tuple(answer.latency_ms for _, _, answer in found),
            tuple(read.truncated for read, _, _ in found),
        )


def _allowed(index: str, manifest: Manifest) -> list[str]:
    """The subnets whose vectors may query an index that this one built."""
    builder = manifest.subnet(index).name
    if manifest.mixing is None:
        return [builder]
    return [entry.name for entry in manifest.subnets if manifest.mixing.allowed(entry.name, builder)]


def _check_may_query(index: str, session: AdaptiveSession) -> None:
    allowed = _allowed(index, session.palette.manifest)
    forbidden = [name for name in session.subnets if name not in allowed]
    if forbidden:
        raise InputError(
            f"the session may serve {', '.join(forbidden)}, whose vectors may not query an index of {index}; "
            "give SentenceEncoder the palette instead"
        )
