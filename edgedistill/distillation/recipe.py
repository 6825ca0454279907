"""The recipe: every number that decides what training does, in one strict model, from a TOML file or flags.

[P] marks the paper's value (arXiv 2404.01353); the other defaults are ours, by the ablations in docs/training.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedistill.architecture import Architecture
from edgedistill.errors import RecipeError
from edgedistill.renamed import RENAMED_RECIPE_KEYS, renamed_keys
from edgedistill.tasks import TaskName, task_of
from edgedistill.utf8 import NotUtf8, read_text_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Recipe", "StageRecipe", "defaults_for", "read_recipe", "recipe_as_toml"]

_Share = Annotated[float, Field(gt=0, le=1)]
_Shares = Annotated[tuple[_Share, ...], Field(min_length=1)]
_Weight = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _rename_recorded_keys(cls, values: Any) -> Any:
        """Accept the old names of keys in recipes that supernets have recorded; `read_recipe` refuses them."""
        if not isinstance(values, Mapping):
            return values
        return {RENAMED_RECIPE_KEYS.get(key, key): value for key, value in values.items()}


class StageRecipe(_Strict):
    """One stage."""

    epochs: _Positive = Field(description="passes over the training data")
    min_steps: _Count = Field(1, description="but at least so many steps, for small data")
    learning_rate: _Positive = Field(description="peak, after a warm-up of 6 % of the steps; then linearly to zero")
    parameters: Literal["low-rank", "full"] = Field(
        "full", description="what trains: low-rank pairs beside frozen matrices [P], or the matrices in full"
    )


class Recipe(_Strict):
    """MLFS's settings."""

    seed: int = Field(0, description="of everything random; the same gives the same supernet")
    batch_size: _Count = Field(32, description="rows a step, over all processes")
    micro_batch: _Count | None = Field(
        None, description="rows that one process runs at once, gradients accumulated; unset: its share of the batch"
    )
    max_tokens: Annotated[int, Field(ge=4)] = Field(128, description="longer texts are cut")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="of products; auto: bfloat16 on a GPU that has it. bf16 pays on CPUs that have it, too, "
        "and is refused on others, which would emulate it",
    )
    fine_tuned: bool = Field(False, description="the model is the teacher as it is: stage 0 trains nothing")
    random_weights: bool = Field(
        False,
        description="begin a decoder of the model's shape with weights drawn anew: stage 0 trains all of them, in full",
    )

    rank: _Count = Field(16, description="of the pairs of every low-rank stage; the paper has 8")
    scale: _Positive = Field(1.0, description="s in W = W0 + s·Σ B·A")
    teacher: StageRecipe = Field(
        StageRecipe(epochs=3, min_steps=280, learning_rate=1e-3, parameters="low-rank"),
        description="stage 0: the full model learns the task",
    )
    widths: StageRecipe = Field(
        StageRecipe(epochs=5, min_steps=460, learning_rate=2e-4),
        description="stage 1: widths vary at full depth [P]",
    )
    depths: StageRecipe = Field(
        StageRecipe(epochs=13.5, min_steps=930, learning_rate=2e-4),
        description="stage 2: widths and depths vary [P]",
    )
    patience: _Count | None = Field(
        None,
        description="end a stage after so many validations without a better score, at the best; unset: never",
    )

    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd: plain, with no momentum")
    weight_decay: _NotNegative = Field(0.01, description="of matrices, not of biases and norms")
    clip_norm: _Positive | None = Field(1.0, description="largest norm of a step's gradient; 'none' turns it off")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="in stage 0 alone: later stages imitate a teacher, and noise on both sides hides it"
    )

    teacher_source: Literal["maxnet", "frozen"] = Field(
        "frozen", description="who teaches the subnets: the maxnet as it trains [P], or the model as stage 0 left it"
    )
    alpha: _Weight = Field(0.9, description="weight of the teacher's outputs; 1 − alpha weighs the labels [P]")
    temperature: _Positive = Field(2.0, description="softens both sides of the outputs' distillation")
    features: Literal["projections", "relations", "none"] = Field(
        "none", description="beside the outputs: projected hidden states [P], or relations as in MiniLMv2"
    )
    beta: _NotNegative = Field(0.1, description="weight of the features' distillation [P]")
    gamma: _NotNegative = Field(
        0.25,
        description="exponent of (n₁/n_j)^γ, which scales the gradients of small subnets [P], or the learning rate of "
        "their steps where subnets take turns, since Adam would undo it in the gradient; not stated in the paper",
    )
    maxnet: bool = Field(
        False, description="the full model trains in every step [P]; else it is one of those drawn at random"
    )
    minnet: bool = Field(True, description="the smallest subnet trains in every step (sandwich rule)")
    random_subnets: Annotated[int, Field(ge=0)] = Field(2, description="random subnets a step")
    alternate: bool = Field(
        True, description="a step trains one of the subnets above, in turn; else all of them, gradients summed [P]"
    )

    order: Literal["importance", "prefix"] = Field(
        "importance", description="what a narrow subnet keeps: what matters most, or what comes first"
    )
    head_shares: _Shares = Field((1.0, 0.5, 0.25), description="kept shares of the heads, from large to small")
    ffn_shares: _Shares = Field((1.0, 0.5, 0.25, 0.125), description="kept shares of the FFN neurons")
    hidden_shares: _Shares = Field((1.0,), description="kept shares of the hidden width")
    depth_shares: _Shares = Field((1.0, 2 / 3, 1 / 3), description="kept shares of the layers")

    @model_validator(mode="after")
    def _something_to_train(self) -> Recipe:
        if not self.minnet and not self.random_subnets:
            raise ValueError("no subnet would train: set minnet = true or random_subnets to 1 or more")
        if not self.maxnet and (self.teacher_source != "frozen" or (self.features != "none" and self.beta)):
            raise ValueError(
                'teacher_source = "maxnet" and features need the full model in every step: set maxnet = true'
            )
        if self.random_weights and self.fine_tuned:
            raise ValueError("random weights know no task: set fine_tuned = false, or random_weights = false")
        if self.alternate and self.maxnet:
            raise ValueError("alternate is for steps without the full model: set alternate = false, or maxnet = false")
        for name in ("head_shares", "ffn_shares", "hidden_shares", "depth_shares"):
            shares = getattr(self, name)
            if shares[0] != 1 or list(shares) != sorted(set(shares), reverse=True):
                raise ValueError(f"{name} is {list(shares)}; expected different shares from 1 downwards")
        return self

    @property
    def stages(self) -> tuple[StageRecipe, StageRecipe, StageRecipe]:
        """Return the stages in the order that they train."""
        return self.teacher, self.widths, self.depths

    def pair_rank(self, stage: int) -> int | None:
        """Return the rank of what a stage trains for each matrix; None where it is the matrix itself."""
        if self.random_weights and stage == 0:
            return None
        return self.rank if self.stages[stage].parameters == "low-rank" else None

    def heads(self, arch: Architecture) -> tuple[int, ...]:
        """Return the choices of heads, from all to few; of a decoder the nearest numbers of whole groups."""
        return tuple(groups * arch.group for groups in _choices(arch.heads // arch.group, self.head_shares))

    def ffn(self, arch: Architecture) -> tuple[int, ...]:
        """Return the choices of FFN width, from all to few."""
        return _choices(arch.ffn, self.ffn_shares)

    def hidden(self, arch: Architecture) -> tuple[int, ...]:
        """Return the choices of hidden width, from all to few."""
        return _choices(arch.hidden, self.hidden_shares)

    def depth(self, arch: Architecture) -> tuple[int, ...]:
        """Return the choices of depth, from all layers to few."""
        return _choices(arch.layers, self.depth_shares)

    def check(self, arch: Architecture) -> None:
        """Refuse what this model cannot do.

        Raises:
            RecipeError: a width that does not come out whole, a rank over the narrowest matrix, or what decoders, or
                encoders, do not learn by.
        """
        wholes = {"ffn_shares": arch.ffn, "hidden_shares": arch.hidden}
        if not arch.causal:
            if self.random_weights:
                raise RecipeError("random_weights is for decoders, and this model is an encoder; set it to false")
            wholes = {"head_shares": arch.heads} | wholes
        elif self.features != "none" and self.beta:
            raise RecipeError(
                f'features is "{self.features}": a decoder learns from outputs alone; set features = none'
            )
        for name, whole in wholes.items():
            for share in getattr(self, name):
                if abs(share * whole - round(share * whole)) > 1e-6 or round(share * whole) < 1:
                    raise RecipeError(f"{name}: {share:g} of {whole} is not a whole number; choose another share")
        whole = min(arch.hidden, arch.ffn)
        narrowest = min(*self.hidden(arch), arch.head_size * min(self.heads(arch)), *self.ffn(arch))
        for stage, width in enumerate((whole, narrowest, narrowest)):
            if self.rank > width and self.pair_rank(stage) is not None:
                raise RecipeError(f"rank is {self.rank}, over the narrowest matrix ({width}); choose a smaller rank")


def _choices(whole: int, shares: Sequence[float]) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(whole * share)) for share in shares}, reverse=True))


