"""What a model answers to a batch's units, made a chunk at a time where that is much: a decoder's logits.

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

__all__ = ["Answers", "LossSum", "ask", "forward", "sum_over_units"]

_MOST = 1 << 23  # numbers in a chunk's outputs: some copies of 32 MB

LossSum = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""Outputs [m, c], the teacher's [m, c] and labels [m] of some units → the sum of their losses."""


@dataclass(frozen=True)
class Answers:
    """A unit's state, and what makes its outputs of it.

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
    def known(cls, outputs: Tensor, output: ModelOutput | None = None) -> Answers:
        """Outputs [u, c] that are there already."""
        return cls(outputs, _as_it_is, outputs.shape[-1], output)

    def detached(self) -> Answers:
        """The same as constants."""
        return replace(self, states=self.states.detach(), head=torch.no_grad()(self.head), output=None)


def _as_it_is(outputs: Tensor) -> Tensor:
    return outputs


def forward(model: ElasticTransformer, batch: Batch, subnet: Subnet) -> ModelOutput:
    """One batch through one subnet of an encoder."""
    output: ModelOutput = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, subnet)
    return output


def ask(model: ElasticTransformer, batch: Batch, subnet: Subnet) -> Answers:
    """One batch through one subnet: the answers to its units."""
    if not model.arch.causal:
        output = forward(model, batch, subnet)
        return Answers.known(batch.unit_outputs(output.logits), output)
    states = model.states(batch.input_ids, batch.attention_mask, subnet)
    assert batch.units is not None
    return Answers(states[batch.units], lambda x: model.answer(x).float(), model.arch.vocabulary)


def sum_over_units(loss: LossSum, ours: Answers, theirs: Answers | None, labels: Tensor | None) -> Tensor:
    """The sum of ``loss`` over all units: a scalar."""
    size = max(1, _MOST // ours.width)

    def part(ours_of: Tensor, theirs_of: Tensor | None, labels_of: Tensor | None) -> Tensor:
        known = None if theirs is None or theirs_of is None else theirs.head(theirs_of)
        return loss(ours.head(ours_of), known, labels_of)

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
