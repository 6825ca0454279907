"""Writes the results in benchmarks/results into the pages of docs, each as a table between its marks.

Usage: python benchmarks/report.py [--check]. With --check nothing is written; the exit code is 1 where a page is
not what the results say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
_BLOCK = re.compile(r"<!-- (?P<name>[a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)

Result = dict[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is words, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float) -> str:
    """A score of 1 at most, in points."""
    return f"{100 * value:.2f}"


def interval(difference: Sequence[float]) -> str:
    """Points with their interval."""
    value, low, high = difference
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def separate_distillation(result: Result) -> str:
    """A row a size, and the rounds below."""
    rounds = result["students_at_multiples_of_a_sixth"]
    first = rounds["1"]["sizes"]
    rows = [["teacher", "1.000", percent(result["teacher"]), "", "", ""]]
    rows += [["full size", "1.000", percent(result["maxnet"]), "", "", ""]]
    for size, member in result["palette"].items():
        rates = first[size]["learning_rates"]
        students = [f"{percent(first[size][kind])} ({rates[kind]:g})" for kind in ("low-rank", "full")]
        share = f"{result['layer_share'][size]:.3f}"
        rows.append([size, share, percent(member), *students, interval(first[size]["difference"])])
    rows.append(["word counts, linear", "", percent(result["word_counts"]), "", "", ""])
    header = ["size", "of the layers", "palette", "low-rank student (its rate)", "full", "palette − better student"]
    shared = result["multiple_where_the_pass_is_shared"]
    means = "; ".join(
        f"×{multiple}{' (one pass for all six)' if float(multiple) == shared else ''}: "
        f"{interval(found['mean_difference'])}"
        for multiple, found in rounds.items()
    )
    wall = sum(sum(size["wall_s"].values()) for size in first.values())
    return "\n".join(
        [
            table(header, rows),
            "",
            f"Mean difference, students given a sixth of the palette's cost, and multiples of that: {means}.",
            f"Palette: {result['palette_flops']:.3g} FLOPs in {'+'.join(map(str, result['palette_steps']))} steps, "
            f"{result['palette_wall_s']:.0f} s on one core, products in {result['precision']}; "
            f"the teacher's pass {result['teacher_flops']:.3g}; "
            f"all twelve students of a sixth {wall:.0f} s, without the search for their learning rates.",
        ]
    )


def ablation(result: Result) -> str:
    """A row a variant: its difference from the base."""
    variants = result["variants"]
    base = variants["base"]
    rows = []
    for name, found in variants.items():
        sizes = [percent(found["sizes"][size]["test"]) for size in ("1/1", "1/2", "1/4", "1/6")]
        gap = 100 * (found["mean"]["validation"] - base["mean"]["validation"])
        means = [percent(found["mean"][split]) for split in ("validation", "test")]
        rows.append([name, *means, f"{gap:+.2f}", f"{found['mean']['loss']:.3f}", *sizes, str(sum(found["steps"]))])
    header = ["variant", "validation", "test", "− base", "loss", "test 1/1", "1/2", "1/4", "1/6", "steps"]
    return table(header, rows)


def gradient_scaling(result: Result) -> str:
    """The minnet's loss at the curve's quarters and its end."""
    rows = []
    for name, run in result["runs"].items():
        curve = run["curve"]["minnet"]
        quarters = [f"{curve[place * (len(curve) - 1) // 4]:.3f}" for place in range(1, 5)]
        ends = [f"{run['loss']['minnet']:.3f}", percent(run["score"]["minnet"]), percent(run["score"]["maxnet"])]
        rows.append([name, *quarters, *ends])
    header = ["run", "¼ of the steps", "½", "¾", "all", "loss, all validation", "minnet", "full size"]
    base = next(run for name, run in result["runs"].items() if name.endswith("gamma 0"))
    norms = "; ".join(
        f"step {step}: " + ", ".join(f"{name} {norm:.2f}" for name, norm in of.items())
        for step, of in base["gradient_norms"].items()
    )
    return f"{table(header, rows)}\n\nNorms of each subnet's own gradient in the first run, before any factor: {norms}."


def constant_cost(result: Result) -> str:
    """A row a space."""
    spaces = result["spaces"]
    names = list(next(iter(spaces.values()))["scores"])
    rows = [
        [members, *(percent(found["scores"][name]) for name in names), interval(found["mean_difference_from_6"])]
        for members, found in spaces.items()
    ]
    return table(["members", *names, "mean − that of 6"], rows)


def a_quarter(result: Result) -> str:
    """A row a question."""
    rows = []
    for question, words in (("quarter_of_layers", "the layers"), ("quarter_of_all_parameters", "all parameters")):
        found = result.get(question)
        if found is None:
            rows.append([words, "no member is so small", *[""] * 7])
            continue
        ratios = [f"{of['ratio']:.2f}" for of in found["latency"].values()]
        shares = [f"{found[share]:.3f}" for share in ("layer_share", "total_share")]
        rows.append(
            [
                words,
                f"`{found['subnet']}`",
                *shares,
                percent(found["score"]),
                interval(found["difference_from_teacher"]),
                *ratios,
            ]
        )
    header = ["a quarter of", "member", "of the layers", "of all", "test", "− teacher"]
    return table([*header, *(f"latency at {tokens}" for tokens in (16, 64, 128))], rows)


def without_labels(result: Result) -> str:
    """A row a size."""
    rows = [
        [size, percent(of["with"]), percent(of["without"]), interval(of["difference"])]
        for size, of in result["sizes"].items()
    ]
    return table(
        ["size", "with labels", "without", "difference"], [*rows, ["mean", "", "", interval(result["mean_difference"])]]
    )


def mixed_index(result: Result) -> str:
    """A row a member."""
    rows = [
        [size, percent(result["spearman"][size]), percent(of[size]), percent(of["1/1"])]
        for size, of in result["recall"].items()
    ]
    return table(["member", "Spearman on STS-B", "recall@10, own index", "in the full size's"], rows)


def training_memory(result: Result) -> str:
    """A row a family."""
    rows = [
        [
            name,
            f"{of['low_rank_parameters_a_stage']:,}",
            f"{of['matrices_in_full']:,}",
            f"{of['vectors']:,}",
            f"{of['low_rank_mb']:,.0f}",
            f"{of['full_mb']:,.0f}",
            f"{of['plain_mb']:,.0f}",
        ]
        for name, of in result["families"].items()
    ]
    header = [
        "family",
        f"rank {result['rank']}",
        "in full",
        "biases and norms",
        "peak MB, low-rank",
        "in full",
        "plain",
    ]
    return table(header, rows)


def embedding_table(result: Result) -> str:
    """A row a table."""
    tables = result["tables"]
    sizes = list(tables["whole"]["scores"])
    rows = [
        [name, f"{of['table_parameters'] / 1e6:.2f} M", *(percent(of["scores"][size]) for size in sizes)]
        for name, of in tables.items()
    ]
    return table(["table", "parameters", *sizes], rows)


def hidden_width(result: Result) -> str:
    """A row a size; a column a space."""
    spaces = result["spaces"]
    widest = max(spaces.values(), key=lambda found: len(found["scores"]))
    rows = [
        [
            size,
            f"{widest['layer_share'][size]:.3f}",
            f"{widest['total_share'][size]:.3f}",
            *(percent(found["scores"][size]) if size in found["scores"] else "" for found in spaces.values()),
        ]
        for size in widest["scores"]
    ]
    return table(["size", "of the layers", "of all", *spaces], rows)


def int8_quality(result: Result) -> str:
    """A row a member."""
    rows = []
    for name, of in result["members"].items():
        sizes = [f"{of['size_mb'][precision]:.1f}" for precision in ("fp32", "int8")]
        flips = "" if of["answers_that_differ"] is None else percent(of["answers_that_differ"])
        rows.append([f"`{name}`", percent(of["fp32"]), percent(of["int8"]), interval(of["difference"]), flips, *sizes])
    return table(["member", "fp32", "int8", "int8 − fp32", "answers that differ, %", "MB, fp32", "int8"], rows)


def thresholds(result: Result) -> str:
    """A row a member: its calibration, and what passes each threshold, less what passes at the first member."""
    first = next(iter(result["members"]))
    asked = result["thresholds"]
    rows = []
    for name, member in result["members"].items():
        row = [f"`{name}`", f"{member['temperature']:.2f}", percent(member["flip_rate"])]
        row += [f"{percent(member['error_before'])} → {percent(member['error'])}"]
        for of in asked.values():
            own, theirs = of["members"][name], of["members"][first]
            differences = [own[key] - theirs["out_of_scope"] for key in ("out_of_scope", "out_of_scope_uncarried")]
            row += (
                [percent(theirs["out_of_scope"])]
                if name == first
                else [f"{100 * differences[0]:+.1f} ({100 * differences[1]:+.1f})"]
            )
            row += [percent(own["in_scope"])]
        rows.append(row)
    header = ["member", "T", "other labels, %", "calibration error, %"]
    for passing in asked:
        header += [f"pass at {float(passing):.0%}", "in scope"]
    return table(header, rows)


def shared_weights(result: Result) -> str:
    """A row a model and precision; then the members of each."""
    rows = []
    for name, of in result["models"].items():
        disk = [f"{of['disk_mb'][kind]:,.0f}" for kind in ("family", "stand_alone")]
        ratios = [of[key] for key in ("load_ratio_at_the_median", "memory_ratio_at_the_median", "largest_memory_ratio")]
        rows.append([name, *disk, f"{of['disk_over_largest']:.3f}", *(f"{ratio:.2f}" for ratio in ratios)])
    header = ["twelve subnets of", "MB, shared", "MB, alone", "shared over the largest alone"]
    return table([*header, "load, median", "memory, median", "memory, worst"], rows)


def per_layer_widths(result: Result) -> str:
    """A row a size."""
    rows = []
    for size, of in result["sizes"].items():
        scores = [percent(of[split][kind]) for split in ("validation", "test") for kind in ("uniform", "best")]
        rows.append([size, *scores, interval(of["difference"])])
    header = ["size", "uniform, validation", "best unequal", "uniform, test", "best unequal", "difference"]
    return table(header, rows)


def export_time(result: Result) -> str:
    """A row a model; then where our time goes, and what theirs ran on."""

    def ratio(of: Result) -> str:
        return f"{of['median']:.2f} ({of['low']:.2f} to {of['high']:.2f})"

    rows, pieces = [], []
    for name, of in result["models"].items():
        seconds = [f"{of['seconds'][f'{kind}, inside']['median']:.1f}" for kind in ("one", "twelve")]
        theirs = [ratio(of["theirs_over_ours"][kind]) for kind in ("processes", "inside", "inside, int8 too")]
        rows.append([name, *seconds, ratio(of["twelve_over_one"]["inside"]), *theirs])
        parts = ", ".join(f"{piece} {value:.2f}" for piece, value in of["pieces"]["twelve"].items())
        pieces.append(f"{name}: {parts}")
    header = ["", "one, s", "twelve, s", "twelve over one", "12 processes of theirs over one of ours"]
    versions = ", ".join(f"{name} {version}" for name, version in result["theirs"].items())
    return "\n".join(
        [
            table([*header, "inside one process", "the same with int8"], rows),
            "",
            f"Medians of {result['repeats']} rounds, with the least and the largest. Seconds of the twelve: "
            f"{'; '.join(pieces)}. Theirs: {versions}.",
        ]
    )


def latency(result: Result) -> str:
    """A row a subnet and length; in bold what is more than 2 % faster than ours; then fusions and what was left out."""
    models = result["models"]
    names = list(dict.fromkeys(name for of in _lengths(result) for name in of["ratios"]))
    rows = []
    for model, subnets in models.items():
        for size, found in subnets.items():
            for tokens, of in found["lengths"].items():
                cells = [_beside(of["ratios"].get(name), name) for name in names]
                rows.append([f"{model}, {size}", tokens, f"{of['ms']:.2f}", *cells])
    worst = [of["ratios"][of["best_onnx"]]["ratio"] for of in _lengths(result)]
    left_out = "".join(f" Without {name}: {reason}." for name, reason in result["skipped"].items())
    fused = next(iter(next(iter(models.values())).values()))["fused"]
    counts = "; ".join(f"{way}: {', '.join(f'{n} {kind}' for kind, n in of.items())}" for way, of in fused.items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n".join(
        [
            table(["subnet", "tokens", "ms, shared", *names], rows),
            "",
            f"Ratios to our graph, medians of {result['rounds']} rounds with quartiles. The best ONNX variant takes "
            f"{min(worst):.2f} to {max(worst):.2f} times ours. Fused nodes at full size of the first: {counts}. "
            f"Floor: {result['billion_macs_a_second']:.0f} billion multiply-accumulates a second. "
            f"{versions}.{left_out}",
        ]
    )


def _lengths(result: Result) -> list[Result]:
    """Every comparison of the result."""
    return [
        of for subnets in result["models"].values() for found in subnets.values() for of in found["lengths"].values()
    ]


def _beside(of: Result | None, name: str) -> str:
    """A ratio with its quartiles."""
    if of is None or name == "floor":
        return "" if of is None else f"{of['ratio']:.2f}"
    text = f"{of['ratio']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
    return f"**{text}**" if of["ratio"] < 0.98 else text


_WRITERS: dict[str, Callable[[Result], str]] = {
    "separate-distillation": separate_distillation,
    "ablation": ablation,
    "gradient-scaling": gradient_scaling,
    "constant-cost": constant_cost,
    "a-quarter": a_quarter,
    "without-labels": without_labels,
    "mixed-index": mixed_index,
    "training-memory": training_memory,
    "embedding-table": embedding_table,
    "hidden-width": hidden_width,
    "int8-quality": int8_quality,
    "thresholds": thresholds,
    "shared-weights": shared_weights,
    "per-layer-widths": per_layer_widths,
    "export-time": export_time,
    "latency": latency,
}


def written(page: str) -> str:
    """The page with every block as its result says."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        writer = next(writer for key, writer in _WRITERS.items() if name.startswith(key))
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return f"<!-- {name} -->\n{writer(result)}\n<!-- end -->"

    return _BLOCK.sub(block, page)


def main(*options: str) -> int:
    """Write the pages, or tell whether they are up to date."""
    stale = {page: new for page in PAGES if (new := written(old := page.read_text(encoding="utf-8"))) != old}
    if "--check" in options:
        return int(bool(stale))
    for page, new in stale.items():
        page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
