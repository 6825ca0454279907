"""What is fuzzed: for each target, how an input is made, and the call that may raise nothing but errors of ours.

An input is JSON, text or bytes, so that one that was found can be kept as it is.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tiny_palette
from commands import invoke
from fuzz import mutations

from edgedistill.errors import EdgeDistillError
from edgedistill.palette import load, read_profile, write_profile
from edgedistill.palette.schema import digest_of

__all__ = ["TARGETS", "UNCHANGED", "Target", "model_config", "outcome"]


@dataclass(frozen=True)
class Target:
    """One of them; ``check`` gets the input and an empty folder."""

    make: Callable[[Random], Any]
    check: Callable[[Any, Path], object]


def outcome(target: Target, given: Any) -> EdgeDistillError | BaseException | None:
    """Return the error that the input led to, whatever its kind."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            target.check(given, Path(folder))
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            return error
    return None


class Traceback(Exception):
    """A command that ended by an exception, or that printed one."""


def _command(*arguments: object, stdin: bytes | None = None) -> None:
    """Run a command, which must end by an exit code, with a line of its own where that is not 0."""
    result = invoke(*arguments, stdin=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise Traceback(" ".join(map(str, arguments))) from result.exception
    if result.exit_code not in (0, 1, 2) or "Traceback" in result.output:
        raise Traceback(f"exit code {result.exit_code}: {result.output}")
    if result.exit_code == 1 and not any(line.startswith("edgedistill: ") for line in result.stderr.splitlines()):
        records = [line for line in result.stdout.splitlines() if '"error"' in line]
        if not records:
            raise Traceback(f"no line of error: {result.output}")


# Palettes.

_KINDS = {
    "labelled": tiny_palette.LABELLED,
    "pairs": tiny_palette.PAIRS,
    "numbers": tiny_palette.NUMBERS,
    "tagged": tiny_palette.TAGGED,
    "vectors": tiny_palette.VECTORS,
}


@cache
def _palette(kind: str) -> Path:
    folder = tiny_palette.write(Path(tempfile.mkdtemp(prefix="fuzz-")) / kind, _KINDS[kind])
    if kind == "labelled":
        tiny_palette.calibrate(folder)
    palette = load(folder)
    write_profile(palette, tiny_palette.profile(palette.manifest))
    return folder


@contextmanager
def _copied(kind: str, place: Path) -> Iterator[Path]:
    folder = place / "palette"
    shutil.copytree(_palette(kind), folder)
    yield folder


def _manifest(kind: str) -> Any:
    return json.loads((_palette(kind) / "manifest.json").read_text())


def _put_manifest(folder: Path, document: Any) -> None:
    """Write it, with its digest where it has any."""
    with suppress(Exception):
        document = document | {"digest": digest_of(document)}
    (folder / "manifest.json").write_text(json.dumps(document))
    with suppress(Exception):  # the profile is of the old digest
        profile = json.loads((folder / "profiles" / "here.json").read_text()) | {"manifest_digest": document["digest"]}
        (folder / "profiles" / "here.json").write_text(json.dumps(profile))


def _ask(folder: Path, texts: list[Any] | None = None) -> None:
    """Open the palette by its task's class, and ask it."""
    from edgedistill.runtime import AdaptiveSession, SentenceEncoder, TextClassifier, TextRegressor, TokenClassifier

    palette = load(folder)
    task, pair = palette.manifest.task, palette.manifest.text_input.texts == 2
    with AdaptiveSession(palette, max_latency_ms=50, interval_s=60, threads=1) as session:
        session.explain()
        asked: list[Any] = texts or (
            [("turn on", "the lamp")] if pair else ["turn on the lamp", "play some music", "[PAD] [CLS]"]
        )
        if task == "text-classification":
            TextClassifier(session, false_accept_rate=0.1 if palette.manifest.out_of_scope else None).classify(asked)
        elif task == "text-regression":
            TextRegressor(session).predict(asked)
        elif task == "token-classification":
            for tagged in TokenClassifier(session).tag(asked):
                tagged.redacted()
        else:
            SentenceEncoder(session).encode(asked)
            SentenceEncoder(palette, index=palette.manifest.subnets[-1].name).close()


def _manifest_target(kind: str) -> Target:
    def check(given: Any, place: Path) -> None:
        with _copied(kind, place) as folder:
            _check_manifest(folder, given)

    return Target(lambda random: mutations.document(_manifest(kind), random), check)


def _check_manifest(folder: Path, document: Any) -> None:
    _put_manifest(folder, document)
    palette = load(folder)
    palette.check_hashes()
    palette.probes()
    _ask(folder)


_OLD_PALETTE = Path(__file__).parent.parent / "palettes" / "schema-7"


def _old_manifest() -> Any:
    return json.loads((_OLD_PALETTE / "manifest.json").read_text(encoding="utf-8"))


def _check_old_manifest(given: Any, place: Path) -> None:
    _check_manifest(Path(shutil.copytree(_OLD_PALETTE, place / "palette")), given)


def _check_manifest_bytes(given: bytes, place: Path) -> None:
    with _copied("labelled", place) as folder:
        (folder / "manifest.json").write_bytes(given)
        _ask(folder)


def _profile() -> Any:
    return json.loads((_palette("labelled") / "profiles" / "here.json").read_text())


def _check_profile(given: Any, place: Path) -> None:
    from edgedistill.runtime.profiles import choose_profile

    with _copied("labelled", place) as folder:
        path = folder / "profiles" / "here.json"
        path.write_bytes(given) if isinstance(given, bytes) else path.write_text(json.dumps(given))
        choose_profile(load(folder))
        _ask(folder)
        read_profile(path)


def _file_target(kind: str, name: str, check: Callable[[Path], object]) -> Target:
    """A file of the palette whose content changes, and its hash with it."""

    def make(random: Random) -> bytes:
        content = (_palette(kind) / name).read_bytes()
        if name.endswith(".json") and random.random() < 0.7:
            return json.dumps(mutations.document(json.loads(content), random)).encode()
        return mutations.bytes_of(content, random)

    def whole(given: bytes, place: Path) -> None:
        with _copied(kind, place) as folder:
            (folder / name).write_bytes(given)
            tiny_palette.reseal(folder)
            check(folder)

    return Target(make, whole)


def _verify(folder: Path) -> None:
    from edgedistill.runtime.verification import verify

    list(verify(load(folder)))


def _commands_of(folder: Path) -> None:
    _command("inspect", folder, "--json")
    _command("verify", folder)
    _command("doctor", folder)
    _command("run", folder, "turn on the lamp")


def _check_commands(given: Any, place: Path) -> None:
    with _copied("labelled", place) as folder:
        _put_manifest(folder, given)
        _commands_of(folder)
        _command("profile", folder, "--compare", folder / "profiles" / "here.json")


def _texts_target(kind: str) -> Target:
    def make(random: Random) -> list[Any]:
        def one() -> Any:
            if kind == "pairs":
                return (mutations.text(random), mutations.text(random))
            if kind == "tagged" and random.random() < 0.3:
                return [mutations.text(random) for _ in range(random.randrange(5))]
            return mutations.text(random) if random.random() < 0.9 else mutations.value(random)

        return [one() for _ in range(random.choice([1, 1, 2, 5]))]

    def check(given: list[Any], _place: Path) -> None:
        asked = [tuple(text) if kind == "pairs" and isinstance(text, list) else text for text in given]
        _ask(_palette(kind), asked)

    return Target(make, check)


def _check_lines(given: bytes, _place: Path) -> None:
    """Standard input of `run`."""
    _command("run", _palette("labelled"), stdin=given)


def _lines(random: Random) -> bytes:
    lines = [json.dumps({"text": mutations.text(random)}) for _ in range(3)]
    return mutations.bytes_of("\n".join(lines).encode(), random)


# Settings.


@cache
def _recipe() -> str:
    from edgedistill.distillation.recipe import read_recipe, recipe_as_toml

    return recipe_as_toml(read_recipe(None, {}))


def _toml(random: Random, whole: str) -> str:
    """Return the TOML with lines changed, or with a value of some line exchanged."""
    lines = whole.splitlines()
    for _ in range(random.choice([1, 1, 2])):
        at = random.randrange(len(lines))
        key, sign, _value = lines[at].partition(" = ")
        if sign and random.random() < 0.8:
            lines[at] = f"{key} = {_toml_value(mutations.value(random))}"
        elif random.random() < 0.5:
            lines[at] = mutations.bytes_of(lines[at].encode(errors="surrogateescape"), random).decode(
                errors="surrogateescape"
            )
        else:
            lines.insert(at, lines[random.randrange(len(lines))])
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value if value is not None else "none")


