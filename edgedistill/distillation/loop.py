"""Train one stage: every process takes its rows of each global batch, gradients are summed once.

Batches, subnets and dropout are functions of (seed, stage, step), so a stage that goes on from a saved step
ends as if it had never stopped. Accelerate starts the processes and sums the gradients; the model is not
wrapped, since a step has several backward passes over different parts of the weights and needs one sum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import mean

import torch
from accelerate import Accelerator
from torch import Tensor

from edgedistill.data.batches import Batch, Encoded, epoch_batches, make_batch
from edgedistill.distillation.evaluation import Score
from edgedistill.distillation.optimizer import Optimizer
from edgedistill.distillation.processes import as_the_first
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.distillation.resume import Position
from edgedistill.distillation.seeds import seed_of
from edgedistill.distillation.stages import Objective, Whole
from edgedistill.errors import TrainingError
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["StageLoop", "StepReport", "Validate", "Watcher"]

Validate = Callable[[], dict[str, Score]]  # of subnets by name; their mean decides when a stage ends early


@dataclass(frozen=True)
class StepReport:
    """After a step: which stage, how far, the loss of each subnet that it trained.

    ``scored``: validation scores where there are new ones (at ends of epochs), else empty; ``ended``: it was the
    stage's last.
    """

    stage: int
    step: int
    steps: int
    losses: dict[str, float]
    scored: dict[str, Score]
    ended: bool


Watcher = Callable[[StepReport], None]
_SAVED_EVERY_S = 60.0
_MOST_SCORED = 20  # times a stage: data of few rows have epochs of few steps


class StageLoop:
    """One stage over ``data``."""

    def __init__(
        self,
        model: ElasticTransformer,
        data: Encoded,
        objective: Objective,
        recipe: Recipe,
        stage: int,
        accelerator: Accelerator,
    ) -> None:
        self._model, self._data, self._objective = model, data, objective
        self._recipe, self._stage, self._accelerator = recipe, stage, accelerator
        plan: StageRecipe = recipe.stages[stage]
        self._lengths = [len(ids) for ids in data.ids]
        self._epoch_steps = math.ceil(len(data) / recipe.batch_size)
        self.steps = max(plan.min_steps, round(plan.epochs * len(data) / recipe.batch_size))
        epochs = math.ceil(self.steps / self._epoch_steps)
        self._scored_every = self._epoch_steps * math.ceil(epochs / _MOST_SCORED)
        self._optimizer = Optimizer(model.named_parameters(), recipe, plan, self.steps)
        self.position = Position(stage, 0)
        self._best: dict[str, Tensor] = {}
        self._epoch, self._batches = -1, [[0]]

    def resume(self, position: Position, tensors: dict[str, Tensor]) -> None:
        """Go on from a state that `state` gave."""
        self.position = position
        self._best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        self._optimizer.restore({name: t for name, t in tensors.items() if not name.startswith("best/")})

    def state(self) -> dict[str, Tensor]:
        """Return what trains, the optimizer's moments, and the best weights so far where a stage may end early."""
        return self._optimizer.state() | {f"best/{name}": tensor for name, tensor in self._best.items()}

    def run(self, watcher: Watcher, validate: Validate, save: Callable[[], None]) -> Position:
        """Run all steps that are left; ``save`` is called about once a minute and at the end.

        Raises:
            TrainingError: a loss is not a number; what was saved last stays.
        """
        saved = time.monotonic()
        left = () if self.position.ended else range(self.position.step + 1, self.steps + 1)
        for step in left:
            losses, flops, spent = self._step(step)
            done = replace(self.position, step=step, flops=self.position.flops + flops)
            self.position = replace(done, wall_s=done.wall_s + spent)
            ended, scored = step == self.steps, {}
            if ended or step % self._scored_every == 0:
                scored = validate()
                ended = self._note(as_the_first(mean(score.value for score in scored.values()))) or ended
            self.position = replace(self.position, ended=ended)
            watcher(StepReport(self._stage, step, self.steps, losses, scored, ended))
            if ended or as_the_first(time.monotonic() - saved > _SAVED_EVERY_S):
                save()
                saved = time.monotonic()
            if ended:
                break  # patience may be at its end before the steps are
        self._restore_best()
        return self.position

    def _note(self, score: float) -> bool:
        """Add a validation score; return whether patience is at its end."""
        curve = (*self.position.curve, score)
        if self._recipe.patience is None:
            self.position = replace(self.position, curve=curve)
            return False
        if not self.position.best or score > curve[self.position.best - 1]:
            self.position = replace(self.position, best=len(curve))
            self._best = {name: p.detach().clone() for name, p in self._trained()}
        self.position = replace(self.position, curve=curve)
        return len(curve) - self.position.best >= self._recipe.patience

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, p) for name, p in self._model.named_parameters() if p.requires_grad)

    @torch.no_grad()
    def _restore_best(self) -> None:
        for name, p in self._trained():
            if name in self._best:
                p.copy_(self._best[name])

    def _step(self, step: int) -> tuple[dict[str, float], int, float]:
        """Run one step; return the mean loss of each subnet, the FLOPs and the seconds."""
        started = time.monotonic()
        rows = self._rows(step)
        # A seed of its own for each step and process, so that dropout does not depend on what ran before.
        torch.manual_seed(seed_of(self._recipe.seed, "step", self._stage, step, self._accelerator.process_index))
        whole = self._whole(rows)
        self._model.train(self._stage == 0)  # later stages imitate: noise on both sides would hide what is imitated
        device = self._accelerator.device
        counts = self._objective.counts(step)
        sums = {name: torch.zeros((), device=device) for name in counts}
        for batch in self._own_parts(rows):
            parts = self._objective.parts(self._model, batch, whole, step)
            self._add_gradients(parts, sums)
        losses = {name: loss / counts[name] for name, loss in self._reduce(sums).items()}
        if not all(map(math.isfinite, losses.values())):
            raise TrainingError(
                f"stage {self._stage} diverged at step {step}: a loss is not a number; lower the learning rate"
            )
        self._optimizer.move(step, self._objective.rate(self._model, step))
        flops = self._objective.flops(self._model, len(rows), max(self._lengths[row] for row in rows), step)
        return losses, flops, time.monotonic() - started

    def _rows(self, step: int) -> list[int]:
        epoch, place = divmod(step - 1, self._epoch_steps)
        if self._epoch != epoch:
            seed = f"{self._recipe.seed}-batches-{self._stage}-{epoch}"
            self._epoch, self._batches = epoch, epoch_batches(self._lengths, self._recipe.batch_size, seed)
        return self._batches[place]

    def _whole(self, rows: list[int]) -> Whole:
        tokens = sum(self._lengths[row] for row in rows)
        units = sum(self._data.units(row) for row in rows)
        return Whole(units, tokens)

    def _own_parts(self, rows: list[int]) -> Iterator[Batch]:
        """Yield this process's rows, as many at once as the recipe allows."""
        own = rows[self._accelerator.process_index :: self._accelerator.num_processes]
        size = self._recipe.micro_batch or max(1, len(own))
        for start in range(0, len(own), size):
            yield make_batch(self._data, own[start : start + size]).to(self._accelerator.device)

    def _add_gradients(self, parts: Iterator, sums: dict[str, Tensor]) -> None:  # type: ignore[type-arg]
        while True:
            with self._accelerator.autocast():
                part = next(parts, None)
            if part is None:
                return
            (part.loss * part.scale).backward()
            sums[part.name] += part.loss.detach().float()

    def _reduce(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Sum gradients and losses over the processes.

        What no subnet of the step used keeps no gradient, so that the optimizer leaves it alone; a process that
        had no rows has none at all.
        """
        if self._accelerator.num_processes > 1:
            trained = self._optimizer.parameters
            device = self._accelerator.device
            used = torch.tensor([float(p.grad is not None) for p in trained], device=device)
            for p, by in zip(trained, self._accelerator.reduce(used, "sum").tolist(), strict=True):
                if by:
                    gradient = torch.zeros_like(p) if p.grad is None else p.grad
                    p.grad = self._accelerator.reduce(gradient, "sum")
            sums = {name: self._accelerator.reduce(loss, "sum") for name, loss in sums.items()}
        return {name: float(loss) for name, loss in sums.items()}
