"""Small random encoders for tests: real code, small weights."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from edgedistill.architecture import Architecture, LayerShape, SearchSpace, Subnet
from edgedistill.supernet.lowrank import LowRankPair
from edgedistill.supernet.model import ElasticTransformer

ARCH = Architecture(
    model_type="bert",
    layers=4,
    hidden=24,
    heads=3,
    head_size=8,
    ffn=40,
    vocabulary=50,
    positions=160,
    token_types=2,
    outputs=5,
    dense="tanh",
)
SPACE = SearchSpace(layers=((0, 1, 2, 3), (0, 2), (3,)), hidden=(24, 12), heads=(3, 2, 1), ffn=(40, 10))


def encoder(
    arch: Architecture = ARCH, *, pairs: int = 2, rank: int = 2, seed: int = 0, scale: float = 0.5
) -> ElasticTransformer:
    """An encoder with random weights and ``pairs`` random low-rank pairs a matrix, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    model = ElasticTransformer(arch, scale=scale)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    for _ in range(pairs):
        model.begin_stage(rank, generator)
        for linear in model.elastic_linears().values():
            pair = linear.pairs[-1]
            assert isinstance(pair, LowRankPair)
            pair.B.data = torch.randn(pair.B.shape, generator=generator) * 0.3
    return model.eval()


def trainable(*, seed: int = 0) -> ElasticTransformer:
    """An encoder as pretraining would leave it: norms at one, small weights, no stage begun."""
    model = encoder(pairs=0, seed=seed, scale=1.0)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.fill_(float(name.endswith("weight")))
        elif "embeddings" in name:
            parameter.data.mul_(3)
        else:
            parameter.data.mul_(0.4)
    model.freeze()
    return model


def random_subnet(rng: random.Random) -> Subnet:
    """Any subnet of `ARCH`, its layers of unequal widths."""
    kept = sorted(rng.sample(range(ARCH.layers), rng.randint(1, ARCH.layers)))
    shapes = tuple(LayerShape(i, rng.randint(1, ARCH.heads), rng.randint(1, ARCH.ffn)) for i in kept)
    return Subnet(shapes, rng.choice((24, 16, 12)))


def inputs(batch: int, length: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, a mask with padding, token types; each [batch, length]."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, ARCH.vocabulary, (batch, length), generator=generator)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids, mask, torch.randint(0, 2, (batch, length), generator=generator)


def hugging_face_checkpoint(
    folder: Path, *, model_type: str = "bert", head: str = "SequenceClassification", **changes: object
) -> Path:
    """A tiny checkpoint with random weights of every kind, as transformers writes it; head "" for none."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **(_sizes(model_type) | changes))
    classes = {"SequenceClassification": AutoModelForSequenceClassification, "": AutoModel}
    model = classes.get(head, AutoModelForTokenClassification).from_config(config)
    for name, parameter in model.named_parameters():
        is_scale = "norm" in name.lower() and name.endswith("weight")
        parameter.data = torch.randn_like(parameter) * 0.2 + is_scale
    model.save_pretrained(folder)
    return folder


def _sizes(model_type: str) -> dict[str, object]:
    sizes: dict[str, object] = {
        "vocab_size": 50,
        "hidden_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "max_position_embeddings": 160,
        "num_labels": 5,
    }
    if model_type == "distilbert":
        return sizes | {"hidden_dim": 40}
    types = {} if model_type in {"bert", "electra"} else {"type_vocab_size": 1}
    return sizes | types | {"intermediate_size": 40}
