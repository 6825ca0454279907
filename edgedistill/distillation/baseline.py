"""What word counts reach without a network: a palette has to be clearly above it to be worth its place."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from edgedistill.distillation.data import ClassificationData

__all__ = ["word_count_accuracy"]


def word_count_accuracy(data: ClassificationData) -> float:
    """Test accuracy, 0 to 1, of a linear classifier over TF-IDF of words and of characters."""
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    model = make_pipeline(features, LinearSVC())
    model.fit(data.train.texts, data.train.labels)
    return float(accuracy_score(data.test.labels, model.predict(data.test.texts)))
