"""Train the small teacher of the decoders' benchmarks, on wikitext2 with a tokenizer of its own.

The teacher is Llama-shaped, with 4.1 M parameters in its layers and 0.5 M in its table. It sees every training token
once, and stays in the work folder.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.shared import output, training_runs
from edgedistill.architecture import Subnet
from edgedistill.data.dataset import Split, TaskData
from edgedistill.data.readers import load_data
from edgedistill.distillation import mlfs
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.loop import StepReport
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe, defaults_for
from edgedistill.distillation.supernet_build import build_standalone_supernet
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import task_of

VOCABULARY = 2048
BLOCK = 128
BATCH = 16
LAYERS = 6
SCORED_CHARACTERS = 200_000
WATCHED = 150  # rows of validation that curves are of
END = "<|endoftext|>"
_PEAK = 2e-3
_WARM_UP = 0.05
_SAVED_EVERY = 200


def byte_level(texts: Path, vocabulary: int) -> Tokenizer:
    """Byte-level BPE of a text file, with so many tokens at most; the end of a text is token 0."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    made.train([str(texts)], trainer)
    return made


def tokenizer(wikitext: Path, work: Path) -> Tokenizer:
    """Train the tokenizer on the training text, unless it is there."""
    file = work / "wikitext2-tokenizer.json"
    if not file.exists():
        byte_level(wikitext / "train.txt", VOCABULARY).save(str(file))
    return Tokenizer.from_file(str(file))