def _write_text(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


def _check_recipe(given: str, place: Path) -> None:
    from edgedistill.distillation.recipe import read_recipe, recipe_as_toml

    recipe = read_recipe(_write_text(place / "recipe.toml", given), {})
    assert read_recipe(_write_text(place / "again.toml", recipe_as_toml(recipe)), {}) == recipe


def _make_changes(random: Random) -> list[str]:
    keys = [
        "rank",
        "depths.epochs",
        "teacher",
        "head_shares",
        "alpha",
        "patience",
        "a.b.c",
        "",
        ".",
        "rank.x",
        "widths.",
    ]
    changes = [
        f"{random.choice(keys)}={random.choice([_toml_value(mutations.value(random)), mutations.text(random)])}"
        for _ in range(random.choice([1, 2]))
    ]
    return changes + [mutations.text(random)] * (random.random() < 0.2)


def _check_changes(given: list[str], _place: Path) -> None:
    from edgedistill.distillation.recipe import read_recipe

    read_recipe(None, {}, given)


@cache
def _board() -> str:
    from edgedistill import device_profiles

    assert device_profiles.__file__ is not None
    return next(Path(device_profiles.__file__).parent.rglob("pi5.toml")).read_text()


def _check_board(given: str, place: Path) -> None:
    from edgedistill.device_profiles import estimate, load_board

    estimate(load(_palette("labelled")), load_board(_write_text(place / "board.toml", given)))


# Data.

_ROWS = [(f"{word} the lamp {number}", word) for number, word in enumerate(["on", "off", "dim"] * 8)]


_LINES = "\n".join(text for text, _ in _ROWS).encode()


def _csv() -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([("text", "label"), *_ROWS])
    return file.getvalue().encode()


def _jsonl() -> bytes:
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in _ROWS).encode()