def defaults_for(task: TaskName) -> Recipe:
    """Return the task's recipe where nothing else is set."""
    return Recipe.model_validate(task_of(task).recipe_changes)


def read_recipe(
    file: Path | None,
    flags: Mapping[str, Any],
    changes: Sequence[str] = (),
    task: TaskName = "text-classification",
) -> Recipe:
    """Read the recipe of a TOML file, changed by ``key=value`` lines and then by flags that are set.

    Anything else has the task's default.

    A key of a stage is written with a dot: ``depths.epochs=2``. Values are TOML; 'none' unsets.

    Raises:
        RecipeError: the file cannot be read, or a key is unknown or renamed, or a value is out of its range.
    """
    values = _read(file) if file is not None else {}
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign:
            raise RecipeError(f"{change!r} sets nothing; expected key=value, for example rank=8")
        _put(values, key.strip().split("."), _value(text.strip()))
    place = str(file) if file is not None else "the recipe"
    for message in renamed_keys(values):
        raise RecipeError(f"{place}: {message}")
    values |= {key: value for key, value in flags.items() if value is not None}
    return _validate(values, defaults_for(task), place)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text_file(file))
    except (OSError, NotUtf8) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"{file} cannot be read: {reason}; expected a recipe in TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{file} is not TOML: {error}; see 'edgedistill recipe' for a whole one") from error


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{'.'.join(path)}: {name} has no keys of its own")
        values = inner
    values[path[-1]] = value


