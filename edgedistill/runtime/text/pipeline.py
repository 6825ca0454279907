"""Provide what the classes of all tasks share: a session, a tokenizer, and runs of batches of texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from edgedistill.errors import EdgeDistillError, InputError, PaletteError, RunError
from edgedistill.palette import Palette
from edgedistill.renamed import renamed_option
from edgedistill.runtime.adaptive import AdaptiveSession, Answer
from edgedistill.runtime.arguments import checked_deadline, checked_items
from edgedistill.runtime.tasks import check_task
from edgedistill.runtime.text.tokenization import EncodedText, TextTokenizer
from edgedistill.tasks import TaskName, task_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OUTPUT", "Pipeline", "Source", "countdown", "numbered"]

OUTPUT = "logits"
Source = AdaptiveSession | str | Path | Palette
"""An open session, or a palette to open."""

_BATCH = 32
_R = TypeVar("_R", bound=EncodedText)
_Self = TypeVar("_Self", bound="Pipeline")


class Pipeline:
    """Answer texts of one task with the palette behind ``session``.

    Raises:
        InputError: there are options for a session that is open already.
        PaletteError: the palette is for another task, or it or its tokenizer is damaged.
    """

    task: ClassVar[TaskName]

    def __init__(self, session: Source, **options: Any) -> None:
        self._owned = not isinstance(session, AdaptiveSession)
        message = renamed_option(options)
        if message is not None:
            raise InputError(message)
        if isinstance(session, AdaptiveSession) and options:
            raise InputError(f"the session is open already; give {', '.join(options)} to it")
        self._session = session if isinstance(session, AdaptiveSession) else AdaptiveSession(session, **options)
        try:
            check_task(self._session.palette.manifest, self.task)
            self._reader = TextTokenizer(self._session.palette)
            self._width = self._session.palette.manifest.graph_outputs[0].shape[-1]
        except PaletteError:
            self.close()
            raise

    @property
    def session(self) -> AdaptiveSession:
        """Return the session behind it."""
        return self._session

    def _read(self, texts: Sequence[object]) -> list[EncodedText]:
        return [self._reader.read(text, place) for place, text in numbered(texts)]

    def _answered(
        self, left_ms: Callable[[], float | None], read: Sequence[_R]
    ) -> Iterator[tuple[_R, NDArray[np.float32], Answer]]:
        """Yield each text with its outputs, without the batch dimension, and the answer of its run."""
        for batch, _, answer in self._runs(left_ms, read):
            for text, outputs in zip(batch, answer.outputs[0], strict=True):
                yield text, outputs, answer

    def _runs(
        self, left_ms: Callable[[], float | None], read: Sequence[_R]
    ) -> Iterator[tuple[Sequence[_R], dict[str, NDArray[np.int64]], Answer]]:
        """Yield batches of texts, with the feeds and the answer of their runs."""
        for start in range(0, len(read), _BATCH):
            batch = read[start : start + _BATCH]
            feeds = self._reader.feeds(batch)
            try:
                answer = self._run(self._session.answer, [OUTPUT], feeds, deadline_ms=left_ms())
            except RunError as error:
                raise self._blamed(batch, start, error) from error
            self._check_shape(answer, feeds["input_ids"].shape)
            yield batch, feeds, answer

    def _check_shape(self, answer: Answer, tokens: tuple[int, ...]) -> None:
        """Refuse an answer of another shape than the manifest promises: ``tokens`` are [batch, tokens].

        Raises:
            RunError: the graph is not what the palette says.
        """
        expected = (*(tokens if task_of(self.task).by_words else tokens[:1]), self._width)
        if answer.outputs[0].shape != expected:
            raise RunError(
                f"{answer.subnet} answered in the shape {answer.outputs[0].shape}, expected {expected}; "
                "export the palette again"
            )

    def _blamed(self, batch: Sequence[EncodedText], start: int, error: RunError) -> EdgeDistillError:
        """Return the error of a batch that failed: of its first text that fails alone, where the model itself works.

        Such is a text with a token that the embedding table has no row for.
        """
        refused = error.__cause__ is not None  # by onnxruntime; numbers that are not finite have no cause
        if not refused or not self._can_answer(self._reader.trial_feeds()):
            return error
        for place, read in enumerate(batch, start=start + 1):
            if not self._can_answer(self._reader.feeds([read])):
                return InputError(f"text {place} makes the model fail, and others do not ({error}); leave it out")
        return error

    def _can_answer(self, feeds: dict[str, NDArray[np.int64]]) -> bool:
        try:
            self._run(self._session.answer, [OUTPUT], feeds)
        except RunError:
            return False
        return True

    def _run(self, answer: Callable[..., Answer], *args: Any, **options: Any) -> Answer:
        """Return the answer to our own feeds: if the graphs refuse those, the palette is at fault.

        Raises:
            RunError: no subnet can answer.
        """
        try:
            return answer(*args, **options)
        except EdgeDistillError:
            raise
        except Exception as error:  # onnxruntime's share no base class
            what = next(iter(str(error).splitlines()), type(error).__name__)
            raise RunError(f"no subnet could answer: {what}; run 'edgedistill verify'") from error

    def close(self) -> None:
        """Close the session if it was opened here."""
        if self._owned:
            self._session.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def numbered(texts: Sequence[object]) -> Iterator[tuple[int, object]]:
    """Return the texts with their places, from 1.

    Raises:
        InputError: it is not a list, such as one string, whose letters would be the texts.
    """
    if isinstance(texts, str):
        raise InputError("texts is one string; expected a list of them")
    return enumerate(checked_items(texts, "texts", "a list of them"), start=1)


def countdown(deadline_ms: float | None) -> Callable[[], float | None]:
    """Return a function that returns the milliseconds left of a deadline from now; None without one.

    Raises:
        InputError: it is not a number.
    """
    if deadline_ms is None:
        return lambda: None
    end_s = time.perf_counter() + checked_deadline(deadline_ms) / 1e3
    return lambda: (end_s - time.perf_counter()) * 1e3
