"""Linear models over word counts: a palette has to be clearly above them to be worth its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.svm import LinearSVC

from edgedistill.tasks.fields import Text
from edgedistill.tasks.task import Labelled

__all__ = ["predicted_tags", "text_cosines", "text_features"]

_AROUND = 2  # words on either side that say something of a word's tag
_SUFFIX = 3  # characters of a word's end
_EDGE = "\n"  # stands for no word


def text_features(
    train: Sequence[Text], test: Sequence[Text], *, alike_alone: bool = False
) -> tuple[csr_matrix, csr_matrix]:
    """Return TF-IDF of words and of characters, fitted on train, for the texts of train and of test.

    A pair has the features of both texts, their distances and their products; with ``alike_alone`` only the latter two.
    """
    features = _tf_idf().fit(_single_texts(train))
    first, second = (_rows(features, texts, alike_alone) for texts in (train, test))
    return first, second


def _tf_idf() -> FeatureUnion:
    return make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )


def _single_texts(texts: Sequence[Text]) -> list[str]:
    """Return every text, and both of a pair."""
    return [part for text in texts for part in (text if isinstance(text, tuple) else (text,))]


def _rows(features: FeatureUnion, texts: Sequence[Text], alike_alone: bool) -> csr_matrix:
    counted = csr_matrix(features.transform(_single_texts(texts)))
    if isinstance(texts[0], str):
        return counted
    first, second = counted[::2], counted[1::2]
    alike = [abs(first - second), first.multiply(second)]
    return hstack(alike if alike_alone else [first, second, *alike], format="csr")


def text_cosines(train: Sequence[Text], test: Sequence[Text]) -> Any:
    """Return the cosine of TF-IDF, fitted on train, for each pair of test."""
    counted = _tf_idf().fit(_single_texts(train)).transform(_single_texts(test))
    first, second = counted[::2], counted[1::2]
    # Both parts of the union have length 1, or 0 for a text of unknown words.
    lengths = [np.sqrt(np.asarray(side.multiply(side).sum(1)).ravel()) for side in (first, second)]
    products = np.asarray(first.multiply(second).sum(1)).ravel()
    return products / np.maximum(lengths[0] * lengths[1], np.finfo(float).tiny)


def predicted_tags(train: Labelled, test: Sequence[Text]) -> list[Any]:
    """Return each text's tags, by a linear support vector machine over a word, its ending and its neighbours."""
    model = make_pipeline(CountVectorizer(analyzer=list), LinearSVC())
    model.fit(_all_words(train[0]), [tag for row in train[1] for tag in row])
    ends = np.cumsum([len(text) for text in test])[:-1]
    return list(np.split(model.predict(_all_words(test)), ends))


def _all_words(texts: Sequence[Text]) -> list[list[str]]:
    return [features for words in texts for features in _word_features(words)]


def _word_features(words: Text) -> Iterator[list[str]]:
    """Return for each word what may say something of its tag."""
    padded = [_EDGE] * _AROUND + [word.lower() for word in words] + [_EDGE] * _AROUND
    for place, word in enumerate(words, _AROUND):
        near = [f"word {by}: {padded[place + by]}" for by in range(-_AROUND, _AROUND + 1)]
        ends = [f"end: {padded[place][-size:]}" for size in range(1, _SUFFIX + 1)]
        kind = [f"capital: {word[0].isupper()}", f"digits: {sum(map(str.isdigit, word))}"]
        yield [*near, *ends, *kind, f"with the one before: {padded[place - 1]} {padded[place]}"]
