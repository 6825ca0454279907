"""Merging then slicing equals slicing then merging; a subnet is a plain decoder of slices, and costs what is kept."""

from __future__ import annotations

import random

import plain_decoder
import pytest
import tiny_decoder
import torch
from flops import counted_flops
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors, tensors_alone

ARCHITECTURES = tiny_decoder.ARCHITECTURES


@given(
    name=st.sampled_from(list(ARCHITECTURES)),
    seed=st.integers(0, 10_000),
    pairs=st.integers(1, 3),
    rank=st.integers(1, 8),
)
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_merging_then_slicing_equals_slicing_then_merging(name: str, seed: int, pairs: int, rank: int) -> None:
    arch = ARCHITECTURES[name]
    model = tiny_decoder.decoder(arch, pairs=pairs, rank=rank, seed=seed)
    subnet = tiny_decoder.random_subnet(arch, random.Random(seed))
    feeds = tiny_decoder.inputs(3, 7, seed=seed)
    sliced_first = model.logits(*feeds, subnet)
    model.freeze()
    torch.testing.assert_close(sliced_first, model.logits(*feeds, subnet), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_every_subnet_is_a_plain_decoder_of_the_sliced_weights(name: str) -> None:
    """Those of a space, and others of any hidden width and unequal layers."""
    arch, rng = ARCHITECTURES[name], random.Random(0)
    model = tiny_decoder.decoder(arch)
    model.freeze()
    ids, mask = tiny_decoder.inputs(3, 13)
    tensors = full_tensors(model)
    for subnet in [*tiny_decoder.SPACE, *(tiny_decoder.random_subnet(arch, rng) for _ in range(10))]:
        sliced = slice_tensors(tensors, extents(arch, subnet))
        for text, kept, logits in zip(ids, mask.bool(), model.logits(ids, mask, subnet), strict=True):
            expected = plain_decoder.run(sliced, arch, subnet, text[kept], model.eps)
            torch.testing.assert_close(logits[kept], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_a_uniform_subnet_is_an_elastic_decoder_of_its_own(name: str) -> None:
    arch, feeds = ARCHITECTURES[name], tiny_decoder.inputs(4, 9)
    model = tiny_decoder.decoder(arch)
    model.freeze()
    for subnet in tiny_decoder.SPACE:
        alone = ElasticTransformer(arch.alone(subnet), eps=model.eps)
        alone.load_state_dict(tensors_alone(model, subnet))
        alone.freeze()
        actual = alone.eval().logits(*feeds, alone.arch.full)
        torch.testing.assert_close(actual, model.logits(*feeds, subnet), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts_are_those_of_the_kept_tensors(name: str) -> None:
    arch, rng = ARCHITECTURES[name], random.Random(0)
    for subnet in [*tiny_decoder.SPACE, tiny_decoder.random_subnet(arch, rng)]:
        kept = extents(arch, subnet)
        matrices = {n: s for n, s in kept.items() if n.startswith("layers.") and len(s) == 2}
        assert arch.total_parameters(subnet) == sum(torch.Size(shape).numel() for shape in kept.values())
        assert arch.layer_parameters(subnet) == sum(torch.Size(shape).numel() for shape in matrices.values())


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_macs_are_those_of_the_matrix_products(name: str) -> None:
    """Torch's own counter says two operations a multiply-accumulate."""
    model = tiny_decoder.decoder(ARCHITECTURES[name])
    model.freeze()
    for subnet in tiny_decoder.SPACE:
        with counted_flops() as counter:
            model.logits(*tiny_decoder.inputs(1, 9), subnet)
        assert counter.get_total_flops() == 2 * model.arch.macs(subnet, tokens=9)
