"""The palette's contract: what an exporter writes and a runtime reads.

A palette is one folder: ``manifest.json``, one weights file a precision, one graph a subnet, the
tokenizer, and ``profiles/<device>.json`` beside them. The manifest names every file with its size and
SHA-256 and carries its own digest; profiles stay outside it, so that profiling breaks no digest.

Sizes are megabytes of 10⁶ bytes, times milliseconds. `load` is the one way in: it validates, and
checks that every file is there with its recorded size. `Palette.check_hashes` reads the bytes too.
Links are followed: only the content counts, by its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedistill.errors import PaletteError
from edgedistill.palette_files import file_stat, read_file, sha256_of
from edgedistill.printable import get_logger
from edgedistill.subnet import LayerShape, SubnetConfig
from edgedistill.tasks import TaskName, task_of

__all__ = [
    "MANIFEST_NAME",
    "PROFILE_VERSION",
    "SCHEMA_VERSION",
    "Calibration",
    "Conditions",
    "DeviceInfo",
    "DeviceProfile",
    "FileEntry",
    "Generation",
    "LatencyPoint",
    "Layer",
    "Manifest",
    "Mixing",
    "OutOfScope",
    "Palette",
    "Precision",
    "Probes",
    "Provenance",
    "Quality",
    "SubnetEntry",
    "SubnetProfile",
    "TensorSpec",
    "TokenizerEntry",
    "load",
    "open_palette",
    "read_manifest",
    "read_profile",
    "write_atomically",
    "write_profile",
]

SCHEMA_VERSION: Final = 7
PROFILE_VERSION: Final = 6
MANIFEST_NAME = "manifest.json"
PROFILES_FOLDER = "profiles"

_log = get_logger(__name__)

# A file is read whole, and takes some hundred bytes of memory for each of its values while it is validated.
_MAX_JSON_BYTES = 64 * 10**6
_MAX_PROFILE_BYTES = 16 * 10**6
_MAX_PROFILES_BYTES = 64 * 10**6  # together
_MAX_VALUES = 250_000
_MAX_PROBE_VALUES = 4_000_000


def plain_file_name(name: str) -> str:
    """Return ``name``, which a file of a palette may have.

    Raises:
        ValueError: it may not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name):
        raise ValueError("expected a plain file name: up to 200 letters, digits, '.', '_', '-', no folder")
    return name


FileName = Annotated[str, AfterValidator(plain_file_name)]
SubnetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "int8", "int4"]
MAX_INT64 = 2**63 - 1  # numpy and tokenizers take no larger numbers
Int64 = Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]
Count = Annotated[int, Field(ge=0, le=MAX_INT64)]
Positive = Annotated[int, Field(ge=1, le=MAX_INT64)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


_Item = TypeVar("_Item")
_Items = Annotated[list[_Item], Field(fail_fast=True)]  # a hostile list must not become a million errors


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Strict):
    """One file of the palette."""

    name: FileName
    size_bytes: Count
    sha256: Sha256


class TensorSpec(_Strict):
    """An input or output of every graph; a dimension is a number or a symbolic name."""

    name: str
    dtype: Literal["int64", "int32", "float32"]
    shape: _Items[int | str]


class TokenizerEntry(_Strict):
    """The tokenizer's file, and how texts are cut: ``max_tokens`` with the special ones.

    A palette for generation may have no ``pad_token``: its texts are never padded.
    """

    file: FileName
    max_tokens: Positive
    pad_token_id: Count
    pad_token: str | None


class Provenance(_Strict):
    """Where the supernet came from: the model, and labelled data, texts without labels, or both."""

    base_model: str
    base_revision: str | None
    base_sha256: Sha256
    data: str | None
    unlabelled: str | None
    data_sha256: Sha256
    seed: int
    stages: _Items[int]
    rank: Positive
    versions: dict[str, str]


class Layer(_Strict):
    """A kept layer: its index in the supernet, its heads and its FFN width; of a decoder, its heads in the cache."""

    index: Count
    heads: Positive
    ffn: Positive
    kv_heads: Positive | None = None


