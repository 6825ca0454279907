"""What subnets learn from beside outputs."""

from __future__ import annotations

import tiny_encoder
import torch

from edgedistill.architecture import Subnet
from edgedistill.distillation.losses import FeatureProjection, RelationLoss, layer_map
from edgedistill.supernet.model import ModelOutput

FULL = tiny_encoder.ARCH.full


def _output(states: list[torch.Tensor]) -> ModelOutput:
    return ModelOutput(torch.zeros(1, 2), tuple(state[None] for state in states), ())


def test_a_layer_stands_in_for_those_dropped_behind_it() -> None:
    def mapped(*kept: int) -> list[int]:
        return layer_map(Subnet.uniform(kept, hidden=8, heads=1, ffn=8), 6)

    assert mapped(0, 1, 2, 3, 4, 5) == [0, 1, 2, 3, 4, 5]
    assert mapped(0, 2, 3, 5) == [1, 2, 4, 5]
    assert mapped(1, 3) == [2, 5]


def test_the_feature_loss_is_zero_for_the_maxnet_and_one_a_token_for_its_mean() -> None:
    torch.manual_seed(0)
    states = [torch.randn(400, 24) * torch.linspace(3, 0.1, 24) for _ in range(4)]
    projection = FeatureProjection.fit(states, 6)
    teacher, mean = _output(states), _output([s.mean(0).expand(400, 24) for s in states])
    mask = torch.ones(1, 400)
    assert float(projection(teacher, teacher, FULL, mask)) == 0.0
    assert abs(float(projection(mean, teacher, FULL, mask)) / 400 - 1.0) < 1e-3


def test_padding_does_not_count_in_the_feature_loss() -> None:
    states = [torch.randn(50, 24) for _ in range(4)]
    wrong_at_the_end = [torch.cat([s[:40], s[40:] + 9]) for s in states]
    mask = (torch.arange(50) < 40).long()[None]
    loss = FeatureProjection.fit(states, 6)(_output(wrong_at_the_end), _output(states), FULL, mask)
    assert float(loss) == 0.0


def _relations(heads: int, size: int, *, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, heads, 5, size, generator=generator) for _ in range(3))


def test_relations_compare_subnets_of_any_width_and_not_padding() -> None:
    """The same relations give zero, others more, whatever the number of heads; a padded token changes nothing."""
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    loss = RelationLoss(2)
    teacher = ModelOutput(torch.zeros(2, 2), (), _relations(4, 8, seed=0))
    narrow = ModelOutput(torch.zeros(2, 2), (), _relations(2, 8, seed=1))
    assert float(loss(teacher, teacher, FULL, mask)) == 0.0
    assert float(loss(narrow, teacher, FULL, mask)) > 0.1
    moved = tuple(x * mask[:, None, :, None] + 7 * (1 - mask[:, None, :, None]) for x in narrow.relations)
    torch.testing.assert_close(
        loss(ModelOutput(narrow.logits, (), moved), teacher, FULL, mask), loss(narrow, teacher, FULL, mask)
    )


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    mask = torch.ones(2, 5, dtype=torch.int64)
    teacher, student = (ModelOutput(torch.zeros(2, 2), (), _relations(4, 8, seed=s)) for s in (0, 1))

    def row(output: ModelOutput, i: int) -> ModelOutput:
        return ModelOutput(output.logits[i : i + 1], (), tuple(x[i : i + 1] for x in output.relations))

    loss = RelationLoss(4)
    parts = [loss(row(student, i), row(teacher, i), FULL, mask[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(sum(parts), loss(student, teacher, FULL, mask))
