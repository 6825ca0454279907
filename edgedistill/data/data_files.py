"""Choose the files of each split in a folder, by the names that Hugging Face datasets knows.

A file is of a split if its name, or a folder that it is in, has one of the split's words between separators. A file
that is named by the word alone goes before others; what is not read then is said.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgedistill.data.text_files import COMPRESSIONS
from edgedistill.errors import DataError

__all__ = ["KINDS", "SPLITS", "WORDS", "SplitFiles", "find_split_files", "kind_of", "suffix_of"]

SPLITS = ("train", "validation", "test")
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
_ANY_WORD = "|".join(sorted(_SPLIT_OF, key=len, reverse=True))
_NAMED = re.compile(rf"(?:^|(?<=[-._ 0-9]))({_ANY_WORD})(?=[-._ 0-9]|$)")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})")
KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".txt": "text",
    ".parquet": "arrow",
    ".arrow": "arrow",
}
_OTHER_DATA: Collection[str] = (
    ".7z",
    ".avro",
    ".conll",
    ".db",
    ".dta",
    ".feather",
    ".h5",
    ".hdf5",
    ".lz4",
    ".ods",
    ".orc",
    ".pickle",
)
_OTHER_DATA = frozenset(
    (*_OTHER_DATA, ".pkl", ".rar", ".sav", ".sqlite", ".tar", ".tgz", ".xls", ".xlsx", ".xml", ".zip")
)
_NOTES_TO_PEOPLE = re.compile(r"(readme|licen[cs]e|notice|copying|citation|changelog)\b")
_OF_DATASETS = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_MAX_DEPTH = 3  # folders below the one that is given
_SHOWN = 5


@dataclass(frozen=True)
class SplitFiles:
    """The files of each split, in order, and what there is to say of the choice."""

    files: dict[str, list[Path]]
    notes: list[str]


@dataclass(frozen=True)
class _Candidate:
    path: Path
    word: str
    rank: int  # 0: the split's word alone, in the folder itself; 1: in its folder data; 2: anything else
    is_ambiguous: bool

    @property
    def group(self) -> tuple[str, str]:
        """Return what several files of one split must have in common."""
        return self.word, suffix_of(self.path)


def suffix_of(path: Path) -> str:
    """Return what says how a file is read, as .csv.gz, in small letters."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if len(suffixes) == 2 and suffixes[1] in COMPRESSIONS:
        return "".join(suffixes)
    return suffixes[-1] if suffixes else ""


def kind_of(path: Path) -> str | None:
    """Return how a file is read: csv, json, text or arrow; None where it cannot be."""
    suffix = suffix_of(path)
    plain = next((suffix.removesuffix(end) for end in COMPRESSIONS if suffix.endswith(end)), suffix)
    kind = KINDS.get(plain)
    return None if kind == "arrow" and plain != suffix else kind


def find_split_files(folder: Path, splits: Collection[str] = SPLITS) -> SplitFiles:
    """Choose the files of each of the ``splits``.

    Raises:
        DataError: it cannot be told which files a split is, or a split's only file is of a kind that is not read.
    """
    paths = [path for path in _walk(folder, _MAX_DEPTH) if path.name not in _OF_DATASETS]
    candidates: dict[str, list[_Candidate]] = defaultdict(list)
    for path in paths:
        for candidate in _candidates(path, folder):
            candidates[_SPLIT_OF[candidate.word]].append(candidate)
    files: dict[str, list[Path]] = {}
    for split in SPLITS:
        if split in splits and candidates[split]:
            files[split] = _chosen(candidates[split], split, folder)
    used = {path for chosen in files.values() for path in chosen}
    others = {candidate.path for split in SPLITS if split not in splits for candidate in candidates[split]}
    left = [path for path in paths if path not in used | others and _looks_like_data(path)]
    return SplitFiles(files, [*_unusual(files, folder), *_unread(left, folder)])