def _value(text: str) -> Any:
    """Parse a TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _validate(values: dict[str, Any], defaults: Recipe, place: str) -> Recipe:
    """Validate the values; a stage that is set in part keeps its other defaults."""
    for name in ("teacher", "widths", "depths"):
        if isinstance(values.get(name), dict):
            values = values | {name: getattr(defaults, name).model_dump() | values[name]}
    values = {key: None if value == "none" and key in _OPTIONAL else value for key, value in values.items()}
    try:
        return Recipe.model_validate({name: getattr(defaults, name) for name in Recipe.model_fields} | values)
    except ValidationError as error:
        raise RecipeError(f"{place}: {_first(error)}") from error


_OPTIONAL = {
    name for name, field in Recipe.model_fields.items() if type(None) in getattr(field.annotation, "__args__", ())
}


def _first(error: ValidationError) -> str:
    """Describe the first fault: which key, what was wrong, what is expected."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        stage = first["loc"][0] in ("teacher", "widths", "depths") and len(first["loc"]) > 1
        fields = StageRecipe.model_fields if stage else Recipe.model_fields
        return f"unknown key {key!r}; known are {', '.join(fields)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key} is {first['input']!r}: {message}" if key else message


def recipe_as_toml(recipe: Recipe) -> str:
    """Return the whole recipe as TOML, a comment for every key, that `read_recipe` reads back to the same."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("EdgeDistill's recipe. [P]: the paper's value."))
    _describe(document, recipe)
    return tomlkit.dumps(document)


def _describe(table: Any, model: BaseModel) -> None:
    """Add each field with its description as a comment; stages, which are tables, come last."""
    import tomlkit

    values = {name: getattr(model, name) for name in type(model).model_fields}
    for name in sorted(values, key=lambda name: isinstance(values[name], StageRecipe)):
        value = values[name]
        if isinstance(value, StageRecipe):
            table.add(tomlkit.nl())
            item: Any = tomlkit.table()
            _describe(item, value)
        else:
            item = tomlkit.item("none" if value is None else list(value) if isinstance(value, tuple) else value)
        table.add(name, item.comment(type(model).model_fields[name].description))
