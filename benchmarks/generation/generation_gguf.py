"""Convert a Llama checkpoint for llama.cpp: in fp32, and in four bits by llama.cpp's own quantizer.

generation_models.py runs it by an interpreter that has llama-cpp-python, gguf and tokenizers.

Usage: PYTHON generation_gguf.py CHECKPOINT FP32 Q4_0, where the last two are the files to write.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found, unused-ignore]
import llama_cpp  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def add_settings(writer: Any, config: dict[str, Any]) -> None:
    """Add the settings of the shape that llama.cpp needs."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def add_tokenizer(writer: Any, tokenizer: dict[str, Any]) -> None:
    """Add a byte-level BPE."""
    special = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    ids = tokenizer["model"]["vocab"] | special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(ids, key=ids.__getitem__))
    kinds = (gguf.TokenType.NORMAL, gguf.TokenType.CONTROL)
    writer.add_token_types([kinds[place in special.values()] for place in range(len(ids))])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(min(special.values()))
    writer.add_eos_token_id(min(special.values()))


def rotated(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of queries or keys in llama.cpp's order: the two halves of a head's rotation lie side by side."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def add_tensors(writer: Any, tensors: dict[str, NDArray[np.float32]], config: dict[str, Any]) -> None:
    """Add all tensors by llama.cpp's names; a head that is the embedding table is added once."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    writer.add_tensor("token_embd.weight", tensors["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", tensors["model.norm.weight"])
    for layer in range(config["num_hidden_layers"]):
        for theirs, name in _LAYER.items():
            weight = tensors[f"model.layers.{layer}.{theirs}.weight"]
            writer.add_tensor(f"blk.{layer}.{name}.weight", rotated(weight, heads[name]) if name in heads else weight)


def main(checkpoint: str, whole: str, quantized: str) -> None:
    """Write both."""
    folder = Path(checkpoint)
    config, tokenizer = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "tokenizer.json")
    )
    writer = gguf.GGUFWriter(whole, "llama")
    add_settings(writer, config)
    add_tokenizer(writer, tokenizer)
    add_tensors(writer, load_file(folder / "model.safetensors"), config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, 1
    assert not llama_cpp.llama_model_quantize(whole.encode(), quantized.encode(), ctypes.byref(settings))


if __name__ == "__main__":
    main(*sys.argv[1:])
