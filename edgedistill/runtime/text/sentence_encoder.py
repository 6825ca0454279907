"""Embed sentences: one vector per text, by subnets whose vectors are compatible with an index.

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
    """Hold the vectors of texts; each attribute has a row, or an entry, per text.

    Attributes:
        vectors: float32 [n, d], of unit length.
        subnets: the subnet of each row.
        latency_ms: latency of the run that included the text.
        truncated: whether the text exceeded the model's tokens, at 64 characters each, and was cut.
    """

    vectors: NDArray[np.float32]
    subnets: tuple[str, ...]
    latency_ms: tuple[float, ...]
    truncated: tuple[bool, ...]


class SentenceEncoder(Pipeline):
    """Embed texts with the palette behind ``session``: an open session, or a palette to open.

    The caller closes a session of its own; one opened here closes with the encoder. ``options`` are those of
    `AdaptiveSession`. ``index``: the subnet that built the index to query. Then only compatible subnets serve: by the
    palette's measurements, their vectors retrieve from it nearly what they would from an index of their own. Without
    measurements only that subnet serves.

    Raises:
        InputError: the session may serve a subnet that is not compatible with the index, or there are options for a
            session that is open already.
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
        """Return a vector per text, in order; runs take up to 32 texts at a time, possibly on different subnets.

        With ``deadline_ms``, counted from the call, the smallest subnet runs what the active one is not expected to
        finish in time.

        Raises:
            InputError: a text is empty, blank, not valid Unicode or not a string; then none is answered.
            InputError: ``deadline_ms`` is not a number.
            RunError: no subnet returned finite numbers.
            SessionClosed: after `close`.
        """
        import numpy as np

        answers = list(self._answered(countdown(deadline_ms), self._read(texts)))
        shape = len(answers), int(self.session.palette.manifest.graph_outputs[0].shape[-1])
        return Vectors(
            np.array([outputs for _, outputs, _ in answers], dtype=np.float32).reshape(shape),
            tuple(answer.subnet for _, _, answer in answers),
            tuple(answer.latency_ms for _, _, answer in answers),
            tuple(read.truncated for read, _, _ in answers),
        )


def _allowed(index: str, manifest: Manifest) -> list[str]:
    """Return the subnets whose vectors may query an index built by ``index``."""
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
