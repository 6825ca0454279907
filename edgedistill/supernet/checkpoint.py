"""Save and load a supernet: one folder, safetensors and JSON, never half written.

supernet.json         what it is and where it came from
base.safetensors      W0 in importance order, embeddings, biases, norms, head
lowrank.safetensors   A and B of each stage that is done
teacher.safetensors   what the stage-0 model answers on the data's splits, or that model, where that is needed
tokenizer.json        the tokenizer
resume/               where an unfinished stage stands
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from edgedistill.architecture import Architecture, SearchSpace
from edgedistill.errors import CheckpointError, ModelError
from edgedistill.library_errors import disk_errors, first_line, is_library_error
from edgedistill.places import install, scratch_folder, was_moved
from edgedistill.supernet.label_scale import LabelScale
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks import TaskName, task_of

__all__ = [
    "DataSource",
    "GenerationInfo",
    "StageScore",
    "Supernet",
    "SupernetInfo",
    "load",
    "save",
]

_INFO = "supernet.json"
_BASE = "base.safetensors"
_LOW_RANK = "lowrank.safetensors"
_TEACHER = "teacher.safetensors"
_TOKENIZER = "tokenizer.json"


class StageScore(BaseModel):
    """Record the maxnet's score after a stage, the mean score watched after each epoch, and what the stage cost.

    ``metrics`` are all of test, the headline among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: int
    metric: str
    validation: float
    test: float
    curve: list[float]
    steps: int
    flops: int
    wall_s: float
    metrics: dict[str, float] = {}


class DataSource(BaseModel):
    """Record where the data came from, to read them again: labelled data, unlabelled texts, or both; and their hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None
    unlabelled: str | None
    text_columns: tuple[str, ...]
    label_column: str | None
    sha256: str


class GenerationInfo(BaseModel):
    """Record what generating with a decoder needs to know next to its weights.

    Attributes:
        context_tokens: how many tokens a prompt and its answer may have together.
        eos_token_ids: each ends an answer.
        bos_token_id: begins a text; None where there is none.
        chat_template: Jinja, as the model's tokenizer has it; None where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    context_tokens: int
    eos_token_ids: list[int]
    bos_token_id: int | None
    chat_template: str | None


def _with_defaults(document: Any) -> Any:
    """Complete the architecture of an older supernet, which did not say what all decoders had in common."""
    if isinstance(document, dict) and "outputs" not in document:
        return {"causal": True, "norm_place": "before"} | document
    return document


