"""Turn a Hugging Face checkpoint of a causal language model into an elastic decoder, and a subnet into such a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError, ModelError
from edgedistill.library_errors import library_errors, quiet
from edgedistill.supernet.families import causal_family_of
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.model_config import SAFE_LOADING, load_config
from edgedistill.supernet.slicing import tensors_alone

__all__ = ["load_causal_hugging_face", "load_pretrained_decoder", "to_hugging_face"]


def load_causal_hugging_face(folder: Path) -> PreTrainedModel:
    """Load the checkpoint as transformers' own causal language model, in fp32 and eval mode. Only safetensors are read.

    Raises:
        ModelError: transformers cannot read it, its type is unsupported, or its weights are not whole.
    """
    with quiet(transformers):
        config = load_config(folder, causal_family_of)
        with library_errors(ModelError, f"{folder} cannot be loaded as a decoder"):
            model, report = AutoModelForCausalLM.from_pretrained(
                folder, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **SAFE_LOADING
            )
    assert isinstance(model, PreTrainedModel)
    _check_whole(folder, model, report)
    return model.eval()


def _check_whole(folder: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Check that transformers found all weights: it draws at random whatever it does not find."""
    broken = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if broken:
        raise ModelError(
            f"{folder} has no fitting tensor {broken[0]!r}; expected a complete {model.config.model_type} checkpoint"
        )


def load_pretrained_decoder(folder: Path, *, scale: float, dropout: float) -> ElasticTransformer:
    """Load the checkpoint as an elastic decoder; at full size it computes what transformers' model does.

    Raises:
        ModelError: the checkpoint cannot be read, or is of a kind that is not supported.
    """
    reference = load_causal_hugging_face(folder)
    family = causal_family_of(reference.config.model_type)
    arch, eps = family.architecture(reference.config), family.eps(reference.config)
    model = ElasticTransformer(arch, scale=scale, eps=eps, dropout=dropout)
    model.load_state_dict(family.read(reference.state_dict(), arch))
    model.freeze()
    return model.eval()


def to_hugging_face(model: ElasticTransformer, subnet: Subnet, token_ids: Mapping[str, int | None]) -> PreTrainedModel:
    """Return a subnet as transformers' own model, in eval mode.

    Args:
        model: no stage may be training (see `ElasticTransformer.freeze`).
        subnet: of equal layers.
        token_ids: ``bos_token_id``, ``eos_token_id`` and ``pad_token_id`` of the tokenizer; None where it has none.

    Raises:
        ExportError: the architecture cannot express the subnet; the message names the dimension.
    """
    heads, widths = {layer.heads for layer in subnet.layers}, {layer.ffn for layer in subnet.layers}
    if len(heads) > 1 or len(widths) > 1:
        raise ExportError(
            f"{subnet.name} has {sorted(heads)} heads and FFN widths {sorted(widths)}; "
            f"transformers' {model.arch.model_type} has one of each for all layers"
        )
    arch = model.arch.alone(subnet)
    family = causal_family_of(arch.model_type)
    config = AutoConfig.for_model(arch.model_type, **family.settings(arch, model.eps), **token_ids)
    with quiet(transformers):
        small: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    missing, unexpected = small.load_state_dict(family.write(tensors_alone(model, subnet), arch), strict=False)
    assert not unexpected
    assert set(missing) <= ({"lm_head.weight"} if arch.tied else set())
    return small.eval()
