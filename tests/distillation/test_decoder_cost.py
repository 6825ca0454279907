"""What training a decoder costs, against what torch counts as it runs, and how many parameters train."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_decoder
import torch
from flops import counted_flops
from torch.nn import functional as F

from edgedistill.distillation.cost import forward_flops, train_flops
from edgedistill.distillation.scaling import trained_parameters
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors

WIDE = {"hidden": 96, "heads": 6, "kv_heads": 3, "head_size": 16, "ffn": 384, "vocabulary": 200}


@pytest.mark.parametrize(
    ("name", "rank", "tables"),
    [("grouped", 4, False), ("grouped", None, False), ("normed", None, False), ("normed", None, True)],
)
def test_training_costs_what_torch_counts(name: str, rank: int | None, tables: bool) -> None:
    """Within 6 %: the first layer needs no gradient of its input, which we do not take off."""
    arch = replace(tiny_decoder.ARCHITECTURES[name], **WIDE)
    model = ElasticTransformer(arch)
    model.begin_stage(rank, torch.Generator().manual_seed(0))
    if tables:
        model.train_tables()
    subnet = replace(arch.full, layers=tuple(replace(layer, heads=4, ffn=192) for layer in arch.full.layers))
    ids = torch.randint(0, arch.vocabulary, (4, 32))
    with counted_flops() as counter:
        F.cross_entropy(model.logits(ids, torch.ones_like(ids), subnet).flatten(0, 1), ids.flatten()).backward()
    assert 0.94 < counter.get_total_flops() / train_flops(arch, subnet, rank, rows=4, tokens=32, tables=tables) < 1.02


@pytest.mark.parametrize("name", tiny_decoder.ARCHITECTURES)
def test_a_forward_pass_costs_what_torch_counts(name: str) -> None:
    model = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES[name])
    model.freeze()
    for subnet in tiny_decoder.SPACE:
        with counted_flops() as counter, torch.no_grad():
            model.logits(*tiny_decoder.inputs(2, 9), subnet)
        assert counter.get_total_flops() == forward_flops(model.arch, subnet, rows=2, tokens=9)


@pytest.mark.parametrize("name", tiny_decoder.ARCHITECTURES)
@pytest.mark.parametrize("rank", [3, None])
def test_the_counts_are_those_of_the_model(name: str, rank: int | None) -> None:
    """The tables do not train, and so a tied head does not; an untied one is a matrix like others."""
    arch = tiny_decoder.ARCHITECTURES[name]
    model = ElasticTransformer(arch)
    model.begin_stage(rank, torch.Generator().manual_seed(0))
    assert trained_parameters(arch, arch.full, rank).total == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


def test_one_table_of_slices_serves_both_kinds() -> None:
    model = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES["normed"])
    model.freeze()
    shapes = {name: tuple(tensor.shape) for name, tensor in full_tensors(model).items()}
    assert shapes == extents(model.arch, model.arch.full) == {n: tuple(t.shape) for n, t in _plain(model).items()}


def _plain(model: ElasticTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if ".pairs." not in name}
