"""The head that a checkpoint has, and what its config says of it, against the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
from safetensors.torch import load_file, save_file

from edgedistill.errors import ModelError
from edgedistill.supernet.pretrained import has_head, load_pretrained, teacher_labels
from edgedistill.tasks import TaskName

IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"
NAMES = {str(i): name for i, name in enumerate("abcde")}


def _change(folder: Path, **settings: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("architectures", [None, []])
def test_without_architectures_the_tensors_say_which_head_it_is(
    tmp_path: Path, model_type: str, head: str, architectures: list[str] | None
) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, model_type=model_type, head=head)
    _change(folder, architectures=architectures, id2label=NAMES)
    task: TaskName = "text-classification" if head == "SequenceClassification" else "token-classification"
    assert teacher_labels(folder, task, "it") == list("abcde")
    assert has_head(folder, task, 5)


@pytest.mark.parametrize(
    ("task", "outputs", "settings", "says"),
    [
        ("text-classification", 5, {"problem_type": "multi_label_classification"}, "problem_type is 'multi_label"),
        (
            "text-classification",
            5,
            {"problem_type": "multi_label_classification"},
            "needs 'single_label_classification': take multi-label-classification",
        ),
        ("multi-label-classification", 5, {"problem_type": "single_label_classification"}, "take text-classification"),
        ("multi-label-classification", 1, {}, "needs one for each label"),
        ("text-classification", 5, {"problem_type": "regression"}, "problem_type is 'regression'"),
        ("text-classification", 1, {}, "has one output; text-classification needs one for each label"),
        ("text-regression", 5, {}, r"has 5 outputs \(a, b, c, …\); text-regression needs one"),
        ("text-regression", 1, {"problem_type": "single_label_classification"}, "problem_type=.single_label"),
        ("text-regression", 1, {"sentence_transformers": {"activation_fn": SIGMOID}}, "transformers.activation_fn is"),
        ("text-regression", 1, {"sbert_ce_default_activation_function": SIGMOID}, "sbert_ce_default_activation"),
        ("token-classification", 5, {}, "it holds a head for sequence classification with 5 outputs"),
        ("text-classification", 5, {"id2label": NAMES | {"5": "f"}}, r"names 6 labels \(id2label\); the head has 5"),
        ("text-classification", 5, {"id2label": NAMES | {"3": "a"}}, "labels 'a' and 'a' of id2label cannot be told"),
        ("text-classification", 5, {"id2label": NAMES | {"3": "A"}}, "labels 'a' and 'A' of id2label cannot be told"),
        ("text-classification", 5, {"id2label": NAMES | {"3": "b "}}, "labels 'b' and 'b ' of id2label cannot"),
        ("text-classification", 5, {"id2label": NAMES | {"3": " "}}, "output 3 of id2label is blank"),
    ],
)
def test_a_teacher_that_is_for_something_else_is_refused_with_the_key(
    tmp_path: Path, task: TaskName, outputs: int, settings: dict[str, Any], says: str
) -> None:
    names = {str(i): "abcde"[i] for i in range(outputs)}
    folder = _change(tiny_encoder.hugging_face_checkpoint(tmp_path, num_labels=outputs), id2label=names)
    with pytest.raises(ModelError, match=says):
        teacher_labels(_change(folder, **settings), task, "it")


@pytest.mark.parametrize(
    ("outputs", "task", "settings"),
    [
        (5, "text-classification", {"problem_type": "single_label_classification"}),
        (5, "multi-label-classification", {"problem_type": "multi_label_classification"}),
        (5, "multi-label-classification", {}),
        (1, "text-regression", {"problem_type": "regression"}),
        (1, "text-regression", {"sentence_transformers": {"activation_fn": IDENTITY, "version": "5"}}),
        (1, "text-regression", {"sbert_ce_default_activation_function": IDENTITY}),
    ],
)
def test_a_teacher_for_the_task_is_taken(
    tmp_path: Path, outputs: int, task: TaskName, settings: dict[str, Any]
) -> None:
    folder = _change(tiny_encoder.hugging_face_checkpoint(tmp_path, num_labels=outputs), **settings)
    expected = [f"LABEL_{i}" for i in range(5)] if outputs == 5 else None
    assert teacher_labels(folder, task, "it") == expected


@pytest.mark.parametrize(
    ("model_type", "name"),
    [("bert", "classifier.bias"), ("bert", "bert.pooler.dense.bias"), ("roberta", "classifier.dense.weight")],
)
def test_a_head_whose_tensors_do_not_fit_is_refused_with_the_tensor(tmp_path: Path, model_type: str, name: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path, model_type=model_type)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {name: tensors[name][:3].contiguous()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=f"the head's tensor '{name}' has the shape .*; expected the shape"):
        teacher_labels(folder, "text-classification", "it")
    if name.endswith("bias"):
        save_file({key: tensor for key, tensor in tensors.items() if key != name}, path, {"format": "pt"})
        with pytest.raises(ModelError, match=f"the head's tensor '{name}' is missing"):
            load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)


def test_tensors_that_the_config_has_no_layer_for_are_refused(tmp_path: Path) -> None:
    folder = _change(tiny_encoder.hugging_face_checkpoint(tmp_path), num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"tensor 'bert\.encoder\.layer\.3\..*check num_hidden_layers"):
        load_pretrained(folder, "text-classification", 5, scale=1.0, dropout=0.0)