def _walk(folder: Path, depth: int) -> list[Path]:
    """List the files, sorted, without hidden ones and folders that begin with two underscores."""
    files: list[Path] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith((".", "__")):
                continue
            if entry.is_dir():
                files += _walk(folder / entry.name, depth - 1) if depth else []
            elif entry.is_file():
                files.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; expected a folder of data files") from error
    return files


def _candidates(path: Path, folder: Path) -> list[_Candidate]:
    """Return what a file may be: of the split that its nearest folder names, or else of those that its name has."""
    inside = path.relative_to(folder)
    stem = path.name.lower().removesuffix(suffix_of(path))
    of_folder = [words for part in reversed(inside.parts[:-1]) if (words := _words(part))][:1]
    words = of_folder[0] if of_folder else _words(path.name)
    place = PurePath(*inside.parts[:-1])
    rank = {".": 0, "data": 1}.get(str(place).lower(), 2) if stem in _SPLIT_OF else 2
    return [_Candidate(path, word, rank, len(words) > 1) for word in words]


def _words(name: str) -> list[str]:
    """Return the splits' words in a name, one for each split."""
    return list({_SPLIT_OF[word]: word for word in _NAMED.findall(name.lower())}.values())


def _chosen(candidates: Sequence[_Candidate], split: str, folder: Path) -> list[Path]:
    """Choose among what may be one split."""
    usable = [candidate for candidate in candidates if kind_of(candidate.path) is not None]
    if not usable:
        path = candidates[0].path
        raise DataError(
            f"{path} is the only {split} file and cannot be read; expected {', '.join(KINDS)}, "
            f"or one of the text files with {', '.join(COMPRESSIONS)} behind it"
        )
    best = min(candidate.rank for candidate in usable)
    usable = [candidate for candidate in usable if candidate.rank == best]
    for candidate in usable[1:]:
        if best < 2 or candidate.group != usable[0].group:
            first, second = (_shown(rival.path, folder) for rival in (usable[0], candidate))
            raise DataError(
                f"{folder} has both {first} and {second} for {split}; expected one file a split, "
                "or several of one kind as train-00000-of-00002"
            )
    for path in (candidate.path for candidate in usable if candidate.is_ambiguous):
        raise DataError(
            f"{_shown(path, folder)} in {folder} names several splits; rename it to {split}{suffix_of(path)}"
        )
    paths = [candidate.path for candidate in usable]
    _check_shards(paths)
    return paths


def _check_shards(paths: Iterable[Path]) -> None:
    """Refuse a numbered file of several where another one of them is missing."""
    names = {str(path): match for path in paths if (match := _SHARD.search(path.name)) is not None}
    for name, match in names.items():
        for number in range(int(match[2])):
            other = name[: -len(Path(name).name)] + _SHARD.sub(f"-{number:05}-of-{match[2]}", Path(name).name)
            if other not in names:
                raise DataError(f"{name} is one of {int(match[2])} files, and {Path(other).name} is missing beside it")


def _looks_like_data(path: Path) -> bool:
    if _NOTES_TO_PEOPLE.match(path.name.lower()):
        return False
    return kind_of(path) is not None or path.suffix.lower() in _OTHER_DATA or bool(_words(path.name))


def _unusual(files: dict[str, list[Path]], folder: Path) -> list[str]:
    """Say which files the splits are, unless their names say it."""
    plain = all(
        len(paths) == 1 and paths[0].parent == folder and paths[0].name.lower() == f"{split}{suffix_of(paths[0])}"
        for split, paths in files.items()
    )
    if plain:
        return []
    said = (f"{split} is {_listed(paths, folder)}" for split, paths in files.items())
    return [f"{folder}: {'; '.join(said)}"]


def _unread(paths: Sequence[Path], folder: Path) -> list[str]:
    return [f"{folder}: not read: {_listed(paths, folder)}"] if paths else []


def _listed(paths: Sequence[Path], folder: Path) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(_shown(path, folder) for path in paths[:_SHOWN]) + more


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
