"""On the device: sensors, selector, sessions.

`AdaptiveSession` stands where an ``onnxruntime.InferenceSession`` stood; `TextClassifier` takes strings.
"""

from edgedistill.runtime.adaptive import AdaptiveSession, Answer, Node
from edgedistill.runtime.controller import DecisionRecord
from edgedistill.runtime.selector import Reason
from edgedistill.runtime.sensors import Readings, Sensors, SystemSensors
from edgedistill.runtime.text import Label, TextClassifier

__all__ = [
    "AdaptiveSession",
    "Answer",
    "DecisionRecord",
    "Label",
    "Node",
    "Readings",
    "Reason",
    "Sensors",
    "SystemSensors",
    "TextClassifier",
]

if __name__ != "edgedistill.runtime":  # reached through the link at the root: every module would load twice
    raise ImportError("import edgedistill.runtime, not runtime: the folder at the root is a link for readers")
