"""The manifest's schema: what a palette holds, as ``manifest.json`` has it.

Sizes are megabytes of 10⁶ bytes, times milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from edgedistill.errors import PaletteError
from edgedistill.palette.entries import SubnetEntry
from edgedistill.palette.input_kinds import AnyInput, TextInput
from edgedistill.palette.values import (
    Count,
    FileName,
    Finite,
    Int64,
    Items,
    Positive,
    Sha256,
    SharePercentiles,
    StrictModel,
)
from edgedistill.tasks import TaskName, task_of

__all__ = [
    "SCHEMA_VERSION",
    "FileEntry",
    "Generation",
    "Manifest",
    "Mixing",
    "OutOfScope",
    "Probes",
    "Provenance",
    "TensorSpec",
    "digest_of",
]

SCHEMA_VERSION: Final = 8


class FileEntry(StrictModel):
    """One file of the palette."""

    name: FileName
    size_bytes: Count
    sha256: Sha256


class TensorSpec(StrictModel):
    """An input or output of every graph; a dimension is a number or a symbolic name."""

    name: str
    dtype: Literal["int64", "int32", "float32"]
    shape: Items[int | str]


class Provenance(StrictModel):
    """Name the supernet's sources: the model, and labelled data, texts without labels, or both."""

    base_model: str
    base_revision: str | None
    base_sha256: Sha256
    data: str | None
    unlabelled: str | None
    data_sha256: Sha256
    seed: int
    stages: Items[int]
    rank: Positive
    versions: dict[str, str]


class Mixing(StrictModel):
    """Record how well one member's vectors query an index of another's.

    ``recall`` by querying and by indexing member: the share of the reference's ``k`` nearest neighbours that
    are found, among ``texts`` texts of a split. ``bound``: how far it may be below the querying member's
    recall in an index of its own.
    """

    k: Positive
    split: str
    texts: Positive
    reference: str
    bound: Finite
    recall: dict[str, dict[str, float]]

    def is_of(self, names: set[str]) -> bool:
        """Return whether it covers each pair of these subnets, and no others."""
        return self.recall.keys() == names and all(row.keys() == names for row in self.recall.values())

    def allowed(self, querying: str, index: str) -> bool:
        """Return whether the subnet ``querying`` may query an index that the subnet ``index`` built."""
        return self.recall[querying][index] >= self.recall[querying][querying] - self.bound


class OutOfScope(StrictModel):
    """Describe the texts by which a classifier's members learn what to reject.

    ``texts`` of them are out of scope, whose token ids have this ``sha256``; as many as ``halfway`` are made of halves
    of two texts in scope, and lie in between. ``ranks``: of all these, the share to which the first member gives less
    energy than to 0, 1, ... 100 % of those out of scope. Where its threshold is among all, the others' are.
    """

    texts: Positive
    sha256: Sha256
    halfway: Count
    ranks: SharePercentiles


class Generation(StrictModel):
    """Hold the settings of text generation.

    ``context_tokens``: how many a prompt and its answer may have together. ``chat_template``: the tokenizer's, in
    Jinja. ``head_size``: of a head in the cache, whose tensors are [1, KV heads, capacity, head size].
    """

    context_tokens: Positive
    eos_token_ids: Items[Count]
    bos_token_id: Count | None
    chat_template: str | None
    head_size: Positive


class Probes(StrictModel):
    """One batch of real rows, and what each member answered to it where it was exported.

    ``inputs`` [batch, sequence] by name; ``answers``: the outputs by member, flattened. Of a palette for generation,
    ``inputs`` are a ``prompt`` and its ``continuation``, and the ids ``asked`` for, all [1, n]; ``answers`` are the
    logits of these ids behind the prompt, and behind each token of the continuation.
    """

    inputs: dict[str, Items[Items[Int64]]]
    answers: dict[str, Items[Annotated[float, Field(allow_inf_nan=False)]]]


