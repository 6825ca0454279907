"""Write a subnet as an ordinary Hugging Face checkpoint, where its family's configuration can express it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from edgedistill.architecture import Architecture, Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.sentence_folder import write_sentence_modules
from edgedistill.exporters.tensors import exported_tensors
from edgedistill.exporters.tokenizer_folder import write_tokenizer
from edgedistill.library_errors import quiet
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.families import Head, family_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained_decoder import to_hugging_face
from edgedistill.supernet.slicing import extents, renumbered, slice_tensors
from edgedistill.tasks import task_of

__all__ = ["write_hugging_face"]

_CLASSES = {
    "SequenceClassification": AutoModelForSequenceClassification,
    "TokenClassification": AutoModelForTokenClassification,
}


def write_hugging_face(supernet: Supernet, subnet: Subnet, folder: Path) -> None:
    """Write config, weights and tokenizer, which transformers loads without anything of ours.

    A sentence encoder's folder is one of sentence-transformers', too.

    Raises:
        ExportError: the architecture cannot express the subnet; the message names the dimension.
    """
    if supernet.model.arch.causal:
        _write_decoder(supernet, supernet.model, subnet, folder)
        return
    arch, info = supernet.model.arch, supernet.info
    head = _head(arch)
    _check(arch, subnet)
    small = renumbered(subnet, slice_tensors(exported_tensors(supernet), extents(arch, subnet)))
    alone, family = arch.alone(subnet), family_of(arch.model_type)
    theirs = family.write(small, alone, head, info.pad_token_id)
    if head is None:
        theirs = {name.removeprefix(f"{family.prefix}."): tensor for name, tensor in theirs.items()}
        model = AutoModel.from_config(_config(supernet, subnet), **family.bare_model)
    else:
        model = _CLASSES[head].from_config(_config(supernet, subnet))
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert not [name for name in missing if "position_ids" not in name]
    with quiet(transformers):
        model.save_pretrained(folder)
    if head is None:
        weight, bias = small["classifier.weight"], small["classifier.bias"]
        write_sentence_modules(alone, weight, bias, folder, info.max_tokens)
    write_tokenizer(supernet, folder, info.max_tokens, {} if info.pad_token is None else {"pad_token": info.pad_token})


def _write_decoder(supernet: Supernet, model: ElasticTransformer, subnet: Subnet, folder: Path) -> None:
    """Write it with what it needs to generate: the ids that begin and end a text, and the template of a chat."""
    info, generation = supernet.info, supernet.info.generating
    ends, template = generation.eos_token_ids, generation.chat_template
    pad = None if info.pad_token is None else info.pad_token_id
    ids = {"bos_token_id": generation.bos_token_id, "eos_token_id": ends[0] if ends else None, "pad_token_id": pad}
    with quiet(transformers):
        to_hugging_face(model, subnet, ids).save_pretrained(folder)
    settings = {key: value for key, value in info.generation_settings.items() if not key.startswith("_")}
    settings |= ids | {"eos_token_id": ends or None}
    document = json.dumps({key: value for key, value in settings.items() if value is not None}, indent=2)
    (folder / "generation_config.json").write_text(document, encoding="utf-8")
    tokens = {name: None if row is None else supernet.tokenizer.id_to_token(row) for name, row in ids.items()}
    marks = {name.removesuffix("_id"): token for name, token in tokens.items() if token is not None}
    write_tokenizer(supernet, folder, generation.context_tokens, marks)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _head(arch: Architecture) -> Head | None:
    """Return which of transformers' classes has this head; None where sentence-transformers' modules are it."""
    if arch.pooling == "each":
        return "TokenClassification"
    if arch.normalise:
        return None
    if arch.pooling != "first" or arch.dense is None:
        raise ExportError(
            f"transformers' {arch.model_type} classifies the first token through a dense layer, and this model the "
            f"{arch.pooling} of all tokens; export a palette or ONNX instead"
        )
    return "SequenceClassification"


def _check(arch: Architecture, subnet: Subnet) -> None:
    """Raise ExportError if one configuration for all layers cannot express the subnet."""
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


def _config(supernet: Supernet, subnet: Subnet) -> Any:
    arch, info = supernet.model.arch.alone(subnet), supernet.info
    family = family_of(arch.model_type)
    config = AutoConfig.for_model(
        arch.model_type,
        **({} if arch.normalise else {"num_labels": arch.outputs}),
        pad_token_id=info.pad_token_id,
        **family.settings(arch, supernet.model.eps, info.pad_token_id),
    )
    if info.labels:
        config.id2label = dict(enumerate(info.labels))
        config.label2id = {label: index for index, label in enumerate(info.labels)}
    task = task_of(info.task)
    if task.head == "SequenceClassification":
        config.problem_type = task.problem_type
    return config
