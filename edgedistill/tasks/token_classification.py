"""Token classification: a tag for each word of a text, and the entities that the tags mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text, parse_tags, parse_words
from edgedistill.tasks.kinds import ClassTask
from edgedistill.tasks.task import Labelled, Record, Resampled, run_record

if TYPE_CHECKING:
    from edgedistill.tasks.task import Outputs

__all__ = ["TASK"]

_Tags = list[list[str]]
_SHOWN_CHARACTERS = 60


class _TokenClassification(ClassTask):
    name = "token-classification"
    headline = "entity_f1"
    max_texts = 1
    by_words = True
    adds_rare_labels = True
    head = "TokenClassification"
    problem_type = "single_label_classification"
    transformers_task = "token-classification"
    answered_by = ("TokenClassifier", "tag")

    def text(self, values: Sequence[Any], place: str) -> Text:
        return parse_words(values[0], "word", place)

    def label(self, value: Any, names: Sequence[str], text: Text, place: str) -> RawLabel:
        return parse_tags(value, names, len(text), place)

    def metrics(self, outputs: Outputs, labels: Sequence[Any], names: Sequence[str], /) -> dict[str, float]:
        """Score the words that are in the rows: those that were cut off have neither an output nor a label."""
        from edgedistill.tasks.metrics import entity_metrics

        return entity_metrics(*_named(outputs, labels, names))

    def resampled_by_labels(self, outputs: Outputs, labels: Sequence[Any], names: Sequence[str], /) -> Resampled:
        from edgedistill.tasks.metrics import entity_counts, entity_f1

        counts = entity_counts(*_named(outputs, labels, names))
        return (lambda rows: {self.headline: entity_f1(counts[rows])}), len(counts)

    def word_count_score(self, train: Labelled, test: Labelled, names: Sequence[str], /) -> float:
        """Return the F1 of a linear support vector machine over a word, its ending and its neighbours."""
        from edgedistill.tasks.metrics import entity_metrics
        from edgedistill.tasks.word_counts import predicted_tags

        predicted = predicted_tags(train, test[0])
        by_name = ([[names[tag] for tag in row] for row in rows] for rows in (predicted, test[1]))
        return entity_metrics(*by_name)[self.headline]

    def record(self, answers: Any, /) -> Record:
        (answer,) = answers
        entities = [asdict(entity) | {"score": round(entity.score, 6)} for entity in answer.entities]
        unread = {"unread": [list(span) for span in answer.unread]} if answer.unread else {}
        return {"entities": entities} | unread | run_record(answer.subnet, answer.latency_ms, answer.truncated)

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        entities = [(f"{e['label']}: {_shortened(e['text'])} {e['score']:.1%}", "") for e in record["entities"]]
        return entities or [("no entities", "dim")]


def _named(outputs: Outputs, labels: Sequence[Any], names: Sequence[str]) -> tuple[_Tags, _Tags]:
    """Return the tags by row that are predicted, and those that are right."""
    import numpy as np

    ends = np.cumsum([len(row) for row in labels])[:-1]
    predicted, right = (
        [[names[i] for i in row] for row in rows] for rows in (np.split(outputs.argmax(-1), ends), labels)
    )
    return predicted, right


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


TASK = _TokenClassification()
