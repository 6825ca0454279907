"""The optimizer and its schedule, with a state that can be saved as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.errors import CheckpointError

__all__ = ["Optimizer"]

_WARM_UP = 0.06


class Optimizer:
    """AdamW or plain SGD over what trains, with linear warm-up and decay."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], recipe: Recipe, stage: StageRecipe, steps: int):
        self._named = [(name, p) for name, p in parameters if p.requires_grad]
        self._clip, self._peak, self._steps = recipe.clip_norm, stage.learning_rate, steps
        self._warm = max(1, round(_WARM_UP * steps))
        matrices = [p for _, p in self._named if p.ndim > 1]
        vectors = [p for _, p in self._named if p.ndim == 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[recipe.optimizer]
        # Fused: one pass over memory a step where the default makes many, a sixth of a step on a CPU.
        self._inner = kind([group for group in groups if group["params"]], lr=self._peak, fused=True)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that train."""
        return [p for _, p in self._named]

    def move(self, step: int, factor: float = 1.0) -> None:
        """Step ``step`` (from 1) from the gradients so far, which are cleared; ``factor`` is of the learning rate."""
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
        done = step - 1
        share = min((done + 1) / self._warm, (self._steps - done) / max(1, self._steps - self._warm))
        for group in self._inner.param_groups:
            group["lr"] = self._peak * share * factor
        self._inner.step()
        self._inner.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return what trains and the optimizer's moments, by name."""
        tensors = {f"value/{name}": p.detach() for name, p in self._named}
        for name, p in self._named:
            for key, value in self._inner.state.get(p, {}).items():
                tensors[f"{key}/{name}"] = value
        return tensors

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a state.

        Raises:
            CheckpointError: it is another model's.
        """
        for name, p in self._named:
            stored = {
                key: value
                for key, _, its in (k.partition("/") for k in tensors)
                if its == name
                for value in [tensors[f"{key}/{name}"]]
            }
            if "value" not in stored or stored["value"].shape != p.shape:
                raise CheckpointError(
                    f"the state to resume from does not fit {name}; delete it to begin the stage anew"
                )
            p.copy_(stored.pop("value"))
            if stored:
                self._inner.state[p] = {key: value.to(p.device) for key, value in stored.items()}
