"""What a decoder learns from: text files as they stand, or a table's texts, each a document."""

from __future__ import annotations

from pathlib import Path

from edgedistill.distillation.rows import Row, rows_of
from edgedistill.distillation.splits import complete
from edgedistill.distillation.tables import SPLITS, read_tables
from edgedistill.errors import DataError

__all__ = ["read_running_text"]

_NAMES = {"train": ("train",), "validation": ("validation", "valid"), "test": ("test",)}
_SUFFIX = ".txt"
_CUT_SHARE = 0.05  # of train, for each split that is missing


def read_running_text(source: str, text_column: str) -> dict[str, list[Row]]:
    """The texts of each split, without labels.

    A text file is one document with its lines as they are; what is missing of validation and test is cut off its
    end. Where there is only validation, that is the test split.

    Args:
        source: a text file; a folder with train, validation (or valid) and test as .txt, .csv or .jsonl; a hub id.
        text_column: of tables.

    Raises:
        DataError: there is no text, or it cannot be read.
    """
    path = Path(source)
    if path.is_file():
        return _of_files({"train": path})
    files = {split: _file_of(path, split) for split in SPLITS} if path.is_dir() else {}
    found = {split: file for split, file in files.items() if file is not None}
    if "train" in found:
        return _of_files(found)
    if path.is_dir() and not any((path / f"train{suffix}").exists() for suffix in (".csv", ".jsonl", ".json")):
        raise DataError(
            f"{source} has no train.txt; expected train, validation and test as .txt, .csv or .jsonl, "
            "or give one .txt file"
        )
    tables = read_tables(source)
    rows = {split: rows_of(table, "text-generation", (text_column,), None) for split, table in tables.items()}
    return complete(rows, source, stratified=False)


def _file_of(folder: Path, split: str) -> Path | None:
    found = [path for name in _NAMES[split] if (path := folder / f"{name}{_SUFFIX}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name}; expected one file a split")
    return found[0] if found else None


def _of_files(files: dict[str, Path]) -> dict[str, list[Row]]:
    texts = {split: _read(file) for split, file in files.items()}
    if "test" not in texts and "validation" in texts:
        texts["test"] = texts.pop("validation")
    missing = [split for split in SPLITS[1:] if split not in texts]
    size = int(_CUT_SHARE * len(texts["train"]))
    for split in reversed(missing):
        texts["train"], texts[split] = _cut(texts["train"], len(texts["train"]) - size)
    return {split: [(texts[split], None)] for split in SPLITS}


def _cut(text: str, place: int) -> tuple[str, str]:
    """In two behind the first line end from ``place`` on, or there where no line ends."""
    place = text.find("\n", place) + 1 or place
    return text[:place], text[place:]


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; expected text in UTF-8") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read: byte {error.start} is no UTF-8; save the file as UTF-8") from error
    if not text.strip():
        raise DataError(f"{file} is empty; expected text")
    return text
