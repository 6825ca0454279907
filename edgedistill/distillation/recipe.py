"""The recipe: every number that decides what training does, in one strict model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edgedistill.errors import InputError
from edgedistill.subnet import Architecture

__all__ = ["Recipe", "StageRecipe"]

_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageRecipe(_Strict):
    """One stage: passes over the training data, but at least so many steps, and AdamW's peak learning rate."""

    epochs: Annotated[float, Field(gt=0)]
    learning_rate: _Positive
    least_steps: Annotated[int, Field(ge=1)] = 1


class Recipe(_Strict):
    """MLFS's settings. [P] marks the paper's value (arXiv 2404.01353), others are ours."""

    seed: int = 0
    batch_size: Annotated[int, Field(ge=1)] = 32
    max_tokens: Annotated[int, Field(ge=4)] = 128
    rank: Annotated[int, Field(ge=1)] = 16
    """Rank of every stage's pairs; the paper has 8."""
    scale: _Positive = 1.0
    """s in W = W0 + s·Σ B·A."""
    teacher: StageRecipe = StageRecipe(epochs=3, learning_rate=1e-3, least_steps=280)
    """Stage 0: fine-tuning of the full model."""
    widths: StageRecipe = StageRecipe(epochs=1.5, learning_rate=1e-3, least_steps=140)
    """Stage 1: widths vary at full depth [P]."""
    depths: StageRecipe = StageRecipe(epochs=4, learning_rate=1e-3, least_steps=280)
    """Stage 2: widths and depths vary [P]."""
    dropout: _Share = 0.1
    """In stage 0 alone: later stages imitate the teacher, and noise on both sides hides it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip_norm: _Positive = 1.0
    alpha: _Share = 0.9
    """Weight of the logit distillation; 1 − alpha weighs the labels [P]."""
    beta: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the feature distillation [P]."""
    temperature: _Positive = 2.0
    gamma: Annotated[float, Field(ge=0)] = 0.5
    """Exponent of the gradient scaling (n₁/n_j)^γ; not stated in the paper."""
    width_shares: tuple[_Share, ...] = (1.0, 0.5, 0.25)
    """Kept shares of heads and of FFN neurons, from large to small."""
    depth_shares: tuple[_Share, ...] = (1.0, 2 / 3, 1 / 3)
    """Kept shares of the layers, from large to small."""

    def heads(self, arch: Architecture) -> tuple[int, ...]:
        """The choices of heads, from all to few."""
        return _choices(arch.heads, self.width_shares, "heads")

    def ffn(self, arch: Architecture) -> tuple[int, ...]:
        """The choices of FFN width, from all to few."""
        return _choices(arch.ffn, self.width_shares, "FFN neurons")

    def depth(self, arch: Architecture) -> tuple[int, ...]:
        """The choices of depth, from all layers to few."""
        return _choices(arch.layers, self.depth_shares, "layers")


def _choices(whole: int, shares: tuple[float, ...], what: str) -> tuple[int, ...]:
    kept = sorted({max(1, round(whole * share)) for share in shares}, reverse=True)
    if not kept or kept[0] != whole:
        raise InputError(f"the shares of {what} are {list(shares)}; expected the first to be 1, the full size")
    return tuple(kept)
