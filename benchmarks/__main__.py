"""List and run benchmarks, and write their results into the docs: `python -m benchmarks`."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks import catalog
from benchmarks.report import pages
from edgedistill.errors import EdgeDistillError

app = typer.Typer(
    help="Measure EdgeDistill, and keep the results for the docs. Run it in the checkout's root.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_benchmarks() -> None:
    """List every benchmark and experiment: what it measures, what it needs, and roughly how long it takes."""
    benchmarks = catalog.benchmarks()
    for subject, about in catalog.subjects().items():
        print(f"{subject}: {about}")
        for benchmark in benchmarks:
            if benchmark.subject == subject:
                print(f"  {benchmark.name}: {benchmark.summary}")
                print(f"      needs {benchmark.needs}; takes {benchmark.takes}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="",
)
def run(context: typer.Context, name: Annotated[str, typer.Argument(help="as in the list")]) -> None:
    """Run one benchmark; what follows NAME is passed on, and --help says what it takes."""
    try:
        benchmark = catalog.benchmark_of(name)
    except catalog.UnknownBenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    command_of(benchmark)(context.args, prog_name=f"python -m benchmarks run {benchmark.name}")


def command_of(benchmark: catalog.Benchmark) -> typer.Typer:
    """Build the command line of a benchmark from its `main` and its docstring."""
    module = importlib.import_module(benchmark.module)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    text = (module.__doc__ or "").replace("\nTakes: ", "\n\nTakes: ")  # a paragraph of its own
    app.command(help=text)(_reporting(module.main))
    return app


def _reporting(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn an exit code and an error of EdgeDistill into the end of the process."""

    @functools.wraps(main)
    def wrapper(**arguments: object) -> None:
        try:
            code = main(**arguments)
        except EdgeDistillError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        raise typer.Exit(code or 0)

    return wrapper


@app.command()
def report(
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; exit 1 if a page differs from the results")
    ] = False,
) -> None:
    """Write the results into the tables of docs."""
    stale = pages.stale_pages()
    if check and stale:
        print(f"{', '.join(page.name for page in stale)}: run python -m benchmarks report", file=sys.stderr)
        raise typer.Exit(1)
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    app()
