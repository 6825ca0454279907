"""Compute a model's outputs for a batch's units, in chunks where they are large: a decoder's logits.

Shapes: u units, d hidden width, c outputs of a unit. A sum over units is made of the chunks' sums, and a chunk's
outputs are made again for its gradient, so that no more than one chunk of them is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Batch
from edgedistill.supernet.model import ElasticTransformer, ModelOutput

__all__ = ["LossSum", "UnitOutputs", "forward", "sum_over_units", "unit_outputs_of"]

_MAX_OUTPUTS_AT_ONCE = 1 << 23  # numbers: some copies of 32 MB

LossSum = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""Outputs [m, c], the teacher's [m, c] and labels [m] of some units → the sum of their losses."""


@dataclass(frozen=True)
class UnitOutputs:
    """The states of units, and the head that makes their outputs.

    Attributes:
        states: [u, d]; of an encoder the outputs themselves.
        head: states [m, d] → outputs [m, c] in fp32.
        width: c.
        output: of an encoder, what else its pass gave.
    """

    states: Tensor
    head: Callable[[Tensor], Tensor]
    width: int
    output: ModelOutput | None = None

    @classmethod
    def computed(cls, outputs: Tensor, output: ModelOutput | None = None) -> UnitOutputs:
        """Hold outputs [u, c] that are computed already."""
        return cls(outputs, _as_it_is, outputs.shape[-1], output)

    def detached(self) -> UnitOutputs:
        """Return the same as constants."""
        return replace(self, states=self.states.detach(), head=torch.no_grad()(self.head), output=None)


def _as_it_is(outputs: Tensor) -> Tensor:
    return outputs


def forward(model: ElasticTransformer, batch: Batch, subnet: Subnet) -> ModelOutput:
    """Run one batch through one subnet of an encoder."""
    output: ModelOutput = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, subnet)
    return output


def unit_outputs_of(model: ElasticTransformer, batch: Batch, subnet: Subnet) -> UnitOutputs:
    """Run one batch through one subnet; return the outputs of its units."""
    if not model.arch.causal:
        output = forward(model, batch, subnet)
        return UnitOutputs.computed(batch.unit_outputs(output.logits), output)
    states = model.states(batch.input_ids, batch.attention_mask, subnet)
    assert batch.units is not None
    return UnitOutputs(states[batch.units], lambda x: model.answer(x).float(), model.arch.vocabulary)


def sum_over_units(loss: LossSum, ours: UnitOutputs, theirs: UnitOutputs | None, labels: Tensor | None) -> Tensor:
    """Return the sum of ``loss`` over all units: a scalar."""
    size = max(1, _MAX_OUTPUTS_AT_ONCE // ours.width)

    def part(our_states: Tensor, their_states: Tensor | None, part_labels: Tensor | None) -> Tensor:
        targets = None if theirs is None or their_states is None else theirs.head(their_states)
        return loss(ours.head(our_states), targets, part_labels)

    if len(ours.states) <= size:
        return part(ours.states, None if theirs is None else theirs.states, labels)
    total = ours.states.new_zeros((), dtype=torch.float32)
    for start in range(0, len(ours.states), size):
        chunk = [
            None if tensor is None else tensor[start : start + size]
            for tensor in (ours.states, None if theirs is None else theirs.states, labels)
        ]
        total = total + checkpoint(part, *chunk, use_reentrant=False, preserve_rng_state=False)
    return total
