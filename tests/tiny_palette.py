"""Palettes in milliseconds: three little real ONNX graphs over one weights file, with a word-level tokenizer.

There is a kind for each task. What the graphs of `TAGGED` find is known: the tag of a word by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgedistill.files import write_json
from edgedistill.palette import (
    MANIFEST_NAME,
    PROFILE_VERSION,
    SCHEMA_VERSION,
    Calibration,
    Conditions,
    DeviceInfo,
    DeviceProfile,
    FileEntry,
    LatencyPoint,
    Layer,
    Manifest,
    Mixing,
    OutOfScope,
    Probes,
    Provenance,
    Quality,
    SubnetEntry,
    SubnetProfile,
    TensorSpec,
    TextInput,
    TokenizerEntry,
    Unquantized,
    load,
)
from edgedistill.runtime.onnx import create_session
from edgedistill.tasks import TaskName

WIDTHS = {"large": 16, "middle": 8, "small": 4}  # from best to worst
LABELS = ["lamp", "music", "timer"]
TEMPERATURES = {"large": 1.0, "middle": 2.0, "small": 0.5}  # of a palette that `calibrate` made so
THRESHOLDS = {"large": [0.5, 0.1, 0.9], "middle": [0.4, 0.5, 0.6], "small": [0.45, 0.55, 0.5]}
_EXPONENTS = {"large": 1.0, "middle": 2.0, "small": 0.5}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "turn", "on", "the", "lamp", "play", "some", "music", "set", "a", "timer"]
MAX_TOKENS = 16
TAGS = ["O", "B-thing", "I-thing", "I-place"]
TAG_OF = {"lamp": "B-thing", "music": "I-thing", "timer": "I-place"}  # of other words O
# By querying and by indexing member: the small one may not query an index of another, and nothing else its index.
RECALL = {
    "large": {"large": 1.0, "middle": 0.98, "small": 0.6},
    "middle": {"large": 0.95, "middle": 0.96, "small": 0.6},
    "small": {"large": 0.5, "middle": 0.5, "small": 0.9},
}
_FULL = WIDTHS["large"]


@dataclass(frozen=True)
class Kind:
    """A task, and how many numbers come out for each unit."""

    task: TaskName
    labels: tuple[str, ...]
    outputs: int
    texts: int = 1

    @property
    def inputs(self) -> list[str]:
        return ["input_ids", "attention_mask", *(["token_type_ids"] if self.texts == 2 else [])]

    @property
    def by_tokens(self) -> bool:
        return self.task == "token-classification"


LABELLED = Kind("text-classification", tuple(LABELS), len(LABELS))
PAIRS = Kind("text-classification", tuple(LABELS), len(LABELS), texts=2)
NUMBERS = Kind("text-regression", (), 1)
LABEL_SETS = Kind("multi-label-classification", tuple(LABELS), len(LABELS))
TAGGED = Kind("token-classification", tuple(TAGS), len(TAGS))
VECTORS = Kind("sentence-embedding", (), 3)


def write(folder: Path, kind: Kind = LABELLED) -> Path:
    """Write a palette into ``folder``, which must not exist yet; its path."""
    folder.mkdir(parents=True)
    offsets = _write_weights(folder / "weights.bin", kind)
    for name, width in WIDTHS.items():
        onnx.save(_graph(width, offsets, kind), folder / f"{name}.onnx")
    _write_probes(folder, kind)
    tokenizer().save(str(folder / "tokenizer.json"))
    write_json(folder / MANIFEST_NAME, _manifest(folder, kind).model_dump(mode="json"))
    return folder


def reseal(folder: Path, **changes: object) -> Path:
    """Write the manifest again with changes, and with the file sizes and hashes as they are now; the folder."""
    written = Manifest.model_validate_json((folder / MANIFEST_NAME).read_text())
    manifest = written.model_copy(update=changes)
    files = [_file(folder / entry.name) for entry in manifest.files]
    manifest = manifest.model_copy(update={"files": files}).sealed()
    write_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return folder


def set_thresholds(folder: Path) -> Path:
    """Give the members of a written palette of `LABEL_SETS` temperatures and thresholds; its path."""
    entries = [
        entry.model_copy(
            update={
                "calibration": Calibration(
                    temperature=TEMPERATURES[entry.name],
                    error_before=0.02,
                    error=0.01,
                    flip_rate=0.03,
                    energies=None,
                    thresholds=THRESHOLDS[entry.name],
                )
            }
        )
        for entry in load(folder).manifest.subnets
    ]
    return reseal(folder, subnets=entries)


def energy_at(name: str, share: np.ndarray) -> np.ndarray:
    """The energies that these shares of out-of-scope texts stay below, in a calibrated palette."""
    return np.asarray(30 * share ** _EXPONENTS[name])


def calibrate(folder: Path) -> Path:
    """Give a written palette temperatures and spreads of scores; its path."""
    levels = np.linspace(0, 1, 101)
    entries = [
        entry.model_copy(
            update={
                "calibration": Calibration(
                    temperature=TEMPERATURES[entry.name],
                    error_before=0.02,
                    error=0.01,
                    flip_rate=0.03,
                    energies=energy_at(entry.name, levels).tolist(),
                )
            }
        )
        for entry in load(folder).manifest.subnets
    ]
    known = OutOfScope(texts=1000, sha256="0" * 64, halfway=0, ranks=np.linspace(0, 1, 101).tolist())
    manifest = load(folder).manifest.model_copy(update={"subnets": entries, "out_of_scope": known}).sealed()
    write_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return folder


def profile(
    manifest: Manifest,
    *,
    name: str = "here",
    kind: str = "measured",
    cpu: str = "some",
    p50_ms: float = 4.0,
    emulated: bool = False,
) -> DeviceProfile:
    """A profile at 64 and 128 tokens: the middle takes half of the large one's time, the small one a quarter."""
    return DeviceProfile.model_validate(
        {
            "schema_version": PROFILE_VERSION,
            "kind": kind,
            "method": "written by a test",
            "manifest_digest": manifest.digest,
            "device": DeviceInfo(
                name=name,
                board="b",
                cpu=cpu,
                cores=2,
                memory_mb=8e3,
                system="s",
                onnxruntime="1",
                provider="CPU",
                emulated=emulated,
            ),
            "conditions": Conditions(threads=1, date="2026-01-01", quiet=True, other_load=0.0),
            "smallest": list(WIDTHS)[-1],
            "subnets": [
                _subnet_profile(subnet, p50_ms / 2**place, 100.0 / 2**place) for place, subnet in enumerate(WIDTHS)
            ],
        }
    )


