"""Merging then slicing equals slicing then merging, for every elastic axis; and slices are plain encoders."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import tiny_encoder
import torch
from flops import counted_flops
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedistill.architecture import Subnet
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors, slice_tensors

ARCH = tiny_encoder.ARCH


@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 3), rank=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_merging_then_slicing_equals_slicing_then_merging(seed: int, pairs: int, rank: int) -> None:
    """Over random subnets of unequal layers and any hidden width: the forward pass that slices A, B and W0
    agrees with a plain encoder that holds slices of the merged matrices."""
    model = tiny_encoder.encoder(pairs=pairs, rank=rank, seed=seed)
    subnet = tiny_encoder.random_subnet(random.Random(seed))
    feeds = tiny_encoder.inputs(3, 7, seed=seed)
    with torch.no_grad():
        sliced_first = model(*feeds, subnet).logits
        model.freeze()
        merged_first = model(*feeds, subnet).logits
    torch.testing.assert_close(sliced_first, merged_first, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("axis", ["rows", "columns", "both"])
def test_one_matrix_merged_then_sliced(axis: str) -> None:
    linear = tiny_encoder.encoder().layers[0].ffn_up
    rows = 7 if axis != "columns" else linear.shape[0]
    columns = 5 if axis != "rows" else linear.shape[1]
    pairs = list(linear.pairs)
    sliced = linear.weight[:rows, :columns] + linear.scale * sum(p.B[:rows] @ p.A[:, :columns] for p in pairs)
    torch.testing.assert_close(linear.full_weight()[:rows, :columns], sliced.detach())


@pytest.mark.parametrize("hidden", [24, 16])
def test_a_uniform_subnet_is_a_plain_encoder_of_the_sliced_weights(hidden: int) -> None:
    model = tiny_encoder.encoder()
    subnet = Subnet.uniform((0, 2), hidden=hidden, heads=2, ffn=13)
    plain = ElasticTransformer(replace(ARCH, layers=2, hidden=hidden, heads=2, ffn=13))
    sliced = slice_tensors(full_tensors(model), extents(ARCH, subnet))
    renamed = {name.replace("layers.2.", "layers.1."): tensor for name, tensor in sliced.items()}
    plain.load_state_dict(renamed)
    plain.freeze()
    feeds = tiny_encoder.inputs(4, 9)
    with torch.no_grad():
        torch.testing.assert_close(
            plain.eval()(*feeds, plain.arch.full).logits, model(*feeds, subnet).logits, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(
    "head",
    [{}, {"token_types": 0, "dense": "relu"}, {"pooling": "each", "dense": None}, {"outputs": 24}, {"table_width": 16}],
)
def test_parameter_counts_are_those_of_the_kept_tensors(head: dict[str, Any]) -> None:
    arch = replace(ARCH, **head)
    for subnet in tiny_encoder.SPACE:
        kept = extents(arch, subnet)
        total = sum(torch.Size(shape).numel() for shape in kept.values())
        matrices = {n: s for n, s in kept.items() if n.startswith("layers.") and len(s) == 2}
        assert arch.total_parameters(subnet) == total
        assert arch.layer_parameters(subnet) == sum(torch.Size(s).numel() for s in matrices.values())


@pytest.mark.parametrize(
    "head", [{}, {"pooling": "mean", "dense": None}, {"pooling": "each", "dense": "relu"}, {"table_width": 16}]
)
def test_macs_are_those_of_the_matrix_products(head: dict[str, Any]) -> None:
    """Torch's own counter says two operations a multiply-accumulate."""
    model = tiny_encoder.encoder(replace(ARCH, **head))
    model.freeze()
    for subnet in tiny_encoder.SPACE:
        with counted_flops() as counter, torch.no_grad():
            model(*tiny_encoder.inputs(1, 9), subnet)
        assert counter.get_total_flops() == 2 * model.arch.macs(subnet, tokens=9)
