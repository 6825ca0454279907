"""bfloat16 is refused where it would be emulated."""

from __future__ import annotations

import pytest

from edgedistill.distillation import accelerator
from edgedistill.distillation.accelerator import accelerator_for
from edgedistill.distillation.recipe import Recipe
from edgedistill.errors import RecipeError


def test_bf16_that_would_be_emulated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "has_bf16", lambda: False)
    with pytest.raises(RecipeError, match="emulate"):
        accelerator_for(Recipe(precision="bf16"))
    assert accelerator_for(Recipe()).mixed_precision == "no"
