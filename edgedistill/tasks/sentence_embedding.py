"""Sentence embedding: a vector of unit length for a text, near those of texts that mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.tasks.fields import RawLabel, Text, parse_number
from edgedistill.tasks.kinds import NumberTask
from edgedistill.tasks.task import Labelled, Record, Resampled, run_record

if TYPE_CHECKING:
    from torch import Tensor

    from edgedistill.tasks.task import Outputs

__all__ = ["TASK"]

_SHOWN_NUMBERS = 4


class _SentenceEmbedding(NumberTask):
    """Unit vectors of the teacher's dimension. A pair with a score is two rows, one after the other."""

    name = "sentence-embedding"
    headline = "spearman"
    agreement = "cosine_to_teacher"
    embeds = True
    learns_from_labels = False
    transformers_task = "feature-extraction"
    answered_by = ("SentenceEncoder", "encode")

    def label(self, value: Any, _names: Sequence[str], _text: Text, place: str) -> RawLabel:
        return parse_number(value, place)

    def outputs(self, _labels: int, hidden: int, /) -> int:
        return hidden

    def hard_loss(self, _outputs: Tensor, _labels: Tensor, /) -> Tensor:
        raise NotImplementedError("sentence embeddings learn from a teacher alone")

    def metrics(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> dict[str, float]:
        """Correlate the pairs' cosines with their scores, which both rows of a pair have."""
        from edgedistill.tasks.metrics import correlations, cosines

        return correlations(cosines(outputs[::2], outputs[1::2]), labels[::2])

    def resampled_by_labels(self, outputs: Outputs, labels: Sequence[Any], _names: Sequence[str], /) -> Resampled:
        import numpy as np

        from edgedistill.tasks.metrics import correlations, cosines

        alike, scores = cosines(outputs[::2], outputs[1::2]), np.asarray(labels[::2])
        return (lambda rows: {self.headline: correlations(alike[rows], scores[rows])[self.headline]}), len(scores)

    def agreements(self, outputs: Outputs, teacher: Outputs, /) -> dict[str, float]:
        """Return the mean cosine with the teacher's vectors."""
        from edgedistill.tasks.metrics import cosines

        return {self.agreement: float(cosines(outputs, teacher).mean())}

    def word_count_score(self, train: Labelled, test: Labelled, _names: Sequence[str], /) -> float:
        """Return Spearman's correlation of TF-IDF's own cosines."""
        from edgedistill.tasks.metrics import correlations
        from edgedistill.tasks.word_counts import text_cosines

        return correlations(text_cosines(train[0], test[0]), test[1])[self.headline]

    def record(self, answers: Any, /) -> Record:
        numbers = [round(number, 7) for number in answers.vectors[0].tolist()]
        return {"vector": numbers} | run_record(answers.subnets[0], answers.latency_ms[0], answers.truncated[0])

    def shown(self, record: Record, /) -> list[tuple[str, str]]:
        first = [f"{number:.4f}" for number in record["vector"][:_SHOWN_NUMBERS]]
        return [(f"{len(record['vector'])} numbers from {', '.join(first)}", "")]


TASK = _SentenceEmbedding()
