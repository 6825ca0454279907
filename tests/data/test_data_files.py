"""Which files of a folder are which split: as Hugging Face datasets chooses, or refused by name, and nothing unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets.data_files import DataFilesDict, get_data_patterns

from edgedistill.data.data_files import find_split_files
from edgedistill.errors import DataError


def _make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text,label\n")
    return folder


def _found(folder: Path) -> dict[str, list[str]]:
    files = find_split_files(folder).files
    return {split: [path.relative_to(folder).as_posix() for path in paths] for split, paths in files.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv", "validation.csv", "test.csv"],
        ["training.csv", "valid.csv", "testing.csv"],
        ["train.jsonl", "dev.jsonl", "eval.jsonl"],
        ["train.ndjson", "val.json", "evaluation.tsv"],
        ["my-train.csv", "my_dev_v2.csv", "my test.csv"],
        ["spam.train.csv", "spam.val.csv", "2024test1.csv"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"],
        ["data/train.csv", "data/test.csv"],
        ["train/part1.csv", "train/part2.csv", "test/part1.csv"],
        ["train/a.csv", "dev_set/b.csv", "v1-test/deep/c.csv"],
        ["train_en.csv", "train_fr.csv", "validation_matched.jsonl", "validation_mismatched.jsonl"],
        ["en/train.csv", "fr/train.csv"],
        ["train.csv.gz", "test.jsonl.bz2", "validation.tsv.xz"],
        ["train.txt", "dev.txt"],
        ["train.arrow", "test.arrow"],
        ["train.csv", ".test.csv", "__pycache__/test.csv", "README.md", "state.json"],
    ],
)
def test_files_are_chosen_as_datasets_does(tmp_path: Path, names: list[str]) -> None:
    _make(tmp_path, *names)
    theirs = DataFilesDict.from_patterns(get_data_patterns(str(tmp_path)), base_path=str(tmp_path))
    relative = {
        str(split): sorted(Path(file).relative_to(tmp_path).as_posix() for file in files)
        for split, files in theirs.items()
    }
    assert _found(tmp_path) == relative


@pytest.mark.parametrize(
    ("names", "expected", "note"),
    [
        (["Train.CSV", "TEST.Csv"], {"train": ["Train.CSV"], "test": ["TEST.Csv"]}, None),
        (["train.csv", "dev.csv"], {"train": ["train.csv"], "validation": ["dev.csv"]}, "validation is dev.csv"),
        (["train.csv", "oos_train.csv"], {"train": ["train.csv"]}, "not read: oos_train.csv"),
        (["train.csv", "data/train.csv"], {"train": ["train.csv"]}, "not read: data/train.csv"),
        (["train.csv", "train.xlsx"], {"train": ["train.csv"]}, "not read: train.xlsx"),
        (["train.csv", "spam.csv", "x.parquet"], {"train": ["train.csv"]}, "not read: spam.csv, x.parquet"),
        (["train.csv", *(f"{i}.csv" for i in range(8))], {"train": ["train.csv"]}, "3.csv, 4.csv and 3 more"),
        (["train.csv", "train_test.csv", "test.csv"], {"train": ["train.csv"], "test": ["test.csv"]}, "train_test.csv"),
        (["train/1.csv", "train/2.csv"], {"train": ["train/1.csv", "train/2.csv"]}, "train is train/1.csv, train/2"),
        (["train.csv", "LICENSE.txt", "readme.txt", "code.py", ".git/train.csv"], {"train": ["train.csv"]}, None),
        (["spam.csv"], {}, "not read: spam.csv"),
    ],
)
def test_exact_names_go_first_and_the_rest_is_said(
    tmp_path: Path, names: list[str], expected: dict[str, list[str]], note: str | None
) -> None:
    _make(tmp_path, *names)
    assert _found(tmp_path) == expected
    notes = " ".join(find_split_files(tmp_path).notes)
    assert (note in notes) if note else notes == ""


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train.csv", "train.jsonl"], "has both train.csv and train.jsonl for train"),
        (["train.csv", "Train.csv"], "has both Train.csv and train.csv for train"),
        (["train.csv", "train.csv.gz"], "has both train.csv and train.csv.gz for train"),
        (["train.csv", "dev.csv", "val.csv"], "has both dev.csv and val.csv for validation"),
        (["train.csv", "test.csv", "eval.csv"], "has both eval.csv and test.csv for test"),
        (["train_a.csv", "train_b.jsonl"], "has both train_a.csv and train_b.jsonl for train"),
        (["dev/a.csv", "valid/a.csv"], "has both dev/a.csv and valid/a.csv for validation"),
        (["train.xlsx", "test.csv"], "train.xlsx is the only train file and cannot be read; expected .csv, .tsv"),
        (["train.csv", "test.csv.zip"], "test.csv.zip is the only test file and cannot be read"),
        (["train.parquet.gz"], "train.parquet.gz is the only train file and cannot be read"),
        (["train"], "train is the only train file and cannot be read"),
        (["train_test_split.csv"], "train_test_split.csv in .* names several splits; rename it to train.csv"),
        (["train-00000-of-00002.csv"], "is one of 2 files, and train-00001-of-00002.csv is missing"),
    ],
)
def test_what_cannot_be_chosen_is_refused_by_name(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        find_split_files(_make(tmp_path, *names))


def test_of_splits_that_are_not_needed_nothing_is_said(tmp_path: Path) -> None:
    _make(tmp_path, "train.csv", "train.jsonl", "validation.csv", "test.csv")
    found = find_split_files(tmp_path, ("validation", "test"))
    assert (list(found.files), found.notes) == (["validation", "test"], [])
