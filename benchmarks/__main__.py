"""List and run benchmarks, and write their results into the docs: `python -m benchmarks`."""

from __future__ import annotations

import runpy
import sys
from typing import Annotated

import typer

from benchmarks import catalog
from benchmarks.report import pages

app = typer.Typer(
    help="Measure EdgeDistill, and keep the results for the docs. Run it in the checkout's root.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_benchmarks() -> None:
    """List every benchmark and experiment with what it measures."""
    benchmarks = catalog.benchmarks()
    for subject, about in catalog.subjects().items():
        print(f"{subject}: {about}")
        for benchmark in benchmarks:
            if benchmark.subject == subject:
                print(f"  {benchmark.name}: {benchmark.summary}")


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
    sys.argv[1:] = context.args
    runpy.run_module(benchmark.module, run_name="__main__", alter_sys=True)


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