class SupernetInfo(BaseModel):
    """Record everything about a supernet except its tensors.

    A decoder may have no padding token; its ``pad_token_id`` is then any id, behind a mask.
    ``tokenizer_settings`` is the base model's tokenizer_config.json: its class, its special tokens, its inputs.
    ``generation_settings`` is a decoder's generation_config.json.
    ``label_scale`` is what a regression's labels, answers and head are standardised by; None for other tasks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    architecture: Annotated[Architecture, BeforeValidator(_with_defaults)]
    eps: float
    base_model: str
    base_revision: str | None
    base_sha256: str
    task: TaskName
    labels: list[str]
    max_tokens: int
    pad_token: str | None
    pad_token_id: int
    data: DataSource
    ordered: bool = False
    recipe: dict[str, Any]
    rank: int
    scale: float
    seed: int
    scores: list[StageScore]
    versions: dict[str, str]
    generation: GenerationInfo | None = None
    tokenizer_settings: dict[str, Any] = {}
    generation_settings: dict[str, Any] = {}
    label_scale: LabelScale | None = None

    @property
    def stages(self) -> list[int]:
        """Return the stages that are done."""
        return [score.stage for score in self.scores]

    @property
    def pairs(self) -> bool:
        """Return whether a sequence is two texts; those of a sentence encoder are always single."""
        return len(self.data.text_columns) == 2 and not task_of(self.task).embeds

    @property
    def generating(self) -> GenerationInfo:
        """Return what generating needs to know.

        Raises:
            ModelError: the model is not a language model.
        """
        if self.generation is None:
            raise ModelError(f"{self.base_model} is an encoder, for {self.task}; this needs a decoder")
        return self.generation

    def after(self, score: StageScore) -> SupernetInfo:
        """Return a copy with one more stage done."""
        return self.model_copy(update={"scores": [*self.scores, score]})


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    info: SupernetInfo
    space: SearchSpace


@dataclass(frozen=True)
class Supernet:
    """Hold a supernet: weights, the space of its subnets, what it is, its tokenizer.

    ``teacher``: for an encoder, the stage-0 model's outputs [units, c] by split, if labels are missing or it teaches
    frozen. A decoder's outputs are too many to keep: if it teaches frozen, that model's own tensors.
    """

    model: ElasticTransformer
    space: SearchSpace
    info: SupernetInfo
    tokenizer: Tokenizer
    teacher: Mapping[str, Tensor] = field(default_factory=dict)


def save(supernet: Supernet, folder: Path) -> None:
    """Write the folder next to its place, then put it there, in the place of an earlier one.

    Raises:
        InputError: another command is writing there.
    """
    with scratch_folder(folder) as scratch, disk_errors(folder):
        state = supernet.model.state_dict()
        pairs = {name: tensor for name, tensor in state.items() if ".pairs." in name}
        save_file({name: tensor.contiguous() for name, tensor in state.items() if name not in pairs}, scratch / _BASE)
        save_file({name: tensor.contiguous() for name, tensor in pairs.items()}, scratch / _LOW_RANK)
        if supernet.teacher:
            save_file({name: tensor.contiguous() for name, tensor in supernet.teacher.items()}, scratch / _TEACHER)
        supernet.tokenizer.save(str(scratch / _TOKENIZER))
        document = _Document(info=supernet.info, space=supernet.space)
        (scratch / _INFO).write_text(TypeAdapter(_Document).dump_json(document, indent=1).decode(), "utf-8")
        install(scratch, folder)


def load(folder: Path) -> Supernet:
    """Read a supernet.

    Raises:
        CheckpointError: a file is missing, damaged or of another version.
    """
    if not (folder / _INFO).is_file():
        if not folder.exists() and was_moved(folder):
            raise CheckpointError(
                f"{folder} was being replaced by a run that was killed; run that 'edgedistill train' again"
            )
        raise CheckpointError(f"{folder} is not a supernet: it has no {_INFO}; write one with 'edgedistill train'")
    try:
        document = _Document.model_validate_json((folder / _INFO).read_text(encoding="utf-8"))
        tensors = load_file(folder / _BASE) | load_file(folder / _LOW_RANK)
        tokenizer = Tokenizer.from_str((folder / _TOKENIZER).read_text(encoding="utf-8"))
        teacher = load_file(folder / _TEACHER) if (folder / _TEACHER).exists() else {}
        model = _rebuild(document.info, tensors)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{folder / _INFO}: {place}: {first['msg']}; train again") from error
    except BaseException as error:  # torch, safetensors and tokenizers raise many kinds
        if not is_library_error(error):
            raise
        raise CheckpointError(f"{folder} is damaged: {first_line(error)}; train again") from error
    return Supernet(model, document.space, document.info, tokenizer, teacher)


def _rebuild(info: SupernetInfo, tensors: dict[str, Tensor]) -> ElasticTransformer:
    arch, dropout = info.architecture, float(info.recipe.get("dropout", 0.0))
    model = ElasticTransformer(arch, scale=info.scale, eps=info.eps, dropout=dropout)
    for rank in _ranks(tensors):
        model.begin_stage(rank, torch.Generator())
    model.load_state_dict(tensors)
    model.freeze()
    return model.eval()


def _ranks(tensors: dict[str, Tensor]) -> Iterator[int]:
    """Yield the rank of each pair that the matrices have."""
    for index in count():
        stored = tensors.get(f"layers.0.query.pairs.{index}.A")
        if stored is None:
            return
        yield stored.shape[0]
