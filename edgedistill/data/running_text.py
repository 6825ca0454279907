"""Read what a decoder learns from: text files as they are, or a table's texts, each a document."""

from __future__ import annotations

from pathlib import Path

from edgedistill.data.data_files import SPLITS, find_split_files, kind_of
from edgedistill.data.rows import Row, rows_of
from edgedistill.data.splits import complete
from edgedistill.data.tables import read_tables
from edgedistill.data.text_files import read_text
from edgedistill.errors import DataError

__all__ = ["read_running_text"]

_CUT_SHARE = 0.05  # of train, for each split that is missing

_Rows = dict[str, list[Row]]


def read_running_text(source: str, text_column: str) -> tuple[_Rows, list[str]]:
    """Return the texts of each split, without labels, and what there is to say of them.

    The text files of a split, one behind the other, are one document with its lines as they are; what is missing of
    validation and test is cut off the end of train. Where there is only validation, that is the test split.

    Args:
        source: a text file or a table; a folder with train, validation and test as either; a hub id.
        text_column: of tables.

    Raises:
        DataError: the source has no text, or cannot be read.
    """
    path = Path(source)
    if path.is_file() and kind_of(path) in (None, "text"):
        return _of_files({"train": [path]}, source, [])
    if path.is_dir():
        chosen = find_split_files(path)
        kinds = {kind_of(file) for files in chosen.files.values() for file in files}
        if kinds == {"text"} and "train" in chosen.files:
            return _of_files(chosen.files, source, chosen.notes)
        if "text" in kinds and len(kinds) > 1:
            raise DataError(f"{source} has text files and tables for its splits; expected one kind")
    tables = read_tables(source)
    rows = {
        split: [row for table in parts for row in rows_of(table, "text-generation", (text_column,), None)]
        for split, parts in tables.splits.items()
    }
    notes = [*tables.notes, *(note for parts in tables.splits.values() for table in parts for note in table.notes)]
    complete_rows, cut = complete(rows, source, stratified=False)
    return complete_rows, notes + cut


def _of_files(files: dict[str, list[Path]], source: str, notes: list[str]) -> tuple[_Rows, list[str]]:
    texts = {split: "".join(map(_read, paths)) for split, paths in files.items()}
    notes = list(notes)
    if "test" not in texts and "validation" in texts:
        texts["test"] = texts.pop("validation")
        notes.append(f"{source}: validation is reported on as test")
    missing = [split for split in SPLITS[1:] if split not in texts]
    whole = len(texts["train"])
    for split in reversed(missing):
        texts["train"], texts[split] = _cut(texts["train"], len(texts["train"]) - int(_CUT_SHARE * whole))
    if missing:
        cut = " and ".join(f"{len(texts[split]):,} characters became {split}" for split in missing)
        notes.append(f"{source}: the last {cut}; {len(texts['train']):,} of train are left")
    return {split: [(texts[split], None)] for split in SPLITS}, notes


def _cut(text: str, place: int) -> tuple[str, str]:
    """Cut in two behind the first line end from ``place`` on, or at ``place`` where no line ends."""
    place = text.find("\n", place) + 1 or place
    return text[:place], text[place:]


def _read(file: Path) -> str:
    """Return a text file's text, each line end a line feed."""
    text = read_text(file).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{file} is empty; expected text")
    return text
