"""Two kinds of task, by what their outputs are: logits of classes, or numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from edgedistill.tasks.task import Outputs

__all__ = ["ClassTask", "NumberTask"]


class ClassTask(Task):
    """Outputs are logits of classes that exclude each other."""

    agreement = "agreement"
    has_classes = True

    def outputs(self, labels: int, _hidden: int, /) -> int:
        """Return one for each label."""
        return labels

    def hard_loss(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Return the cross-entropy."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs, labels, reduction="none")

    def soft_loss(self, outputs: Tensor, teacher: Tensor, temperature: float, /) -> Tensor:
        """Return T²·KL(teacher‖outputs), both softened by T (§3 of the paper; T² keeps its gradient's size)."""
        from torch.nn import functional as F

        ours, theirs = ((logits / temperature).log_softmax(-1) for logits in (outputs, teacher))
        return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)

    def agreements(self, outputs: Outputs, teacher: Outputs, /) -> dict[str, float]:
        """Return the share of units with the same class on top."""
        return {self.agreement: float((outputs.argmax(-1) == teacher.argmax(-1)).mean())}


class NumberTask(Task):
    """Outputs are compared as they are: they have no temperature."""

    def soft_loss(self, outputs: Tensor, teacher: Tensor, _temperature: float, /) -> Tensor:
        """Return the squared distance; of unit vectors it is 2 − 2·cos."""
        return (outputs - teacher).square().sum(-1)
