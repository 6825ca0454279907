"""Answer strings over an adaptive session: one class per task, all used the same way.

Each accepts an open `AdaptiveSession`, which the caller closes, or a palette and the session's options; then the
session closes with it.
"""

from edgedistill.runtime.text.classifier import Label, TextClassifier
from edgedistill.runtime.text.entities import Entity, Word
from edgedistill.runtime.text.multi_label import LabelScore, MultiLabelClassifier, ScoredLabels
from edgedistill.runtime.text.regressor import Prediction, TextRegressor
from edgedistill.runtime.text.sentence_encoder import SentenceEncoder, Vectors
from edgedistill.runtime.text.tagger import Tagged, TokenClassifier

__all__ = [
    "Entity",
    "Label",
    "LabelScore",
    "MultiLabelClassifier",
    "Prediction",
    "ScoredLabels",
    "SentenceEncoder",
    "Tagged",
    "TextClassifier",
    "TextRegressor",
    "TokenClassifier",
    "Vectors",
    "Word",
]