@cache
def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    texts, labels = zip(*_ROWS, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), file)
    return file.getvalue()


def _table_target(suffix: str, content: Callable[[], bytes], task: str = "text-classification") -> Target:
    def make(random: Random) -> bytes:
        if suffix == "jsonl" and random.random() < 0.6:
            rows: list[Any] = [{"text": text, "label": label} for text, label in _ROWS]
            for _ in range(random.choice([1, 2, 24])):
                at = random.randrange(len(rows))
                rows[at] = mutations.document(rows[at], random)
            return "\n".join(map(json.dumps, rows)).encode()
        return mutations.bytes_of(content(), random)

    def check(given: bytes, place: Path) -> None:
        from edgedistill.data.readers import load_data

        for split in ("train", "validation", "test"):
            (place / f"{split}.{suffix}").write_bytes(given if split == "train" else content())
        load_data(str(place), task)  # type: ignore[arg-type]

    return Target(make, check)


def _check_unlabelled(given: bytes, place: Path) -> None:
    from edgedistill.data.readers import load_unlabelled

    (place / "texts.txt").write_bytes(given)
    load_unlabelled(place / "texts.txt", "text-classification", evaluation=None, label_names=["on", "off"])


# Models and supernets.


@cache
def _model() -> Path:
    from tiny_training import model_folder

    return model_folder(Path(tempfile.mkdtemp(prefix="fuzz-")) / "model")


def model_config(**changes: Any) -> bytes:
    """Return the config.json of the `model` target with other values."""
    return json.dumps(json.loads((_model() / "config.json").read_bytes()) | changes).encode()


@cache
def _supernet() -> Path:
    import tiny_supernet

    from edgedistill.supernet import checkpoint

    folder = Path(tempfile.mkdtemp(prefix="fuzz-")) / "supernet"
    checkpoint.save(tiny_supernet.supernet(), folder)
    return folder


def supernet_of(layers: int) -> bytes:
    """Return the supernet.json of the `supernet` target with another number of layers."""
    document = json.loads((_supernet() / "supernet.json").read_bytes())
    document["info"]["architecture"]["layers"] = layers
    return json.dumps(document).encode()


def _tensors(content: bytes, random: Random) -> bytes:
    """Return a safetensors file with another header, or with other bytes."""
    size = int.from_bytes(content[:8], "little")
    if random.random() < 0.7:
        header = json.dumps(mutations.document(json.loads(content[8 : 8 + size]), random)).encode()
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    return mutations.bytes_of(content[: 8 + size + 64], random) + content[8 + size + 64 :]


def _changed_file(path: Path, random: Random) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return _tensors(content, random)
    if random.random() < 0.7:
        return json.dumps(mutations.document(json.loads(content), random)).encode()
    return mutations.bytes_of(content, random)


