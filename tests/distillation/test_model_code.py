"""Code that a model brings is never run, and nobody is asked about it: a "y" on standard input changes nothing."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_text
import tiny_training

from edgedistill.data.readers import load_data
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError
from edgedistill.supernet.checkpoint import Supernet

AUTO_MAP = {
    "AutoConfig": "evil.Evil",
    "AutoModel": "evil.Evil",
    "AutoModelForSequenceClassification": "evil.Evil",
    "AutoModelForCausalLM": "evil.Evil",
    "AutoTokenizer": ["evil.Evil", "evil.Evil"],
}


@pytest.fixture(autouse=True)
def _says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))


def _change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _plant(folder: Path) -> Path:
    """Put code into the folder, in the places where transformers looks for it; the file that it would write."""
    mark = folder / "ran"
    code = f"open({str(mark)!r}, 'w').write('x')\nclass Evil: pass\ndef generate(*args, **kwargs): pass\n"
    (folder / "custom_generate").mkdir()
    for name in ("evil.py", "custom_generate/generate.py", f"{folder.name}.py"):
        (folder / name).write_text(code)
    return mark


def _begin(folder: Path, decoder: bool) -> Supernet:
    source = resolve_model(folder)
    if decoder:
        return mlfs.build_supernet(source, tiny_text.data(), tiny_text.RECIPE)
    return mlfs.build_supernet(source, tiny_training.data(), tiny_training.RECIPE)


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"auto_map": AUTO_MAP}),
        ("tokenizer_config.json", {"auto_map": AUTO_MAP}),
        ("config.json", {"auto_map": dict.fromkeys(AUTO_MAP, "another/repository--evil.Evil")}),
        ("config.json", {"attn_implementation": "kernels-community/flash-attn2", "use_kernels": True}),
        ("config.json", {"_attn_implementation": "some/kernel", "experts_implementation": "some/kernel"}),
    ],
)
def test_a_known_type_is_loaded_without_its_code(
    tmp_path: Path, file: str, settings: dict[str, Any], decoder: bool
) -> None:
    folder = (tiny_text if decoder else tiny_training).model_folder(tmp_path / "model")
    plain = _begin(folder, decoder)
    mark = _plant(folder)
    _change(folder / file, **settings)
    again = _begin(folder, decoder)
    tiny_training.same_weights(again.model.state_dict(), plain.model.state_dict(), 0.0)
    assert again.tokenizer.to_str() == plain.tokenizer.to_str()
    assert not mark.exists()


@pytest.mark.parametrize("decoder", [False, True])
def test_a_tokenizer_that_is_code_is_refused(tmp_path: Path, decoder: bool) -> None:
    folder = (tiny_text if decoder else tiny_training).model_folder(tmp_path / "model")
    mark = _plant(folder)
    _change(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map=AUTO_MAP)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: tokenizer_class 'Evil' is code of the checkpoint"):
        _begin(folder, decoder)
    assert not mark.exists()


def test_an_unknown_type_is_refused_before_transformers_sees_it(tmp_path: Path) -> None:
    folder = tiny_training.model_folder(tmp_path / "model")
    mark = _plant(folder)
    _change(folder / "config.json", model_type="evil", auto_map=AUTO_MAP)
    with pytest.raises(ModelError, match="model type 'evil' is not supported; use an encoder of type bert"):
        resolve_model(folder)
    assert not mark.exists()


def test_a_script_beside_the_data_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        lines = [json.dumps({"text": text, "label": label}) for text, label in tiny_training.rows()]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    mark = _plant(folder)
    assert len(load_data(folder, "text-classification").train.texts) == 40
    assert not mark.exists()
