"""What a plain session answers to a text that was tokenised whole, then cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_palette
from tokenizers import Tokenizer

from edgedistill.runtime.onnx import create_session


def outputs(folder: Path, subnet: str, text: str, second: str | None = None) -> np.ndarray:
    """The outputs for one text, or one pair, without the batch's dimension."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(tiny_palette.MAX_TOKENS)
    encoding = tokenizer.encode(text, second)
    session = create_session(folder / f"{subnet}.onnx", 1)
    every = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
    (found,) = session.run(["logits"], {node.name: np.array([every[node.name]]) for node in session.get_inputs()})
    return np.asarray(found[0])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(-1, keepdims=True))