def _folder_target(folder: Callable[[], Path], names: list[str], check: Callable[[Path], object]) -> Target:
    """A folder of which one file changes; the input is its name and content."""

    def make(random: Random) -> tuple[str, bytes]:
        name = random.choice(names)
        return name, _changed_file(folder() / name, random)

    def whole(given: tuple[str, bytes], place: Path) -> None:
        shutil.copytree(folder(), place / "it")
        (place / "it" / given[0]).write_bytes(given[1])
        check(place / "it")

    return Target(make, whole)


def _begin(folder: Path) -> None:
    from tiny_training import RECIPE, data

    from edgedistill.distillation import mlfs
    from edgedistill.distillation.models import resolve_model

    supernet = mlfs.build_supernet(resolve_model(folder), data(), RECIPE)
    mlfs.encode_data(supernet, data())


def _load_supernet(folder: Path) -> None:
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(folder)
    for subnet in (supernet.space.maxnet, supernet.space.minnet):
        supernet.model.arch.layer_parameters(subnet)
    _command("search", folder, "--data", folder)


@cache
def _state() -> Path:
    import torch

    from edgedistill.distillation.resume import Position, save_state

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    save_state(folder, Position(0, 3, curve=(0.5,)), {"a": torch.ones(3)})
    return folder


def _load_state(folder: Path) -> None:
    from edgedistill.distillation.resume import load_state

    load_state(folder, 0)


# Chats.

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message.content | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _make_chat(random: Random) -> tuple[str, list[Any]]:
    template = _TEMPLATE
    if random.random() < 0.6:
        template = mutations.bytes_of(template.encode(), random).decode(errors="replace")
    messages = [{"role": "user", "content": mutations.text(random)}]
    return template, mutations.document(messages, random) if random.random() < 0.5 else messages


def _check_chat(given: tuple[str, list[Any]], _place: Path) -> None:
    from edgedistill.runtime.generation.chat import render

    render(given[0], given[1], {"bos_token": "<s>", "eos_token": "</s>"})


# Options.

_OPTIONS: dict[str, list[str]] = {
    "recipe": ["--set", "--task", "--recipe"],
    "inspect": ["--json"],
    "verify": ["--json"],
    "doctor": ["--json"],
    "devices": ["--json"],
    "run": [
        *(
            "--max-latency-ms",
            "--max-memory-mb",
            "--false-accept-rate",
            "--prompt",
            "--max-new-tokens",
            "--temperature",
        ),
        *("--top-k", "--top-p", "--seed", "--stop", "--max-first-token-ms", "--min-tokens-per-s", "--pair", "--json"),
    ],
    "profile": ["--compare", "--lengths", "--batches", "--threads", "--install"],
    "search": [
        "--data",
        "--device",
        "--profiled-palette",
        "--max-latency-ms",
        "--tokens",
        "--count",
        "--plot",
        "--cost-metric",
    ],
    "export": ["--data", "--add", "--drop", "--precision", "--keep-fp32", "--device", "--vocabulary", "--out-of-scope"],
    "extract": ["--format"],
    "train": ["--data", "--task", "--text-column", "--label-column", "--recipe", "--set", "--seed", "--unlabelled"],
    "demo": ["--data", "--model", "--text-column", "--count", "--seed"],
}
_ALWAYS: dict[str, list[str]] = {
    "profile": ["--lengths", "0"],  # so that none measures
    "search": ["--data", "{place}/none"],
    "export": ["--data", "{place}/none", "-o", "{place}/out"],
    "extract": ["l9-d9-h9-f9", "-o", "{place}/out"],
    "train": ["--data", "{place}/none", "-o", "{place}/out"],
    "demo": ["--data", "{place}/none", "-o", "{place}/out"],
}
_VALUES = [
    "0",
    "-1",
    "1e999",
    "nan",
    "inf",
    "",
    " ",
    "1,2",
    "1,,2",
    "99999999999999999999",
    "\x1b[31m",
    "{palette}",
    "{place}",
]
_VALUES += [
    "x" * 300,
    "x" * 5000,
    "/dev/null",
    "/proc/self/mem",
    "a=b",
    "fp32",
    "pi5",
    "text-regression",
    "é",
    "\ud800",
    "a\0b",
]
_FIRST = {
    "inspect": "{palette}",
    "verify": "{palette}",
    "doctor": "{palette}",
    "run": "{palette}",
    "profile": "{palette}",
}
_FIRST |= {"search": "{supernet}", "export": "{supernet}", "extract": "{supernet}", "train": "{model}"}


