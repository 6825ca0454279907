"""Importance order of a decoder: any order keeps the maxnet's function, and a prefix is what was scored highest."""

from __future__ import annotations

import pytest
import tiny_decoder
import torch

from edgedistill.architecture import Subnet
from edgedistill.supernet.importance import order_hidden, rewire
from edgedistill.supernet.slicing import full_tensors

ARCHITECTURES = tiny_decoder.ARCHITECTURES


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_rewiring_is_a_permutation_that_keeps_the_function(name: str) -> None:
    """Pairs are permuted with their W0, so that training can go on."""
    arch, feeds = ARCHITECTURES[name], tiny_decoder.inputs(4, 9)
    model = tiny_decoder.decoder(arch)
    model.freeze()
    tensors, before = full_tensors(model), model.logits(*feeds, arch.full)
    torch.manual_seed(1)
    groups = torch.arange(arch.heads // arch.group).float()
    rewire(model, [(groups, torch.rand(arch.ffn)) for _ in range(arch.layers)])
    torch.testing.assert_close(model.logits(*feeds, arch.full), before, atol=1e-5, rtol=1e-4)
    model.freeze()
    torch.testing.assert_close(model.logits(*feeds, arch.full), before, atol=1e-5, rtol=1e-4)
    _assert_permuted(full_tensors(model), tensors)


def _assert_permuted(after: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    """The same numbers, and in the queries and the FFN elsewhere."""
    for name, tensor in after.items():
        torch.testing.assert_close(tensor.flatten().sort()[0], before[name].flatten().sort()[0])
    moved = [f"layers.{i}.{part}.weight" for i in (0, 2) for part in ("query", "attention_output", "ffn_up")]
    assert not any(torch.equal(after[name], before[name]) for name in moved)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_prefix_has_the_groups_and_neurons_of_the_highest_scores(name: str) -> None:
    """What is cut behind it is what silencing the low-scored units leaves out."""
    arch, feeds = ARCHITECTURES[name], tiny_decoder.inputs(4, 9)
    model = tiny_decoder.decoder(arch)
    model.freeze()
    groups = arch.heads // arch.group
    scores = [(torch.arange(groups).float(), torch.arange(arch.ffn).float()) for _ in range(arch.layers)]
    silent = tiny_decoder.decoder(arch)
    silent.freeze()
    for layer in silent.layers:
        layer.attention_output.merged[:, : arch.group * arch.head_size] = 0
        layer.ffn_down.merged[:, :5] = 0
    expected = silent.logits(*feeds, arch.full)
    rewire(model, scores)
    subnet = Subnet.uniform(range(3), hidden=arch.hidden, heads=arch.heads - arch.group, ffn=arch.ffn - 5)
    torch.testing.assert_close(model.logits(*feeds, subnet), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_ordering_the_hidden_width_keeps_the_function_and_sorts(name: str) -> None:
    arch, feeds = ARCHITECTURES[name], tiny_decoder.inputs(4, 9)
    model = tiny_decoder.decoder(arch)
    model.freeze()
    before, first = model.logits(*feeds, arch.full), model.word.weight[:, -1].clone()
    order_hidden(model, torch.arange(arch.hidden).float())
    torch.testing.assert_close(model.logits(*feeds, arch.full), before, atol=1e-5, rtol=1e-4)
    model.freeze()
    torch.testing.assert_close(model.logits(*feeds, arch.full), before, atol=1e-5, rtol=1e-4)
    assert torch.equal(model.word.weight[:, 0], first)