def tokens(wikitext: Path, split: str, made: Tokenizer) -> NDArray[np.int64]:
    """Return every token of a split's text, in order."""
    lines = (wikitext / f"{split}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    return np.concatenate([np.array(one.ids, np.int64) for one in made.encode_batch(lines)])


def config() -> LlamaConfig:
    """Return the teacher's shape."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )


def teacher(wikitext: Path, work: Path) -> Path:
    """Train the teacher, or resume an interrupted run, and return its folder, a Hugging Face checkpoint."""
    folder = work / "wikitext2-teacher"
    if (folder / "model.safetensors").exists():
        return folder
    made = tokenizer(wikitext, work)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config())
    _train(model, tokens(wikitext, "train", made), tokens(wikitext, "valid", made), work / "wikitext2-teacher.pt")
    model.save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _train(model: LlamaForCausalLM, train: NDArray[np.int64], validation: NDArray[np.int64], saved: Path) -> None:
    blocks = torch.from_numpy(train[: len(train) // BLOCK * BLOCK].reshape(-1, BLOCK))
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))
    steps = len(blocks) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK, betas=(0.9, 0.95), weight_decay=0.1)
    done = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["step"]
    began_s, since = time.monotonic(), done
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = _PEAK * _rate(step / steps)
        loss = _loss(model, blocks[order[step * BATCH : (step + 1) * BATCH]])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % _SAVED_EVERY == 0 or step + 1 == steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, saved)
            speed = (step + 1 - since) * BATCH * BLOCK / (time.monotonic() - began_s)
            output.log(
                f"teacher: step {step + 1}/{steps}: loss {loss:.3f}, validation {_validate(model, validation):.3f}, "
                f"{speed:.0f} tokens/s"
            )


def _rate(done: float) -> float:
    """Warm-up, then half a cosine down to a tenth."""
    if done < _WARM_UP:
        return done / _WARM_UP + 1e-3
    return 0.55 + 0.45 * math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))


def _loss(model: LlamaForCausalLM, rows: Tensor) -> Tensor:
    loss = model(rows, labels=rows).loss
    assert isinstance(loss, Tensor)
    return loss


@torch.no_grad()
def _validate(model: LlamaForCausalLM, validation: NDArray[np.int64]) -> float:
    rows = torch.from_numpy(validation[: 128 * BLOCK].reshape(-1, BATCH, BLOCK))
    return sum(float(_loss(model, part)) for part in rows) / len(rows)


def read(wikitext: Path) -> TaskData:
    """Read the data set as `edgedistill train` does, with less text to score."""
    data = load_data(wikitext, "text-generation")
    return replace(data, validation=_begun(data.validation), test=_begun(data.test))


def _begun(split: Split) -> Split:
    """Return a split's first sixty thousand tokens or so, which every stage of every run scores."""
    text = split.texts[0]
    assert isinstance(text, str)
    return Split((text[: text.rfind("\n", 0, SCORED_CHARACTERS) + 1],), None)


def recipe(seed: int = 0, **changes: Any) -> Recipe:
    """Return the defaults for decoders, in blocks as long as the teacher's, fine-tuned, with every depth named."""
    every = tuple(depth / LAYERS for depth in range(LAYERS, 0, -1))
    own = {"seed": seed, "max_tokens": BLOCK, "batch_size": BATCH, "fine_tuned": True, "depth_shares": every}
    return Recipe.model_validate(defaults_for("text-generation").model_dump() | own | {"precision": "fp32"} | changes)


def ordered(wikitext: Path, work: Path, order: str = "importance") -> Path:
    """Make the teacher a supernet that is through stage 0 and in order."""
    folder = work / f"wikitext2-{order}"
    if not (folder / "supernet.json").exists():
        data = read(wikitext)
        supernet = mlfs.build_supernet(resolve_model(teacher(wikitext, work)), data, recipe(order=order))
        supernet = training_runs.train(supernet, data, work / f"wikitext2-begun-{order}", until=0)
        checkpoint.save(mlfs.order(supernet, mlfs.encode_data(supernet, data), output.log), folder)
    return folder


def long(steps: int, rows: int, learning_rate: float, parameters: str = "full") -> StageRecipe:
    """Return a stage of that many steps over data of that many rows."""
    epochs = steps * BATCH / rows
    values = {"epochs": epochs, "min_steps": 1, "learning_rate": learning_rate, "parameters": parameters}
    return StageRecipe.model_validate(values)


def sized(supernet: Supernet, kept: tuple[int, ...], heads: int, ffn: int) -> Subnet:
    """Return a subnet of equal layers at the full hidden width."""
    return Subnet.uniform(kept, hidden=supernet.model.arch.hidden, heads=heads, ffn=ffn)


def at_random(like: Supernet, subnet: Subnet, seed: int, settings: Recipe) -> Supernet:
    """Make a model that is the subnet alone, with random weights."""
    alone = build_standalone_supernet(like, subnet, seed)
    values = {"recipe": settings.model_dump(mode="json"), "seed": seed}
    return replace(alone, info=alone.info.model_copy(update=values))


@dataclass
class Curve:
    """Validation loss in nats a token of some subnet, by step and training FLOPs: a watcher of a stage's steps."""

    supernet: Supernet
    subnet: Subnet
    rows: EncodedData
    every: int
    flops_a_step: float
    stage: int
    points: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, report: StepReport) -> None:
        """Add a point after a step that is due."""
        if report.stage == self.stage and (report.step % self.every == 0 or report.ended):
            self.look(report.step)

    def look(self, step: int) -> None:
        """Add the loss as it is now."""
        model, task = self.supernet.model, task_of(self.supernet.info.task)
        loss = evaluate(model, self.subnet, watched(self.rows), task, names=()).loss
        tokens = step * BATCH * BLOCK
        point = {"step": step, "tokens": tokens, "flops": step * self.flops_a_step, "loss": round(loss, 4)}
        self.points.append(point)
        output.log(f"stage {self.stage}: {point}")


def watched(rows: EncodedData) -> Any:
    """Return some rows of validation, the same each time."""
    return rows.validation.subset(range(0, len(rows.validation), max(1, len(rows.validation) // WATCHED)))


if __name__ == "__main__":
    teacher(Path(sys.argv[1]), Path(sys.argv[2]))
