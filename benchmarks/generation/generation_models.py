"""Make the models of generation_speed.py: one random checkpoint of SmolLM-135M's shape, in each engine's format.

The embedding table is tied. The tokenizer is a byte-level BPE as large as the table, trained on the texts of DATA.
Everything is written once into the work folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.shared import output
from benchmarks.shared.decoder_teacher import END, byte_level
from edgedistill.architecture import SearchSpace
from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.exporters import write_palette
from edgedistill.palette import MANIFEST_NAME, load
from edgedistill.supernet.checkpoint import DataSource, GenerationInfo, Supernet, SupernetInfo
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained_decoder import load_pretrained_decoder
from edgedistill.supernet.vocabulary import trimmed

VOCABULARY = 49152
_SCALE = 2.5  # of the layers' matrices: with transformers' own random ones greedy answers repeat one token
# As the builder does unless told otherwise, which in four bits is blocks of 32, 8-bit products, and one table for
# embedding and head; and with what it offers beyond for speed: logits of a prompt's last token alone, as ours.
_TUNED = ("prune_lm_head=true",)
GENAI = {
    "genai fp32": ("fp32", ()),
    "genai fp32, tuned": ("fp32", _TUNED),
    "genai int4": ("int4", ()),
    "genai int4, tuned": ("int4", _TUNED),
}


def tokenizer_of(texts: Path) -> Tokenizer:
    """Train a byte-level BPE with as many tokens as the model has rows; tokens that the texts lack stay unused."""
    tokenizer = byte_level(texts, VOCABULARY)
    tokenizer.add_tokens([f"<|unused_{row}|>" for row in range(tokenizer.get_vocab_size(), VOCABULARY)])
    return tokenizer


def checkpoint(texts: Path, folder: Path) -> Path:
    """Write random weights as transformers does."""
    if not (folder / "model.safetensors").exists():
        output.log(f"{folder.name}: a random checkpoint")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer_of(texts), bos_token=END, eos_token=END)
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
        model = LlamaForCausalLM(config)
        for name, matrix in model.named_parameters():
            if "proj" in name:
                matrix.data *= _SCALE
        model.save_pretrained(folder)
    return folder


def tokenizer_in(folder: Path) -> Tokenizer:
    """Return the tokenizer of the checkpoint."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def prompts(texts: Path, folder: Path, lengths: Sequence[int], begin: int = 0) -> dict[str, list[int]]:
    """Return a number of tokens of a text, from a given one on."""
    ids = tokenizer_in(folder).encode(texts.read_text(encoding="utf-8")[:10_000]).ids
    return {str(length): ids[begin : begin + length] for length in lengths}


def _by(python: str, *arguments: str) -> None:
    subprocess.run([python, *arguments], check=True, stdout=sys.stderr)


def genai(python: str, folder: Path, target: Path, precision: str, options: Sequence[str]) -> Path:
    """Build onnxruntime-genai's graph."""
    if not (target / "genai_config.json").exists():
        output.log(f"{target.name}: onnxruntime-genai's builder")
        command = ["-m", "onnxruntime_genai.models.builder", "-i", str(folder), "-o", str(target), "-p", precision]
        extra = ["--extra_options", *options] if options else []
        _by(python, *command, "-e", "cpu", "-c", str(target / "cache"), *extra)
    return target


def llama_cpp(python: str, folder: Path, whole: Path, quantized: Path) -> None:
    """Write llama.cpp's two files."""
    if not quantized.exists():
        output.log("llama.cpp's files")
        script = Path(__file__).with_name("generation_gguf.py")
        _by(python, str(script), *map(str, (folder, whole, quantized)))


def ours(folder: Path, target: Path, prompt: Sequence[int], used: Sequence[int] | None = None) -> dict[str, str]:
    """Export the whole model to ``target`` in both precisions, and return its members' names by precision.

    ``prompt`` is what quality is measured on, which random weights have none of. With ``used`` the vocabulary is
    trimmed to these tokens, the prompt's among them.
    """
    if not (target / MANIFEST_NAME).exists():
        output.log(f"{target.name}: our export")
        model, ids = load_pretrained_decoder(folder, scale=1.0, dropout=0.0), tuple(prompt)
        supernet = _supernet(model, tokenizer_in(folder))
        if used is not None:
            words = supernet.tokenizer.decode(ids)
            supernet = trimmed(supernet, used)
            ids = tuple(supernet.tokenizer.encode(words).ids)
            model = supernet.model
        row = Encoded((ids,), ((0,) * len(ids),), (ids[1:],), (tuple(range(len(ids) - 1)),), 0)
        rows = EncodedData(row, row, row)
        write_palette(supernet, [model.arch.full], rows, target, output.log, precisions=("fp32", "int4"))
    return {entry.precision: entry.name for entry in load(target).manifest.subnets}


def _supernet(model: ElasticTransformer, tokenizer: Tokenizer) -> Supernet:
    """Return the model as if it had been trained."""
    arch = model.arch
    info = SupernetInfo(
        architecture=arch,
        eps=model.eps,
        base_model="random",
        base_revision=None,
        base_sha256="0" * 64,
        task="text-generation",
        labels=[],
        max_tokens=arch.positions,
        pad_token=None,
        pad_token_id=0,
        data=DataSource(data="none", unlabelled=None, text_columns=("text",), label_column=None, sha256="0" * 64),
        recipe={},
        rank=1,
        scale=1.0,
        seed=0,
        scores=[],
        versions={},
        generation=GenerationInfo(
            context_tokens=arch.positions, eos_token_ids=[0], bos_token_id=None, chat_template=None
        ),
    )
    space = SearchSpace((arch.full.kept,), (arch.hidden,), (arch.heads,), (arch.ffn,))
    return Supernet(model, space, info, tokenizer)
