"""The public names of the workstation's side and of the device's, and what importing them costs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgedistill
import edgedistill.runtime

WORKSTATION = [
    "DeviceProfile",
    "EdgeDistillError",
    "ExportResult",
    "Palette",
    "ProgressEvent",
    "Recipe",
    "SearchResult",
    "TerminalProgress",
    "TrainResult",
    "__version__",
    "export",
    "extract",
    "open_palette",
    "profile",
    "search",
    "train",
]
DEVICE = [
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


@pytest.mark.parametrize(
    ("package", "names"), [(edgedistill, WORKSTATION), (edgedistill.runtime, DEVICE)], ids=["edgedistill", "runtime"]
)
def test_the_public_names_are_these_and_each_is_there(package: object, names: list[str]) -> None:
    assert sorted(package.__all__) == sorted(names)
    for name in names:
        assert getattr(package, name) is not None


def test_what_is_no_public_name_is_an_attribute_error() -> None:
    assert dir(edgedistill) == sorted(WORKSTATION)
    with pytest.raises(AttributeError, match="module 'edgedistill' has no attribute 'trian'"):
        edgedistill.trian  # noqa: B018


def test_no_module_takes_the_name_of_a_function() -> None:
    """An import of `edgedistill.search`, say, would put the module where the function was."""
    modules = {module.name for module in pkgutil.iter_modules(edgedistill.__path__)}
    assert modules.isdisjoint(WORKSTATION)


@pytest.mark.parametrize(
    "code",
    ["import edgedistill", "import edgedistill; dir(edgedistill); edgedistill.__version__"],
)
def test_importing_costs_nothing_until_a_name_is_used(code: str) -> None:
    listed = (
        f"import sys; {code}; "
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in "
        "('edgedistill', 'numpy', 'pydantic', 'torch', 'rich', 'typer', 'psutil', 'onnxruntime', 'transformers')))"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout == "['edgedistill']\n"


def test_the_functions_themselves_import_no_torch_before_they_are_called() -> None:
    listed = (
        "import sys, edgedistill; edgedistill.train, edgedistill.search, edgedistill.export, edgedistill.profile; "
        "print([m for m in ('torch', 'transformers', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("call", ["search('x')", "export('x', output='y')", "extract('x', 'z', output='y')"])
def test_a_device_is_told_in_one_line_what_the_workstation_has(call: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import edgedistill\n"
        f"try: edgedistill.{call}\n"
        "except edgedistill.EdgeDistillError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "this needs torch; install the workstation side: pip install 'edgedistill[train]'\n"
    assert list(tmp_path.iterdir()) == []