class Quality(_Strict):
    """A score on a data split, with the 95 % interval of its sampling error.

    The first of a split is the headline, of which more is better; of others (perplexity, errors) less may be.
    """

    metric: str
    split: str
    value: float
    low: float
    high: float
    examples: Positive


_Percentiles = Field(min_length=101, max_length=101)


def _ascending(values: list[float]) -> list[float]:
    if values != sorted(values):
        raise ValueError("do not ascend")
    return values


class Calibration(_Strict):
    """What a classifier's scores mean, where the score is the largest of softmax(logits / ``temperature``).

    ``error_before`` (at a temperature of 1) and ``error``: expected calibration errors on test; None without labels.
    ``flip_rate``: the share of test rows that it labels otherwise than the palette's first member. ``energies``: the
    energy scores (`runtime.calibrated_scores.energy`) that 0, 1, ... 100 % of the texts stay below by which members are
    matched (`OutOfScope`); None where there were none.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    error_before: Share | None
    error: Share | None
    flip_rate: Share
    energies: Annotated[_Items[Finite], _Percentiles, AfterValidator(_ascending)] | None


class SubnetEntry(_Strict):
    """A subnet in one precision. ``macs`` are of one sequence of 64 tokens.

    ``cache_bytes_a_token``: what each token of a text adds to its cache, where the task is generation.
    """

    name: SubnetName
    precision: Precision
    graph: FileName
    weights: FileName
    layers: Annotated[_Items[Layer], Field(min_length=1)]
    hidden: Positive
    layer_parameters: Count
    total_parameters: Count
    macs: Count
    size_mb: Finite
    quality: Annotated[_Items[Quality], Field(min_length=1)]
    calibration: Calibration | None = None
    cache_bytes_a_token: Positive | None = None

    @property
    def config(self) -> SubnetConfig:
        """The configuration as the rest of the code has it."""
        return SubnetConfig(tuple(LayerShape(la.index, la.heads, la.ffn) for la in self.layers), self.hidden)

    def metric(self, split: str) -> str:
        """What the first quality measured on ``split`` is; of another split where there is none."""
        return next((q.metric for q in self.quality if q.split == split), self.quality[0].metric)

    def score(self, split: str) -> float:
        """The value of the first quality measured on ``split``; NaN where there is none."""
        return next((q.value for q in self.quality if q.split == split), float("nan"))


class Mixing(_Strict):
    """Whether one member's vectors may ask an index of another's.

    ``recall`` by querying and by indexing member: the share of the reference's ``k`` nearest neighbours that
    are found, among ``texts`` texts of a split. ``bound``: how far it may lie below the querying member's
    recall in an index of its own.
    """

    k: Positive
    split: str
    texts: Positive
    reference: str
    bound: Finite
    recall: dict[str, dict[str, float]]

    def is_of(self, names: set[str]) -> bool:
        """Return whether it says of each two of these subnets, and of no others, how far they mix."""
        return self.recall.keys() == names and all(row.keys() == names for row in self.recall.values())

    def allowed(self, asked: str, index: str) -> bool:
        """Whether ``asked`` may query an index that ``index`` built."""
        return self.recall[asked][index] >= self.recall[asked][asked] - self.bound


class OutOfScope(_Strict):
    """By which texts a classifier's members tell what to reject.

    ``texts`` of them are out of scope, whose token ids have this ``sha256``; as many as ``halfway`` are made of halves
    of two texts in scope, and lie in between. ``ranks``: of all these, the share to which the first member gives less
    energy than to 0, 1, ... 100 % of those out of scope. Where its threshold is among all, the others' are.
    """

    texts: Positive
    sha256: Sha256
    halfway: Count
    ranks: Annotated[_Items[Share], _Percentiles, AfterValidator(_ascending)]


class Generation(_Strict):
    """What a runtime needs to know to generate text.

    ``context_tokens``: how many a prompt and its answer may have together. ``chat_template``: the tokenizer's, in
    Jinja. ``head_size``: of a head in the cache, whose tensors are [1, KV heads, capacity, head size].
    """

    context_tokens: Positive
    eos_token_ids: _Items[Count]
    bos_token_id: Count | None
    chat_template: str | None
    head_size: Positive


class Probes(_Strict):
    """One batch of real rows, and what each member answered to it where it was exported.

    ``inputs`` [batch, sequence] by name; ``answers``: the outputs by member, flattened. Of a palette for generation,
    ``inputs`` are a ``prompt`` and its ``continuation``, and the ids ``asked`` for, all [1, n]; ``answers`` are the
    logits of these ids behind the prompt, and behind each token of the continuation.
    """

    inputs: dict[str, _Items[_Items[Int64]]]
    answers: dict[str, _Items[Annotated[float, Field(allow_inf_nan=False)]]]


class Manifest(_Strict):
    """What a palette holds; written once, replaced as a whole, never edited.

    ``texts``: how many make a sequence, 2 where the task is about pairs. ``probes``: the file of `Probes`.
    """

    schema_version: Literal[7]
    task: TaskName
    texts: Literal[1, 2]
    labels: _Items[str]
    tokenizer: TokenizerEntry
    probes: FileName
    inputs: _Items[TensorSpec]
    outputs: _Items[TensorSpec]
    provenance: Provenance
    subnets: Annotated[_Items[SubnetEntry], Field(min_length=1)]
    files: _Items[FileEntry]
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
        found = [subnet.calibration for subnet in self.subnets]
        if any(one is None for one in found) and any(one is not None for one in found):
            raise ValueError("calibration is not of all the palette's subnets")
        if any((one is not None and one.energies is not None) != (self.out_of_scope is not None) for one in found):
            raise ValueError("energies and out_of_scope belong together, for all subnets or for none")
        listed = {entry.name for entry in self.files}
        used = {self.tokenizer.file, self.probes} | {s.graph for s in self.subnets} | {s.weights for s in self.subnets}
        if listed != used:
            raise ValueError(f"files differ from what the entries use: {', '.join(sorted(listed ^ used))}")
        return self

    @model_validator(mode="after")
    def _answering(self) -> Manifest:
        shape = self.outputs[0].shape if self.outputs else []
        if not shape or not isinstance(shape[-1], int) or shape[-1] < 1:
            raise ValueError("the first of outputs says not how many numbers a graph answers: no last dimension")
        if task_of(self.task).has_classes and shape[-1] != len(self.labels):
            raise ValueError(f"labels has {len(self.labels)} names, and the graphs give {shape[-1]} outputs")
        return self

    def subnet(self, name: str) -> SubnetEntry:
        """The entry of that name.

        Raises:
            PaletteError: no subnet has it.
        """
        for entry in self.subnets:
            if entry.name == name:
                return entry
        known = ", ".join(s.name for s in self.subnets)
        raise PaletteError(f"no subnet {name!r} in this palette; it has {known}")

    def sealed(self) -> Manifest:
        """A copy that carries its own digest."""
        return self.model_copy(update={"digest": self._digest()})

    def _digest(self) -> str:
        content = self.model_dump(mode="json", exclude={"digest"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class DeviceInfo(_Strict):
    """The machine that a profile speaks of. ``memory_mb`` is all of its memory.

    ``emulated``: programs are emulated there, so that no latency says anything of a device.
    """

    name: str
    board: str
    cpu: str
    cores: Positive
    memory_mb: Finite
    system: str
    onnxruntime: str
    provider: str
    emulated: bool = False


class Conditions(_Strict):
    """Under which a profile was measured.

    ``threads``: the first of the numbers that were asked for. ``other_load``: share of all cores that others used, 0
    to 1. ``kept_pace``: share of the timed runs about which the processor was as fast as at its best, 0 to 1; of these
    are the latencies, as far as there were enough. ``temperature_c`` and ``clock_mhz``: before and after.
    ``throttled``: whether the processor was slowed down meanwhile. None where the machine does not tell.
    """

    threads: Positive
    date: str
    quiet: bool
    other_load: Finite
    kept_pace: Finite | None = None
    temperature_c: tuple[float, float] | None = None
    clock_mhz: tuple[Finite, Finite] | None = None
    throttled: bool | None = None


class LatencyPoint(_Strict):
    """Latency of one ``run`` for a batch of sequences of ``tokens`` tokens on ``threads`` threads.

    ``low_ms`` and ``high_ms``: where the median lies, with 95 % confidence where it was measured, and 90 % where it was
    predicted, which is where there are no ``samples``.
    """

    threads: Positive
    batch: Positive
    tokens: Positive
    p50_ms: Finite
    low_ms: Finite
    high_ms: Finite
    p95_ms: Finite
    p99_ms: Finite
    samples: Count


class SubnetProfile(_Strict):
    """One subnet on the device. ``peak_mb`` and ``steady_mb``: resident memory above that before loading.

    ``with_smallest_mb``: the peak of both, where the profile's smallest subnet is in the same process. Weights that
    two subnets share are in memory once, so that it is less than the sum of two. ``load_ms``: with the files in the
    page cache; ``cold_load_ms``: without. ``predicted``: memory and load times are not measured but lie on a line
    through those that are.
    """

    subnet: str
    precision: Precision
    latency: Annotated[_Items[LatencyPoint], Field(min_length=1)]
    load_ms: Finite
    cold_load_ms: Finite
    peak_mb: Finite
    steady_mb: Finite
    with_smallest_mb: Finite
    predicted: bool = False

    def latency_at(self, tokens: int) -> LatencyPoint:
        """Of the smallest batch and the first number of threads, the point of the nearest length; the longer of two."""
        batch, threads = min(point.batch for point in self.latency), self.latency[0].threads
        own = [point for point in self.latency if point.batch == batch and point.threads == threads]
        return min(own, key=lambda point: (abs(point.tokens - tokens), -point.tokens))


class DeviceProfile(_Strict):
    """Latency and memory of a palette's subnets on one device: measured there, or estimated for it.

    ``kind``: "quick" is measured for a few subnets and lengths, and predicted from those for the others.

    ``manifest_digest`` says which palette it is of; a profile of another palette is not used. ``smallest``: the
    fastest subnet, which `SubnetProfile.with_smallest_mb` speaks of.
    """

    schema_version: Literal[6]
    kind: Literal["measured", "quick", "estimated"]
    method: str
    manifest_digest: str
    device: DeviceInfo
    conditions: Conditions
    smallest: str
    subnets: _Items[SubnetProfile]

    def subnet(self, name: str) -> SubnetProfile | None:
        """That subnet's figures; None where the profile has none."""
        return next((s for s in self.subnets if s.subnet == name), None)