def _subnet_profile(name: str, p50_ms: float, peak_mb: float) -> SubnetProfile:
    points = [
        LatencyPoint(
            threads=1,
            batch=1,
            tokens=tokens,
            p50_ms=p50_ms * scale,
            low_ms=p50_ms * scale * 0.95,
            high_ms=p50_ms * scale * 1.05,
            p95_ms=p50_ms * scale * 1.25,
            p99_ms=9.0,
            samples=100,
        )
        for tokens, scale in ((64, 1.0), (128, 2.0))
    ]
    return SubnetProfile(
        subnet=name,
        latency=points,
        load_ms=1.0,
        cold_load_ms=3.0,
        peak_mb=peak_mb,
        steady_mb=peak_mb / 2,
        with_smallest_mb=peak_mb if name == "small" else peak_mb + 25.0,
    )


def _write_weights(path: Path, kind: Kind) -> dict[str, tuple[int, tuple[int, ...]]]:
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape)
        for name, shape in {"embeddings": (len(WORDS), _FULL), "classifier": (_FULL, kind.outputs)}.items()
    }
    if kind.by_tokens:
        _make_tags_known(weights)
    offsets = {}
    with path.open("wb") as file:
        for name, values in weights.items():
            offsets[name] = (file.tell(), values.shape)
            data = values.astype(np.float32).tobytes()
            file.write(data + bytes(-len(data) % 4096))
    return offsets


def _make_tags_known(weights: dict[str, np.ndarray]) -> None:
    """Each word's row points to its tag in the dimensions that every member has; the others blur that a little."""
    rows = [TAGS.index(TAG_OF.get(word, "O")) for word in WORDS]
    weights["embeddings"] = 0.1 * weights["embeddings"] + 2 * np.eye(_FULL)[rows]
    weights["classifier"] = 0.1 * weights["classifier"] + 2 * np.eye(_FULL)[:, : len(TAGS)]