class Manifest(StrictModel):
    """Describe a palette; written once, replaced as a whole, never edited.

    ``probes``: the file of `Probes`. ``graph_inputs`` and ``graph_outputs``: the tensors of every member's graph.
    """

    schema_version: Literal[8]
    task: TaskName
    input: AnyInput
    labels: Items[str]
    probes: FileName
    graph_inputs: Items[TensorSpec]
    graph_outputs: Items[TensorSpec]
    provenance: Provenance
    subnets: Annotated[Items[SubnetEntry], Field(min_length=1)]
    files: Items[FileEntry]
    mixing: Mixing | None = None
    out_of_scope: OutOfScope | None = None
    generation: Generation | None = None
    digest: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [subnet.name for subnet in self.subnets]
        if len(set(names)) != len(names):
            raise ValueError("two subnets have the same name")
        if task_of(self.task).has_classes and len(self.labels) < 2:
            raise ValueError(f"labels has {len(self.labels)} names; {self.task} needs two or more")
        if task_of(self.task).generates != (self.generation is not None):
            raise ValueError("generation belongs to text-generation, and text-generation needs it")
        if any((entry.cache_bytes_a_token is None) != (self.generation is None) for entry in self.subnets):
            raise ValueError("cache_bytes_a_token belongs to all subnets of text-generation, and to no others")
        if self.mixing is not None and not self.mixing.is_of(set(names)):
            raise ValueError("mixing is not of the palette's subnets")
        calibrated = [subnet.calibration is not None for subnet in self.subnets]
        if any(calibrated) and not all(calibrated):
            raise ValueError("calibration is not of all the palette's subnets")
        rejecting = [
            subnet.calibration is not None and subnet.calibration.energies is not None for subnet in self.subnets
        ]
        if any(rejects != (self.out_of_scope is not None) for rejects in rejecting):
            raise ValueError("energies and out_of_scope belong together, for all subnets or for none")
        listed = {entry.name for entry in self.files}
        used = {self.probes, *self.input.files, *(s.graph for s in self.subnets), *(s.weights for s in self.subnets)}
        if listed != used:
            raise ValueError(f"files differ from what the entries use: {', '.join(sorted(listed ^ used))}")
        return self

    @model_validator(mode="after")
    def _deciding(self) -> Manifest:
        expected = len(self.labels) if task_of(self.task).has_thresholds else None
        for entry in self.subnets:
            thresholds = None if entry.calibration is None else entry.calibration.thresholds
            if entry.calibration is not None and (None if thresholds is None else len(thresholds)) != expected:
                raise ValueError(f"thresholds of {entry.name} are not one for each label of {self.task}")
        return self

    @model_validator(mode="after")
    def _answering(self) -> Manifest:
        shape = self.graph_outputs[0].shape if self.graph_outputs else []
        if not shape or not isinstance(shape[-1], int) or shape[-1] < 1:
            raise ValueError("the first of graph_outputs has no last dimension: how many numbers a graph gives")
        if task_of(self.task).has_classes and shape[-1] != len(self.labels):
            raise ValueError(f"labels has {len(self.labels)} names, and the graphs give {shape[-1]} outputs")
        return self

    @property
    def max_tokens(self) -> int:
        """Return the most tokens that a text may have, with what is generated from it."""
        return self.text_input.tokenizer.max_tokens if self.generation is None else self.generation.context_tokens

    @property
    def text_input(self) -> TextInput:
        """Return how texts are read.

        Raises:
            PaletteError: the palette takes no texts.
        """
        if not isinstance(self.input, TextInput):
            raise PaletteError(f"the palette takes inputs of kind {self.input.kind!r}; expected one that takes texts")
        return self.input

    def subnet(self, name: str) -> SubnetEntry:
        """Return the entry of that name.

        Raises:
            PaletteError: no subnet has it.
        """
        for entry in self.subnets:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in self.subnets)
        raise PaletteError(f"no subnet {name!r} in this palette; it has {names}")

    def sealed(self) -> Manifest:
        """Return a copy that carries its own digest."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})


def digest_of(document: dict[str, Any]) -> str:
    """Return the digest of a manifest of any version, as its JSON has it."""
    content = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