class Palette:
    """A palette that was read and found whole: its folder, its manifest and its profiles by device.

    Attributes:
        folder: where it was opened; what is written goes there.
        files: where its files are read: ``folder``, or a private copy (`runtime.snapshot`).
        hold: what keeps the private copy there.
        pinned: whether only this digest may be served from the folder.
        unusable_profiles: what is wrong with each profile that was left out, by the device's name.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        profiles: dict[str, DeviceProfile],
        profiles_folder: Path | None = None,
        *,
        files: Path | None = None,
        hold: object = None,
        pinned: bool = False,
        unusable_profiles: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.profiles = profiles
        self.profiles_folder = profiles_folder or folder / PROFILES_FOLDER
        self.files, self.hold = files or folder, hold
        self.pinned = pinned
        self.unusable_profiles = unusable_profiles or {}

    def graph_path(self, subnet: str) -> Path:
        """Return where that subnet's graph is read."""
        return self.files / self.manifest.subnet(subnet).graph

    def read(self, name: str) -> bytes:
        """Return the content of one JSON file that the manifest lists, as it was when its hash was taken.

        Raises:
            PaletteError: it cannot be read, was altered, or is too large.
        """
        content = read_file(self.files / name, _MAX_JSON_BYTES)
        if hashlib.sha256(content).hexdigest() != self._entry(name).sha256:
            raise _altered(self.files / name)
        return content

    def probes(self) -> Probes:
        """Return what `verify` asks, and what it should hear.

        Raises:
            PaletteError: the file is damaged.
        """
        name = self.manifest.probes
        return _parsed(self.files / name, self.read(name), Probes, most_values=_MAX_PROBE_VALUES)

    def check_hashes(self) -> None:
        """Read every file and compare it with its recorded SHA-256.

        A file is read once in a process, then again only when its size, times or inode changed.

        Raises:
            PaletteError: a file was altered.
        """
        self._check({entry.name for entry in self.manifest.files})

    def check_member(self, subnet: str) -> None:
        """As `check_hashes`, of one subnet's graph and weights.

        Raises:
            PaletteError: there is no such subnet, or a file of its was altered.
        """
        entry = self.manifest.subnet(subnet)
        self._check({entry.graph, entry.weights})

    def _check(self, names: Collection[str]) -> None:
        for name in sorted(names):
            if sha256_of(self.files / name) != self._entry(name).sha256:
                raise _altered(self.files / name)

    def _entry(self, name: str) -> FileEntry:
        return next(entry for entry in self.manifest.files if entry.name == name)