def _external(name: str, offset: int, shape: tuple[int, ...]) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    entries = {"location": "weights.bin", "offset": offset, "length": int(np.prod(shape)) * 4}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _graph(width: int, offsets: dict[str, tuple[int, tuple[int, ...]]], kind: Kind) -> onnx.ModelProto:
    numbers = {"zero": [0], "width": [width], "first_axis": [0], "second_axis": [1], "last_axis": [-1]}
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        *(_difference() if kind.texts == 2 else [helper.make_node("Identity", ["kept"], ["signed"])]),
        *([helper.make_node("Identity", ["signed"], ["state"])] if kind.by_tokens else _mean()),
        helper.make_node("Slice", ["state", "zero", "width", "last_axis"], ["narrow"]),
        helper.make_node("Slice", ["classifier", "zero", "width", "first_axis"], ["narrow_classifier"]),
        helper.make_node("MatMul", ["narrow", "narrow_classifier"], ["outputs"]),
        helper.make_node("LpNormalization", ["outputs"], ["logits"], axis=-1)
        if kind.task == "sentence-embedding"
        else helper.make_node("Identity", ["outputs"], ["logits"]),
    ]
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in numbers.items()]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in kind.inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, _output_shape(kind))],
        constants + [_external(name, *place) for name, place in offsets.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _difference() -> list[onnx.NodeProto]:
    """The second text counts against the first, so that their order matters."""
    return [
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["types", "last_axis"], ["of_second"]),
        helper.make_node("Mul", ["kept", "of_second"], ["second"]),
        helper.make_node("Sub", ["kept", "second"], ["first"]),
        helper.make_node("Sub", ["first", "second"], ["signed"]),
    ]


def _mean() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceSum", ["signed", "second_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "second_axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["state"]),
    ]


def _output_shape(kind: Kind) -> list[int | str]:
    return ["batch", *(["tokens"] if kind.by_tokens else []), kind.outputs]


def _write_probes(folder: Path, kind: Kind) -> None:
    rows = np.array([[2, 4, 5, 3], [2, 7, 3, 0]])
    every = {"input_ids": rows, "attention_mask": (rows > 0).astype(np.int64), "token_type_ids": np.zeros_like(rows)}
    feeds = {name: every[name] for name in kind.inputs}
    answers = {}
    for name in WIDTHS:
        (found,) = create_session(folder / f"{name}.onnx", threads=1).run(None, feeds)
        answers[name] = found.ravel().tolist()
    probes = Probes(inputs={name: feed.tolist() for name, feed in feeds.items()}, answers=answers)
    (folder / "probes.json").write_text(probes.model_dump_json())


def tokenizer() -> Tokenizer:
    """Return the tokenizer of every palette here."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    return made


def _manifest(folder: Path, kind: Kind) -> Manifest:
    tokenizer_entry = TokenizerEntry(file="tokenizer.json", max_tokens=MAX_TOKENS, pad_token_id=0, pad_token="[PAD]")
    mixing = Mixing(k=10, split="validation", texts=100, reference="large", bound=0.03, recall=RECALL)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task=kind.task,
        input=TextInput(kind="text", texts=2 if kind.texts == 2 else 1, tokenizer=tokenizer_entry),
        labels=list(kind.labels),
        probes="probes.json",
        graph_inputs=[TensorSpec(name=name, dtype="int64", shape=["batch", "tokens"]) for name in kind.inputs],
        graph_outputs=[TensorSpec(name="logits", dtype="float32", shape=_output_shape(kind))],
        provenance=Provenance(
            base_model="none",
            base_revision=None,
            base_sha256="0" * 64,
            data="none",
            unlabelled=None,
            data_sha256="0" * 64,
            seed=0,
            stages=[],
            rank=1,
            versions={},
        ),
        subnets=[_subnet(name, width) for name, width in WIDTHS.items()],
        files=[_file(path) for path in sorted(folder.iterdir())],
        mixing=mixing if kind.task == "sentence-embedding" else None,
    ).sealed()


def _subnet(name: str, width: int) -> SubnetEntry:
    score = 0.5 + width / 40
    return SubnetEntry(
        name=name,
        quantization=Unquantized(scheme="none"),
        graph=f"{name}.onnx",
        weights="weights.bin",
        layers=[Layer(index=0, heads=1, ffn=1)],
        hidden=width,
        layer_parameters=0,
        total_parameters=(len(WORDS) + len(LABELS)) * width,
        macs=64 * width,
        size_mb=width / 1e3,
        quality=[
            Quality(metric="accuracy", split="validation", value=score, low=score, high=score, examples=100),
        ],
    )


def _file(path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(name=path.name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