def _make_options(random: Random) -> list[str]:
    command = random.choice(list(_OPTIONS))
    first = [_FIRST[command]] if command in _FIRST and random.random() < 0.8 else [random.choice(_VALUES)]
    arguments = [command, *(first if command in _FIRST else [])]
    for _ in range(random.choice([0, 1, 1, 2])):
        option = random.choice(_OPTIONS[command])
        arguments += [option] if option in ("--json", "--pair") else [option, random.choice(_VALUES)]
    arguments += ["turn on"] * (command == "run")
    return [*arguments, *_ALWAYS.get(command, [])]


def _check_options(given: list[str], place: Path) -> None:
    places = {"{palette}": _palette("labelled"), "{place}": place, "{supernet}": _supernet(), "{model}": _model()}
    arguments = list(given)
    for mark, path in places.items():
        arguments = [argument.replace(mark, str(path)) for argument in arguments]
    _command(*arguments, stdin=b"")


TARGETS: dict[str, Target] = {
    **{f"manifest-{kind}": _manifest_target(kind) for kind in _KINDS},
    "manifest-schema-7": Target(lambda random: mutations.document(_old_manifest(), random), _check_old_manifest),
    "manifest-bytes": Target(
        lambda random: mutations.bytes_of((_palette("labelled") / "manifest.json").read_bytes(), random),
        _check_manifest_bytes,
    ),
    "manifest-commands": Target(lambda random: mutations.document(_manifest("labelled"), random), _check_commands),
    "profile": Target(lambda random: mutations.document(_profile(), random), _check_profile),
    "profile-bytes": Target(lambda random: mutations.bytes_of(json.dumps(_profile()).encode(), random), _check_profile),
    "probes": _file_target("labelled", "probes.json", _verify),
    "tokenizer": _file_target("labelled", "tokenizer.json", _ask),
    "tokenizer-of-words": _file_target("tagged", "tokenizer.json", _ask),
    "graph": _file_target("labelled", "large.onnx", _ask),
    **{f"texts-{kind}": _texts_target(kind) for kind in _KINDS},
    "lines": Target(_lines, _check_lines),
    "recipe": Target(lambda random: _toml(random, _recipe()), _check_recipe),
    "recipe-changes": Target(_make_changes, _check_changes),
    "board": Target(lambda random: _toml(random, _board()), _check_board),
    "csv": _table_target("csv", _csv),
    "jsonl": _table_target("jsonl", _jsonl),
    "jsonl-of-words": _table_target("jsonl", _jsonl, "token-classification"),
    "jsonl-of-numbers": _table_target("jsonl", _jsonl, "text-regression"),
    "parquet": _table_target("parquet", _parquet),
    "unlabelled": Target(lambda random: mutations.bytes_of(_LINES, random), _check_unlabelled),
    "model": _folder_target(
        _model, ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"], _begin
    ),
    "supernet": _folder_target(
        _supernet, ["supernet.json", "base.safetensors", "lowrank.safetensors", "tokenizer.json"], _load_supernet
    ),
    "resume": _folder_target(_state, ["resume/state.safetensors"], _load_state),
    "chat": Target(_make_chat, _check_chat),
    "options": Target(_make_options, _check_options),
}


def _content(name: str) -> Callable[[], bytes]:
    return (_palette("labelled") / name).read_bytes


UNCHANGED: dict[str, Callable[[], Any]] = {
    **{f"manifest-{kind}": lambda kind=kind: _manifest(kind) for kind in _KINDS},  # type: ignore[misc]
    "manifest-schema-7": _old_manifest,
    "manifest-bytes": _content("manifest.json"),
    "manifest-commands": lambda: _manifest("labelled"),
    "profile": _profile,
    "probes": _content("probes.json"),
    "tokenizer": _content("tokenizer.json"),
    "graph": _content("large.onnx"),
    "recipe": _recipe,
    "board": _board,
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "unlabelled": lambda: _LINES,
    "model": lambda: ("config.json", (_model() / "config.json").read_bytes()),
    "resume": lambda: ("resume/state.safetensors", (_state() / "resume/state.safetensors").read_bytes()),
    "chat": lambda: (_TEMPLATE, [{"role": "user", "content": "a"}]),
}
"""What each target's inputs are made of, which itself leads to no error."""
