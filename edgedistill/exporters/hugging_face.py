"""A subnet as an ordinary Hugging Face checkpoint, where its family's configuration can say what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from edgedistill.errors import ExportError
from edgedistill.subnet import Architecture, SubnetConfig
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.decoder import ElasticDecoder
from edgedistill.supernet.families import Head, family_of
from edgedistill.supernet.pretrained_decoder import to_hugging_face
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

__all__ = ["write_hugging_face"]

_CLASSES = {
    "SequenceClassification": AutoModelForSequenceClassification,
    "TokenClassification": AutoModelForTokenClassification,
}


def write_hugging_face(supernet: Supernet, subnet: SubnetConfig, folder: Path) -> None:
    """Write config, weights and tokenizer, which transformers loads without anything of ours.

    Raises:
        ExportError: the architecture cannot express the subnet; the message names the dimension.
    """
    if isinstance(supernet.model, ElasticDecoder):
        _write_decoder(supernet, supernet.model, subnet, folder)
        return
    arch = supernet.encoder.arch
    head = _head(arch)
    _check(arch, subnet)
    config = _config(supernet, subnet)
    model = _CLASSES[head].from_config(config)
    small = _renumbered(subnet, slice_tensors(full_tensors(supernet.encoder), extents(arch, subnet)))
    theirs = family_of(arch.model_type).write(small, _alone(arch, subnet), head, supernet.info.pad_token_id)
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert not [name for name in missing if "position_ids" not in name]
    model.save_pretrained(folder)
    _tokenizer(supernet).save_pretrained(folder)


def _write_decoder(supernet: Supernet, model: ElasticDecoder, subnet: SubnetConfig, folder: Path) -> None:
    """With what it needs to generate: the ids that begin and end a text, and the template of a chat."""
    info, known = supernet.info, supernet.info.generation
    assert known is not None
    ends = known.eos_token_ids
    ids = {"bos_token_id": known.bos_token_id, "eos_token_id": ends[0] if ends else None, "pad_token_id": None}
    small = to_hugging_face(model, subnet, ids)
    if small.generation_config is not None:
        small.generation_config.eos_token_id = ends or None
    small.save_pretrained(folder)
    known_ids = {name.removesuffix("_id"): of for name, of in ids.items() if of is not None}
    tokens = {name: supernet.tokenizer.id_to_token(of) for name, of in known_ids.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=supernet.tokenizer, model_max_length=known.context_tokens, pad_token=info.pad_token, **tokens
    )
    tokenizer.chat_template = known.chat_template
    tokenizer.save_pretrained(folder)


def _head(arch: Architecture) -> Head:
    """The class that has this head."""
    if arch.pooling == "each":
        return "TokenClassification"
    if arch.normalise:
        raise ExportError(
            "a sentence encoder's layer behind the pooling is not in transformers' encoders; export a palette"
        )
    if arch.pooling != "first" or arch.dense is None:
        raise ExportError(
            f"transformers' {arch.model_type} classifies the first token through a dense layer, and this model the "
            f"{arch.pooling} of all tokens; export a palette or ONNX instead"
        )
    return "SequenceClassification"


def _check(arch: Architecture, subnet: SubnetConfig) -> None:
    """What one configuration for all layers can say."""
    heads, widths = {layer.heads for layer in subnet.layers}, {layer.ffn for layer in subnet.layers}
    if len(widths) > 1:
        raise ExportError(
            f"{subnet.name} has FFN widths {sorted(widths)}; transformers' {arch.model_type} has one for all"
        )
    if {count * arch.head_size for count in heads} != {subnet.hidden}:
        raise ExportError(
            f"{subnet.name} has {sorted(heads)} heads of size {arch.head_size} at a hidden width of {subnet.hidden}; "
            f"in transformers' {arch.model_type} heads times size is the hidden width: take a member with all heads"
        )


def _alone(arch: Architecture, subnet: SubnetConfig) -> Architecture:
    """The architecture of a model that is this subnet and no more."""
    first = subnet.layers[0]
    return replace(arch, layers=len(subnet.layers), hidden=subnet.hidden, heads=first.heads, ffn=first.ffn)


def _renumbered(subnet: SubnetConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Layers counted from 0 without gaps."""
    places = {f"layers.{index}.": f"layers.{place}." for place, index in enumerate(subnet.kept)}
    result = {}
    for name, tensor in tensors.items():
        prefix = next((old for old in places if name.startswith(old)), None)
        result[name if prefix is None else places[prefix] + name.removeprefix(prefix)] = tensor
    return result


def _config(supernet: Supernet, subnet: SubnetConfig) -> Any:
    arch, info = _alone(supernet.encoder.arch, subnet), supernet.info
    family = family_of(arch.model_type)
    config = AutoConfig.for_model(
        arch.model_type,
        vocab_size=arch.vocabulary,
        hidden_size=arch.hidden,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_labels=arch.outputs,
        pad_token_id=info.pad_token_id,
        **{family.ffn: arch.ffn},
        **family.settings(arch, info.pad_token_id, supernet.encoder.eps),
    )
    if info.labels:
        config.id2label = dict(enumerate(info.labels))
        config.label2id = {label: index for index, label in enumerate(info.labels)}
    if info.task == "text-regression":
        config.problem_type = "regression"
    return config


def _tokenizer(supernet: Supernet) -> PreTrainedTokenizerFast:
    info = supernet.info
    return PreTrainedTokenizerFast(
        tokenizer_object=supernet.tokenizer, pad_token=info.pad_token, model_max_length=info.max_tokens
    )
