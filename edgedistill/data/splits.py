"""Cut missing splits from train as GLUE's users do: seeded, deduplicated, stratified by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgedistill.data.rows import Row
from edgedistill.data.tables import SPLITS
from edgedistill.errors import DataError

__all__ = ["complete", "cut_missing"]

_SPLIT_SEED = 0
_VALIDATION_SHARE = 0.05  # of train, where only validation is missing
_TENTH = 0.1  # of train, for each of validation and test, where both are missing
_FEWEST = 5  # different rows (of each class, where a row has one) to cut splits from: one for each, and some to learn


def complete(rows: dict[str, list[Row]], source: str, *, stratified: bool) -> tuple[dict[str, list[Row]], list[str]]:
    """Cut the splits that are missing from train; say what was cut and left out."""
    if all(name in rows for name in SPLITS):
        return rows, []
    unique = list(dict.fromkeys(rows["train"]))
    _check_enough(unique, source, stratified=stratified)
    reported = rows.get("test", rows.get("validation"))
    if reported is not None:
        train, validation = _cut(unique, _VALIDATION_SHARE, stratified=stratified)
        note = "" if "test" in rows else "validation is reported on as test; "
        note += f"{_count(validation)} of train became validation"
        result = {"train": train, "validation": validation, "test": reported}
    else:
        rest, test = _cut(unique, _TENTH, stratified=stratified)
        train, validation = _cut(rest, _TENTH / (1 - _TENTH), stratified=stratified)
        note = f"{_count(validation)} of train became validation and {_count(test)} test"
        result = {"train": train, "validation": validation, "test": test}
    return result, [f"{source}: {note}; {len(train):,} are left{_duplicates(rows['train'], unique)}"]


def _count(rows: Sequence[Row]) -> str:
    return f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}"


def _duplicates(rows: Sequence[Row], unique: Sequence[Row]) -> str:
    left_out = len(rows) - len(unique)
    return f", without {left_out:,} {'duplicate' if left_out == 1 else 'duplicates'}" if left_out else ""


def _check_enough(rows: Sequence[Row], source: str, *, stratified: bool) -> None:
    counts = Counter(label for _, label in rows) if stratified else Counter({None: len(rows)})
    rarest, count = min(counts.items(), key=lambda item: item[1])
    if count < _FEWEST:
        what = f"rows of train have the label {rarest!r}" if stratified else "rows are in train"
        raise DataError(
            f"{source}: {count} different {what}, too few to cut a split from; "
            f"give at least {_FEWEST}, or validation and test files"
        )


def _cut(rows: list[Row], share: float, *, stratified: bool) -> tuple[list[Row], list[Row]]:
    """Return what is left of the rows, and a share of them; if stratified, about that share of each label."""
    from sklearn.model_selection import train_test_split

    labels = [label for _, label in rows] if stratified else None
    size = max(round(share * len(rows)), len(set(labels or [None])))
    left, cut = train_test_split(rows, test_size=size, random_state=_SPLIT_SEED, stratify=labels)
    return left, cut


def cut_missing(lines: list[Row], splits: dict[str, list[Row]], place: str) -> tuple[dict[str, list[Row]], list[str]]:
    """Take texts without labels as train, and cut those of validation and test that are missing from them.

    Also say what was cut and left out.
    """
    missing = [name for name in SPLITS[1:] if name not in splits]
    if not missing:
        return {"train": lines} | splits, []
    train = list(dict.fromkeys(lines))
    duplicates = _duplicates(lines, train)
    if len(train) <= len(missing):
        raise DataError(f"{place} has {len(train)} different texts, too few to cut {' and '.join(missing)} from")
    size = _VALIDATION_SHARE * len(train)
    rows = dict(splits)
    for name in missing:
        train, rows[name] = _cut(train, size / len(train), stratified=False)
    cut = " and ".join(f"{_count(rows[name])} became {name}" for name in missing)
    return {"train": train} | rows, [f"{place}: {cut}; {len(train):,} are left{duplicates}"]
