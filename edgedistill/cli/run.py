"""``edgedistill run``: texts in, labels out, by whichever subnet fits."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edgedistill.cli.common import reported
from edgedistill.errors import InputError

if TYPE_CHECKING:
    from edgedistill.runtime import TextClassifier

__all__ = ["run"]

_SOME_FAILED = 1


@reported
def run(
    palette: Annotated[Path, typer.Argument(help="The palette's folder.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, JSON Lines from standard input.")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="The latency that answers should keep to.")] = None,
    max_memory_mb: Annotated[float | None, typer.Option(help="The memory that a subnet may take.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Answers of a lower score are not accepted: a score of the largest subnet, carried over to the others."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one record a text.")] = False,
) -> None:
    """Label texts. From standard input each line is an object with a "text"; each answer is a line too.

    A line that cannot be answered gets a record with "error"; the others are answered, and the exit code is 1.

    Example: edgedistill run palette "turn off the lights in the kitchen" --max-latency-ms 20
    """
    from edgedistill.runtime import AdaptiveSession, TextClassifier

    given = [json.dumps({"text": text}) for text in texts] if texts else None
    with AdaptiveSession(palette, max_latency_ms=max_latency_ms, max_memory_mb=max_memory_mb) as session:
        classifier = TextClassifier(session, threshold=threshold)
        records = _answers(classifier, given if given is not None else sys.stdin)
        failed = _print_lines(records) if as_json or given is None else _print_table(records)
    if failed:
        raise typer.Exit(_SOME_FAILED)


def _answers(classifier: TextClassifier, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        text = line.strip()
        try:
            text = _text_of(line)
            found = classifier.classify([text])[0]
        except InputError as error:
            yield {"text": text[:200], "error": str(error)}
            continue
        record = {
            "text": text,
            "label": found.label,
            "score": round(found.score, 6),
            "subnet": found.subnet,
            "latency_ms": round(found.latency_ms, 3),
        }
        record |= {"truncated": True} if found.truncated else {}
        yield record | ({} if found.accepted else {"accepted": False})


def _text_of(line: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not a JSON line: {error.msg}; expected an object with a text") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise InputError('expected an object with a string "text"')
    text: str = record["text"]
    return text


def _print_lines(records: Iterable[dict[str, Any]]) -> int:
    """Each answer as soon as it is there; returns how many are errors."""
    failed = 0
    for record in records:
        failed += "error" in record
        print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201
    return failed


def _print_table(records: Iterable[dict[str, Any]]) -> int:
    table = Table("text", "label", "score", "subnet", "ms")
    failed = 0
    for record in records:
        if "error" in record:
            failed += 1
            table.add_row(record["text"], f"[red]{record['error']}[/red]")
        else:
            shown = record["text"] if len(record["text"]) <= 60 else record["text"][:57] + "..."
            label, score = record["label"], f"{record['score']:.1%}"
            label = label if record.get("accepted", True) else f"[dim]{label}, not accepted[/dim]"
            table.add_row(shown, label, score, record["subnet"], f"{record['latency_ms']:.2f}")
    Console().print(table)
    return failed
