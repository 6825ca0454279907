"""What word counts reach without a network: a palette has to be clearly above it to be worth its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.svm import LinearSVC

from edgedistill.distillation.data import Split, TaskData
from edgedistill.distillation.metrics import class_metrics, correlations, entity_metrics
from edgedistill.distillation.rows import Text
from edgedistill.errors import DataError

__all__ = ["word_count_score"]

_AROUND = 2  # words on either side that tell of a word's tag
_SUFFIX = 3  # characters of a word's end
_EDGE = "\n"  # no word


def word_count_score(data: TaskData) -> float:
    """The task's headline metric on test, of a linear model over TF-IDF of words and of characters.

    Of tags it is over a word, its ending and its neighbours; of embeddings the cosine of TF-IDF itself.

    Raises:
        DataError: there are no labels to learn from or to be scored by.
    """
    if data.test.labels is None or not (data.labelled or data.task == "sentence-embedding"):
        raise DataError("word counts need labels, to learn from and to be scored by; give labelled data")
    if data.task == "token-classification":
        return _tags(data)
    if data.task == "sentence-embedding":
        return _cosine(data)
    return _sentences(data)


def _sentences(data: TaskData) -> float:
    features = _tf_idf().fit(_parts(data.train))
    classes = data.task == "text-classification"
    # Numbers of a pair are of how alike its texts are, whatever they are about.
    train, test = (_features(features, split, alike_alone=not classes) for split in (data.train, data.test))
    model = (LinearSVC() if classes else Ridge()).fit(train, data.train.labels)
    found, labels = model.predict(test), data.test.labels or ()
    if classes:
        return class_metrics(found, labels, len(data.label_names))["accuracy"]
    return correlations(found, labels)["spearman"]


def _tf_idf() -> FeatureUnion:
    return make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )


def _parts(split: Split) -> list[str]:
    """Every text, and both of a pair."""
    return [part for text in split.texts for part in (text if isinstance(text, tuple) else (text,))]


def _features(features: FeatureUnion, split: Split, *, alike_alone: bool) -> csr_matrix:
    """Of a text its own; of a pair both texts', unless ``alike_alone``, their distance and their product."""
    counted = csr_matrix(features.transform(_parts(split)))
    if isinstance(split.texts[0], str):
        return counted
    first, second = counted[::2], counted[1::2]
    alike = [abs(first - second), first.multiply(second)]
    return hstack(alike if alike_alone else [first, second, *alike], format="csr")


def _cosine(data: TaskData) -> float:
    counted = _tf_idf().fit(_parts(data.train)).transform(_parts(data.test))
    return correlations(_row_cosines(counted[::2], counted[1::2]), data.test.labels or ())["spearman"]


def _row_cosines(first: csr_matrix, second: csr_matrix) -> Any:
    """Both parts of the union have length 1, or 0 where no word is known."""
    lengths = [np.sqrt(np.asarray(side.multiply(side).sum(1)).ravel()) for side in (first, second)]
    products = np.asarray(first.multiply(second).sum(1)).ravel()
    return products / np.maximum(lengths[0] * lengths[1], np.finfo(float).tiny)


def _tags(data: TaskData) -> float:
    model = make_pipeline(CountVectorizer(analyzer=list), LinearSVC())
    model.fit(_each_word(data.train), [tag for row in _rows(data.train) for tag in row])
    ends = np.cumsum([len(text) for text in data.test.texts])[:-1]
    found = np.split(model.predict(_each_word(data.test)), ends)
    named = ([[data.label_names[tag] for tag in row] for row in rows] for rows in (found, _rows(data.test)))
    return entity_metrics(*named)["entity_f1"]


def _rows(split: Split) -> list[tuple[int, ...]]:
    return [row for row in split.labels or () if isinstance(row, tuple)]


def _each_word(split: Split) -> list[list[str]]:
    return [told for words in split.texts for told in _told_by(words)]


def _told_by(words: Text | Sequence[str]) -> Iterator[list[str]]:
    """For each word what tells of its tag."""
    padded = [_EDGE] * _AROUND + [word.lower() for word in words] + [_EDGE] * _AROUND
    for place, word in enumerate(words, _AROUND):
        near = [f"word {by}: {padded[place + by]}" for by in range(-_AROUND, _AROUND + 1)]
        ends = [f"end: {padded[place][-size:]}" for size in range(1, _SUFFIX + 1)]
        kind = [f"capital: {word[0].isupper()}", f"digits: {sum(map(str.isdigit, word))}"]
        yield [*near, *ends, *kind, f"with the one before: {padded[place - 1]} {padded[place]}"]
