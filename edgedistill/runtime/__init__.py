"""Serve a palette on the device: sensors, decisions, sessions.

`AdaptiveSession` replaces an ``onnxruntime.InferenceSession``. For texts there is a class for each task:
`TextClassifier`, `MultiLabelClassifier`, `TextRegressor`, `TokenClassifier`, `SentenceEncoder` and `TextGenerator`.
"""

from typing import TYPE_CHECKING, Any

from edgedistill.runtime.adaptive import AdaptiveSession, Answer, Node
from edgedistill.runtime.control.decide import Policy, Reason
from edgedistill.runtime.decisions import DecisionRecord
from edgedistill.runtime.limits import SensorLimit
from edgedistill.runtime.sensors import Readings, Sensors, SystemSensors

if TYPE_CHECKING:
    from edgedistill.runtime.generation import Generated, Stream, TextGenerator
    from edgedistill.runtime.text import (
        Entity,
        Label,
        LabelScore,
        MultiLabelClassifier,
        Prediction,
        ScoredLabels,
        SentenceEncoder,
        Tagged,
        TextClassifier,
        TextRegressor,
        TokenClassifier,
        Vectors,
        Word,
    )

__all__ = [
    "AdaptiveSession",
    "Answer",
    "DecisionRecord",
    "Entity",
    "Generated",
    "Label",
    "LabelScore",
    "MultiLabelClassifier",
    "Node",
    "Policy",
    "Prediction",
    "Readings",
    "Reason",
    "ScoredLabels",
    "SensorLimit",
    "Sensors",
    "SentenceEncoder",
    "Stream",
    "SystemSensors",
    "Tagged",
    "TextClassifier",
    "TextGenerator",
    "TextRegressor",
    "TokenClassifier",
    "Vectors",
    "Word",
]

_GENERATING = {"Generated", "Stream", "TextGenerator"}

if __name__ != "edgedistill.runtime":  # reached through the link at the root: every module would load twice
    raise ImportError("import edgedistill.runtime, not runtime: the folder at the root is a link for readers")


def __getattr__(name: str) -> Any:
    """Import the classes for texts on first use: an application with token ids does not need them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _GENERATING:
        from edgedistill.runtime import generation

        return getattr(generation, name)
    from edgedistill.runtime import text

    return getattr(text, name)
