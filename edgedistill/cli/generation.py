"""``edgedistill run --prompt``: a text on the terminal while it is generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.output import console, print_json_line, print_text, styled
from edgedistill.errors import InputError
from edgedistill.palette import Palette

if TYPE_CHECKING:
    from edgedistill.runtime import Generated, Stream, TextGenerator

__all__ = [
    "AsChat",
    "FirstToken",
    "MostTokens",
    "Prompt",
    "Seed",
    "Stops",
    "Temperature",
    "TokensPerSecond",
    "TopK",
    "TopP",
    "check_options",
    "generate",
]

_PANEL = "Generation"

Prompt = Annotated[str | None, typer.Option(help="What to go on with.", rich_help_panel=_PANEL)]
AsChat = Annotated[
    bool, typer.Option("--chat", help="The prompt is a user's message to a chat model.", rich_help_panel=_PANEL)
]
MostTokens = Annotated[
    int | None,
    typer.Option("--max-new-tokens", help="Most tokens to generate; by default 256.", rich_help_panel=_PANEL),
]
Temperature = Annotated[
    float | None,
    typer.Option(help="0 (the default) takes the likeliest tokens; more, others too.", rich_help_panel=_PANEL),
]
TopK = Annotated[int | None, typer.Option(help="Draw from so many of the likeliest tokens.", rich_help_panel=_PANEL)]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Draw from the likeliest tokens that hold this share of the probability.", rich_help_panel=_PANEL
    ),
]
Seed = Annotated[int | None, typer.Option(help="Makes draws repeat.", rich_help_panel=_PANEL)]
Stops = Annotated[
    list[str] | None, typer.Option("--stop", help="A text that ends it; may be repeated.", rich_help_panel=_PANEL)
]
FirstToken = Annotated[
    float | None,
    typer.Option("--max-first-token-ms", help="The time to the first token to keep to.", rich_help_panel=_PANEL),
]
TokensPerSecond = Annotated[
    float | None,
    typer.Option("--min-tokens-per-s", help="Tokens a second to keep to after it.", rich_help_panel=_PANEL),
]


def check_options(palette: Palette, generating: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Refuse what the palette's task has no use for; both by the parameter's name, None or false for not given.

    Raises:
        InputError: there is such an option, or no prompt to generate from.
    """
    task = palette.manifest.task
    generates = palette.manifest.generation is not None
    foreign = others if generates else generating
    useless = next((name for name, value in foreign.items() if value is not None and value is not False), None)
    if useless is not None:
        option = useless if useless == "texts" else f"--{useless.replace('_', '-')}"
        raise InputError(f"the palette is for {task}, which has no use for {option}{'; give --prompt' * generates}")
    if generates and generating["prompt"] is None:
        raise InputError("the palette is for text-generation; give --prompt")


def generate(generator: TextGenerator, prompt: str, *, chat: bool, as_json: bool, **options: Any) -> None:
    """Print the text while it comes; or only one JSON line at its end, of an interrupted one too."""
    begun = generator.chat_prompt([{"role": "user", "content": prompt}]) if chat else prompt
    stream = generator.stream(begun, **{name: value for name, value in options.items() if value is not None})
    try:
        _print_pieces(stream, quiet=as_json)
    finally:
        stream.close()
        if as_json:
            print_json_line({"prompt": prompt} | asdict(stream.result))
        else:
            print_text("\n")
            console.print(styled((_summary(stream.result), "dim")))


def _print_pieces(stream: Stream, *, quiet: bool) -> None:
    for piece in stream:
        if not quiet:
            print_text(piece)


def _summary(result: Generated) -> str:
    """Return one line for people."""
    speed = "" if result.tokens_per_s is None else f", {result.tokens_per_s:.4g} a second"
    first = "" if result.first_token_ms is None else f", the first after {result.first_token_ms:.4g} ms"
    by = ", ".join(f"{subnet} {count}" for subnet, count in result.subnets)
    return f"{result.reason}: {len(result.token_ids)} tokens{speed}{first}; {by or 'no subnet was asked'}"
