"""``edgedistill run``: texts in, answers out, by whichever subnet fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edgedistill.cli.common import Digest, reported
from edgedistill.cli.generation import (
    AsChat,
    FirstToken,
    MostTokens,
    Prompt,
    Seed,
    Stops,
    Temperature,
    TokensPerSecond,
    TopK,
    TopP,
    check_options,
    generate,
)
from edgedistill.cli.output import lines, print_json_line, standard_output, styled
from edgedistill.cli.streams import input_lines
from edgedistill.errors import InputError, RunError
from edgedistill.palette import Manifest, load
from edgedistill.tasks import task_of
from edgedistill.tasks.task import Record, Task

if TYPE_CHECKING:
    from edgedistill.runtime import AdaptiveSession

__all__ = ["run"]

_SOME_FAILED = 1
_SHOWN_CHARACTERS = 60


@reported
def run(
    palette: Annotated[Path, typer.Argument(help="The palette's folder.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, JSON Lines from standard input.")
    ] = None,
    pair: Annotated[bool, typer.Option("--pair", help="Every two texts are a pair.")] = False,
    max_latency_ms: Annotated[float | None, typer.Option(help="The latency that answers should keep to.")] = None,
    max_memory_mb: Annotated[float | None, typer.Option(help="The memory that a subnet may take.")] = None,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(help="Share of the palette's out-of-scope texts that may be accepted; mark what is not."),
    ] = None,
    digest: Digest = None,
    prompt: Prompt = None,
    chat: AsChat = False,
    max_new_tokens: MostTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    stop: Stops = None,
    max_first_token_ms: FirstToken = None,
    min_tokens_per_s: TokensPerSecond = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one record a text.")] = False,
) -> None:
    """Answer texts by the palette's task: labels, numbers, entities or vectors; or go on with a prompt.

    From standard input each line is an object with a "text": a string, a list of two for a pair, or a list of words
    to find entities in; each answer is a line too. A line that cannot be answered gets a record with "error"; the
    others are answered, and the exit code is 1.

    Example: edgedistill run palette "turn off the lights in the kitchen" --max-latency-ms 20

    Example: edgedistill run scorer --pair "a man is singing" "someone sings"

    Example: edgedistill run writer --prompt "Once upon a time" --max-new-tokens 100 --min-tokens-per-s 20
    """
    from edgedistill.runtime import AdaptiveSession, TextGenerator

    opened = load(palette, digest=digest)
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "stop": stop}
    sampling |= {"max_new_tokens": max_new_tokens}
    budgets: dict[str, Any] = {"max_first_token_ms": max_first_token_ms, "min_tokens_per_s": min_tokens_per_s}
    others = {"texts": texts, "pair": pair, "max_latency_ms": max_latency_ms, "false_accept_rate": false_accept_rate}
    check_options(opened, {"prompt": prompt, "chat": chat} | sampling | budgets, others)
    if prompt is not None:
        with TextGenerator(opened, max_memory_mb=max_memory_mb, **budgets) as generator:
            generate(generator, _utf8(prompt), chat=chat, as_json=as_json, **sampling)
        return
    arguments = None if not texts and not pair else _as_lines(list(map(_utf8, texts or [])), pair, opened.manifest)
    with AdaptiveSession(opened, max_latency_ms=max_latency_ms, max_memory_mb=max_memory_mb) as session:
        # What is not UTF-8 becomes what no text may hold, so that it is an error of its own line.
        records = _answers(_answerer(session, false_accept_rate), input_lines() if arguments is None else arguments)
        failed = (
            _print_lines(records)
            if as_json or arguments is None
            else _print_table(records, task_of(opened.manifest.task))
        )
    if failed:
        raise typer.Exit(_SOME_FAILED)


def _utf8(argument: str) -> str:
    """Return an argument of which the locale could not read all as the UTF-8 that it is."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _as_lines(texts: Sequence[str], pair: bool, manifest: Manifest) -> list[str]:
    """Return the texts as lines of standard input."""
    if pair != (manifest.text_input.texts == 2):
        kind = "single texts; leave out --pair" if pair else "pairs; give --pair and two texts for each"
        raise InputError(f"the palette is for {manifest.task} of {kind}")
    if not pair:
        return [json.dumps({"text": text}) for text in texts]
    if not texts or len(texts) % 2:
        raise InputError(f"--pair wants two texts for each pair; these are {len(texts)}")
    return [json.dumps({"text": two}) for two in zip(texts[::2], texts[1::2], strict=True)]


def _answerer(session: AdaptiveSession, false_accept_rate: float | None) -> Callable[[Any], Record]:
    """Return the function that answers one text, by the palette's task."""
    from edgedistill import runtime

    task = task_of(session.palette.manifest.task)
    if false_accept_rate is not None and not task.takes_false_accept_rate:
        raise InputError(f"--false-accept-rate is for labels of texts; the palette is for {task.name}")
    options = {"false_accept_rate": false_accept_rate} if task.takes_false_accept_rate else {}
    pipeline, method = task.answered_by
    answer = getattr(getattr(runtime, pipeline)(session, **options), method)
    return lambda text: task.record(answer([text]))


def _answers(ask: Callable[[Any], Record], lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        if not line.strip():
            continue
        text: Any = line.strip()
        try:
            text = _text_of(line)
            yield {"text": text} | ask(text)
        except (InputError, RunError) as error:
            # Half a surrogate pair cannot be printed.
            shown = str(text)[:200].encode(errors="replace").decode()
            yield {"text": shown, "error": str(error)}


def _text_of(line: str) -> Any:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not a JSON line: {error.msg}; expected an object with a text") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str | list):
        raise InputError('expected an object with a "text": a string, two of them, or words')
    return record["text"]


def _print_lines(records: Iterable[Record]) -> int:
    """Print each answer as soon as it is available; return the number of errors."""
    failed = 0
    for record in records:
        failed += "error" in record
        print_json_line(record)
    return failed


def _print_table(records: Iterable[Record], task: Task) -> int:
    table = Table("text", "answer", "subnet", "ms")
    failed = 0
    for record in records:
        text = _shortened(record["text"])
        if "error" in record:
            failed += 1
            table.add_row(text, styled((record["error"], "red")))
        else:
            cut = [(" (read in part)", "dim")] if record.get("truncated") or record.get("unread") else []
            table.add_row(
                styled(text, *cut),
                lines(map(styled, task.shown(record))),
                record["subnet"],
                f"{record['latency_ms']:.2f}",
            )
    standard_output().print(table)
    return failed


def _shortened(text: str | list[str]) -> str:
    line = text if isinstance(text, str) else " | ".join(text)
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 3] + "..."
