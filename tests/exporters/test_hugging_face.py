"""A subnet as an ordinary checkpoint: transformers' own model gives the same answers, or it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_encoder
import tiny_supernet
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from edgedistill.architecture import LayerShape, Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.hugging_face import write_hugging_face
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.pretrained import load_pretrained
from edgedistill.tasks import TaskName

SUBNETS = {
    "full": Subnet.uniform((0, 1, 2, 3), hidden=24, heads=3, ffn=40),
    "shallow": Subnet.uniform((0, 2), hidden=24, heads=3, ffn=40),
    "narrow FFN": Subnet.uniform((1, 3), hidden=24, heads=3, ffn=12),
    "narrow": Subnet.uniform((0, 1, 3), hidden=16, heads=2, ffn=20),
}
CLASSES = {
    "text-classification": ("SequenceClassification", AutoModelForSequenceClassification),
    "token-classification": ("TokenClassification", AutoModelForTokenClassification),
}
PAD = 1


def _supernet(folder: Path, model_type: str, task: TaskName) -> Supernet:
    checkpoint = tiny_encoder.hugging_face_checkpoint(folder, model_type=model_type, head=CLASSES[task][0])
    model = load_pretrained(checkpoint, task, 5, scale=1.0, dropout=0.0)
    base = tiny_supernet.supernet()
    info = base.info.model_copy(update={"architecture": model.arch, "task": task, "pad_token_id": PAD})
    return replace(base, model=model, info=info)


@pytest.mark.parametrize("name", SUBNETS)
@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta", "distilbert", "electra"])
@torch.no_grad()
def test_transformers_computes_what_the_subnet_does(tmp_path: Path, model_type: str, task: TaskName, name: str) -> None:
    supernet, subnet = _supernet(tmp_path / "base", model_type, task), SUBNETS[name]
    write_hugging_face(supernet, subnet, tmp_path / "out")
    plain = CLASSES[task][1].from_pretrained(tmp_path / "out")
    ids, mask, types = tiny_encoder.inputs(4, 17)
    ids = ids.clamp(min=PAD + 1).where(mask.bool(), PAD)
    type_ids = {"token_type_ids": types} if model_type in {"bert", "electra"} else {}
    found = plain(input_ids=ids, attention_mask=mask, **type_ids).logits
    expected = supernet.model(ids, mask, types, subnet).logits
    kept = mask.bool() if found.ndim == 3 else slice(None)
    torch.testing.assert_close(found[kept], expected[kept], atol=1e-5, rtol=1e-4)
    assert plain.config.id2label == dict(enumerate(supernet.info.labels))
    assert plain.config.num_hidden_layers == len(subnet.layers)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("word").input_ids == [2]


@pytest.mark.parametrize(
    ("subnet", "says"),
    [
        (
            Subnet.uniform((0, 1), hidden=24, heads=2, ffn=40),
            r"has \[2\] heads of size 8 at a hidden width of 24",
        ),
        (Subnet.uniform((0, 1), hidden=16, heads=3, ffn=40), "heads times size is the hidden width"),
        (Subnet((LayerShape(0, 3, 40), LayerShape(1, 3, 20)), 24), r"FFN widths \[20, 40\]"),
    ],
)
def test_what_the_architecture_cannot_say_is_named(tmp_path: Path, subnet: Subnet, says: str) -> None:
    supernet = _supernet(tmp_path / "base", "bert", "text-classification")
    with pytest.raises(ExportError, match=says):
        write_hugging_face(supernet, subnet, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_head_that_transformers_lacks_is_named(tmp_path: Path) -> None:
    supernet = _supernet(tmp_path / "base", "bert", "text-classification")
    supernet.model.arch = replace(supernet.model.arch, pooling="mean", dense=None)
    with pytest.raises(ExportError, match="the mean of all tokens"):
        write_hugging_face(supernet, SUBNETS["full"], tmp_path / "out")
