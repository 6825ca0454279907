"""The elastic encoder at full size is the pretrained model, and a call leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_encoder
import torch

from edgedistill.errors import ModelError
from edgedistill.supernet.pretrained import load_hugging_face, load_pretrained, pooling_of


def test_the_maxnet_computes_what_the_pretrained_model_does(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    model = load_pretrained(folder, 5, scale=1.0, dropout=0.1)
    reference = load_hugging_face(folder, 5)
    ids, mask, types = tiny_encoder.inputs(4, 19)
    with torch.no_grad():
        expected = reference(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        actual = model(ids, mask, types, model.arch.full).logits
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_a_sentence_encoder_pools_by_the_mean_of_its_tokens(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    model = load_pretrained(folder, 5, scale=1.0, dropout=0.0)
    reference = load_hugging_face(folder, 5)
    ids, mask, types = tiny_encoder.inputs(4, 19)
    with torch.no_grad():
        states = reference.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        mean = torch.stack([s[m.bool()].mean(0) for s, m in zip(states, mask, strict=True)])
        actual = model(ids, mask, types, model.arch.full).logits
    torch.testing.assert_close(actual, reference.classifier(mean), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("note", ["{", '{"pooling_mode_max_tokens": true}', "[]"])
def test_another_way_of_pooling_is_refused(tmp_path: Path, note: str) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(note)
    with pytest.raises(ModelError, match="pooling"):
        pooling_of(tmp_path)


def test_a_new_stage_changes_no_output() -> None:
    model = tiny_encoder.encoder()
    feeds = tiny_encoder.inputs(2, 6)
    with torch.no_grad():
        before = model(*feeds, tiny_encoder.ARCH.full).logits
        model.begin_stage(4, torch.Generator().manual_seed(1))
        after = model(*feeds, tiny_encoder.ARCH.full).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_only_the_new_pairs_biases_norms_and_head_train() -> None:
    model = tiny_encoder.encoder(pairs=1)
    model.begin_stage(4, torch.Generator())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".pairs.1." in n or n.endswith("bias") or "norm" in n or "classifier" in n for n in trained)
    assert "layers.0.query.pairs.1.A" in trained
    assert "classifier.weight" in trained
    assert not any(n.startswith("embeddings") and "norm" not in n for n in trained)


def test_a_call_leaves_no_subnet_active() -> None:
    model = tiny_encoder.encoder()
    feeds = tiny_encoder.inputs(2, 6)
    with torch.no_grad():
        before = model(*feeds, tiny_encoder.ARCH.full).logits
        with pytest.raises(IndexError):
            model(torch.full((2, 6), 99), *feeds[1:], tiny_encoder.SPACE.minnet)
        assert torch.equal(model(*feeds, tiny_encoder.ARCH.full).logits, before)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"hidden_act": "relu"}, "hidden_act"), ({"is_decoder": True}, "is_decoder")],
)
def test_a_variant_that_is_not_computed_is_refused(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model", **changes)
    with pytest.raises(ModelError, match=says):
        load_pretrained(folder, 5, scale=1.0, dropout=0.0)


def test_an_unsupported_type_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match=r"gpt2.*not supported.*bert"):
        load_pretrained(tmp_path, 5, scale=1.0, dropout=0.0)