def _altered(path: Path) -> PaletteError:
    return PaletteError(f"{path} was altered: its SHA-256 is not the manifest's; export the palette again")


_Model = TypeVar("_Model", bound=BaseModel)


def _parsed(
    path: Path,
    content: bytes,
    model: type[_Model],
    again: str = "export the palette again",
    most_values: int = _MAX_VALUES,
) -> _Model:
    """Validate one JSON file; the first thing wrong, and how to make it ``again``, make the message."""
    values = sum(map(content.count, (b",", b"[", b"{"))) + 1
    if values > most_values:
        raise PaletteError(f"{path} has about {values:,} values, expected at most {most_values:,}; {again}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PaletteError(f"{path} is not UTF-8 text: it is damaged; {again}") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise PaletteError(f"{path}: {place}: {first['msg']}; {again}") from error


def load(folder: str | Path, *, profiles: str | Path | None = None, digest: str | None = None) -> Palette:
    """Read a palette: its manifest, and the profiles next to it (or in the folder ``profiles``).

    Relative paths are resolved once, so that a later ``os.chdir`` changes nothing. A link to a folder stays a link: it
    may be pointed at another palette. ``digest`` pins the palette: no other is opened, or served from this folder.

    Raises:
        PaletteError: no manifest, one that is damaged, of another version or of another digest, or a file that is
            missing, truncated or not a regular file.
    """
    folder = _absolute(folder)
    manifest = read_manifest(folder)
    if digest is not None:
        _check_digest(folder, manifest, digest)
    for entry in manifest.files:
        _check_size(folder / entry.name, entry.size_bytes)
    for name in (manifest.tokenizer.file, manifest.probes):
        _check_json_size(folder / name)
    profiles_folder = _absolute(profiles or folder / PROFILES_FOLDER)
    usable, unusable = _load_profiles(profiles_folder, manifest)
    return Palette(folder, manifest, usable, profiles_folder, pinned=digest is not None, unusable_profiles=unusable)


def read_manifest(folder: Path) -> Manifest:
    """Read a palette's manifest, and look at no other file.

    Raises:
        PaletteError: there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        raise PaletteError(f"{folder} is not a palette: it has no {MANIFEST_NAME}; write one with 'edgedistill export'")
    manifest = _parsed(path, read_file(path, _MAX_JSON_BYTES), Manifest)
    if manifest.sealed().digest != manifest.digest:
        raise PaletteError(f"{path} was altered: its digest does not match; export the palette again")
    return manifest


def open_palette(palette: str | Path | Palette, digest: str | None = None) -> Palette:
    """Return a palette that is read already, or read it; with ``digest``, only one of that digest.

    Raises:
        PaletteError: as `load`.
    """
    if not isinstance(palette, Palette):
        return load(palette, digest=digest)
    if digest is not None:
        _check_digest(palette.folder, palette.manifest, digest)
        palette.pinned = True
    return palette


def _check_digest(folder: Path, manifest: Manifest, digest: str) -> None:
    """Compare a palette with the digest that is pinned.

    Raises:
        PaletteError: it has another one.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise PaletteError(
            f"digest is {digest!r}; expected the 64 hexadecimal digits that 'edgedistill inspect --json' prints"
        )
    if manifest.digest != digest:
        raise PaletteError(
            f"{folder} has the digest {manifest.digest}, but {digest} is pinned; give that palette, or its own digest"
        )


def _absolute(folder: str | Path) -> Path:
    try:
        return Path(folder).absolute()
    except OSError as error:  # the working directory is gone
        raise PaletteError(f"{folder} cannot be resolved: {error.strerror}; give an absolute path") from error


def _check_size(path: Path, expected: int) -> None:
    actual = file_stat(path).st_size
    if actual != expected:
        raise PaletteError(f"{path} has {actual} bytes, expected {expected}; export the palette again")


def _check_json_size(path: Path) -> None:
    if file_stat(path).st_size > _MAX_JSON_BYTES:
        raise PaletteError(f"{path} has more than {_MAX_JSON_BYTES / 1e6:.0f} MB; export the palette again")


def _load_profiles(folder: Path, manifest: Manifest) -> tuple[dict[str, DeviceProfile], dict[str, str]]:
    """Return the palette's own profiles by device, and what is wrong with those that are left out."""
    usable, unusable, left = dict[str, DeviceProfile](), dict[str, str](), _MAX_PROFILES_BYTES
    for path in _profile_paths(folder):
        try:
            profile = read_profile(path, left)
            left -= file_stat(path).st_size
        except PaletteError as error:
            unusable[path.stem] = str(error)
            _warn_of_profile(path, str(error))
        else:
            if profile.manifest_digest == manifest.digest:
                usable[path.stem] = profile
    return dict(sorted(usable.items())), unusable


def _profile_paths(folder: Path) -> list[Path]:
    """Return its JSON files, the smallest first, without those that are hidden, as macOS' ``._name.json`` is."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        _warn_of_profile(folder, f"it cannot be listed: {error.strerror}")
        return []
    return sorted(paths, key=lambda path: (_size(path), path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # whoever reads it says what is wrong


def _warn_of_profile(path: Path, error: str) -> None:
    """Say once in a process that it is left out, and again when something else is wrong with it."""
    if _warned.get(path) != error:
        _warned[path] = error
        _log.warning("%r is left out: %s", str(path), error)


_warned: dict[Path, str] = {}


def read_profile(path: Path, limit: int = _MAX_PROFILE_BYTES) -> DeviceProfile:
    """Read one profile, of whatever palette, from a file of at most ``limit`` bytes.

    Raises:
        PaletteError: it cannot be read, is damaged, or of another version.
    """
    return parse_profile(read_file(path, min(limit, _MAX_PROFILE_BYTES)), path)


def parse_profile(content: bytes, source: Path) -> DeviceProfile:
    """Validate the content of a profile; ``source`` names it in errors.

    Raises:
        PaletteError: it is damaged, or of another version.
    """
    return _parsed(source, content, DeviceProfile, "remove it, and run 'edgedistill profile' on that device again")


def write_profile(
    palette: Palette, profile: DeviceProfile, *, folder: str | Path | None = None, name: str | None = None
) -> Path:
    """Put ``profile`` next to the palette (or in ``folder``), replacing this device's last one at once.

    ``name``: the file's, without its ending, where the device's own is taken.
    """
    stem = plain_file_name(name or profile.device.name)
    target = Path(folder or palette.folder / PROFILES_FOLDER) / f"{stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, profile.model_dump(mode="json"))
    return target


def write_atomically(path: Path, document: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
