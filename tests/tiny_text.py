"""A tiny decoder with a tokenizer, and running text that it can learn: small, but the whole of training runs on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import tiny_decoder
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from edgedistill.data.dataset import TaskData
from edgedistill.distillation.recipe import Recipe, StageRecipe

WORDS = [f"w{i}" for i in range(30)]
BEGIN, END = 1, 2
STAGE = StageRecipe(epochs=1, learning_rate=0.01)
RECIPE = Recipe(
    rank=2,
    batch_size=8,
    max_tokens=16,
    dropout=0.0,
    alpha=1.0,
    teacher=STAGE.model_copy(update={"parameters": "low-rank"}),
    widths=STAGE,
    depths=STAGE,
    head_shares=(1.0, 0.5),
    ffn_shares=(1.0, 0.5),
    depth_shares=(1.0, 2 / 3),
)


def model_folder(folder: Path, name: str = "llama", **changes: Any) -> Path:
    """A tiny checkpoint with a tokenizer of thirty words, and an end of text."""
    tiny_decoder.checkpoint(folder, name, **changes)
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return folder


def text(words: int, seed: int = 0) -> str:
    """Lines of words, most of which tell the next one."""
    rng, place, made = random.Random(seed), 0, []
    for count in range(words):
        place = (place * 7 + 3) % len(WORDS) if rng.random() < 0.8 else rng.randrange(len(WORDS))
        made.append(WORDS[place] + ("\n" if count % 9 == 8 else " "))
    return "".join(made)


def write(folder: Path, words: int = 1000) -> Path:
    """A folder with train, valid and test as text files, the two of a fifth of train's words."""
    folder.mkdir()
    for seed, (name, share) in enumerate((("train", 5), ("valid", 1), ("test", 1))):
        (folder / f"{name}.txt").write_text(text(words * share // 5, seed))
    return folder


def data() -> TaskData:
    """Sixty rows of 16 tokens to learn from; twelve to choose by, and as many to report on."""
    texts = {"train": text(1000), "validation": text(200, 1), "test": text(200, 2)}
    return TaskData.from_rows({name: [(one, None)] for name, one in texts.items()}, "texts", "text-generation")
