"""Write the tables of docs/exporting.md, with a function for each benchmark."""

from __future__ import annotations

from statistics import median

from benchmarks.report.tables import Result, interval, percent, table


def int8_quality(result: Result) -> str:
    """Write a row for each member."""
    rows = []
    for name, of in result["members"].items():
        sizes = [f"{of['size_mb'][precision]:.1f}" for precision in ("fp32", "int8")]
        flips = "" if of["answers_that_differ"] is None else percent(of["answers_that_differ"])
        rows.append([f"`{name}`", percent(of["fp32"]), percent(of["int8"]), interval(of["difference"]), flips, *sizes])
    return table(["member", "fp32", "int8", "int8 − fp32", "answers that differ, %", "MB, fp32", "int8"], rows)


def rejection(result: Result) -> str:
    """Write a row for each member: its calibration, and what it accepts less what the first member does."""
    first = next(iter(result["members"]))
    rows = []
    for name, member in result["members"].items():
        row = [f"`{name}`", percent(member["flip_rate"])]
        row += [f"{percent(member['error_before'])} → {percent(member['error'])}"]
        row += [f"{member['area_by_probability']:.3f} → {member['area_by_energy']:.3f}"]
        for of in result["accepting"].values():
            theirs = of[first]["out_of_scope"]
            gaps = [100 * (of[name][key] - theirs) for key in ("out_of_scope", "out_of_scope_by_the_first")]
            row += [
                percent(theirs) if name == first else f"{gaps[0]:+.1f} ({gaps[1]:+.1f})",
                percent(of[name]["in_scope"]),
            ]
        rows.append(row)
    header = ["member", "other labels, %", "calibration error, %", "area: probability → energy"]
    for passing in result["accepting"]:
        header += [f"pass of {float(passing):.0%}", "in scope"]
    chance = "; ".join(
        f"told {float(passing):.0%}, {100 * _furthest(result['accepting'][passing], first):.1f} here, by chance "
        f"{100 * by['median']:.1f} at the median and {100 * by['p95']:.1f} in one case of twenty"
        for passing, by in result["by_chance"].items()
    )
    smallest = result["smallest"]
    told = "; ".join(
        f"told {float(passing):.0%}, {percent(of[first])}% of these and "
        f"{percent(result['accepting'][passing][smallest]['in_scope'])}% of those in scope"
        for passing, of in result["classified"].items()
    )
    furthest = max(abs(share - of[first]) for of in result["classified"].values() for share in of.values())
    longer = ", ".join(f"`{name}` {ratio[0]:.2f}" for name, ratio in result["second_run"].items())
    return "\n".join(
        [
            f"A classifier lets pass, whichever member answers, by `{smallest}`: {told}. The furthest member from the "
            f"first, in points: {100 * furthest:.1f}. How many times as long a text takes: {longer}.",
            "",
            table(header, rows),
            "",
            f"By each one's own threshold, the furthest from the first, in points: {chance}.",
        ]
    )


def _furthest(passed: Result, first: str) -> float:
    """Return the largest difference in what members accept."""
    return float(max(abs(of["out_of_scope"] - passed[first]["out_of_scope"]) for of in passed.values()))


def shared_weights(result: Result) -> str:
    """Write a row for each model and precision; then the members of each."""
    rows = []
    for name, of in result["models"].items():
        disk = [f"{of['disk_mb'][kind]:,.0f}" for kind in ("family", "stand_alone")]
        ratios = [of[key] for key in ("load_ratio_at_the_median", "memory_ratio_at_the_median", "largest_memory_ratio")]
        rows.append([name, *disk, f"{of['disk_over_largest']:.3f}", *(f"{ratio:.2f}" for ratio in ratios)])
    header = ["twelve subnets of", "MB, shared", "MB, alone", "shared over the largest alone"]
    return table([*header, "load, median", "memory, median", "memory, worst"], rows)


def export_time(result: Result) -> str:
    """Write a row for each model; then where our time goes, and what theirs ran on."""

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


def torch_export(result: Result) -> str:
    """Write a row for each member: how far both graphs' outputs are apart, and the time for one graph."""
    rows = [
        [f"`{name}`", f"{of['largest_difference']:.1e}", f"{1e3 * of['seconds']:.0f}", f"{of['seconds_by_torch']:.0f}"]
        for name, of in result["members"].items()
    ]
    return table(["member", "largest difference", "ms, ours", "s, torch's exporter"], rows)


def latency(result: Result) -> str:
    """Write a row for each subnet and length, in bold if 2 % faster than ours; then fusions and what was skipped."""
    models = result["models"]
    names = list(dict.fromkeys(name for of in _lengths(result) for name in of["ratios"]))
    rows = []
    for model, subnets in models.items():
        for size, found in subnets.items():
            for tokens, of in found["lengths"].items():
                cells = [_beside(of["ratios"].get(name), name) for name in names]
                rows.append([f"{model}, {size}", tokens, f"{of['ms']:.2f}", *cells])
    best = sorted(of["best_onnx"]["ratio"] for of in _lengths(result))
    faster = sum(ratio < 0.98 for ratio in best)
    left_out = "".join(f" Without {name}: {reason}." for name, reason in result["skipped"].items())
    fused = next(iter(next(iter(models.values())).values()))["fused"]
    counts = "; ".join(f"{way}: {', '.join(f'{n} {kind}' for kind, n in of.items())}" for way, of in fused.items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n".join(
        [
            table(["subnet", "tokens", "ms, shared", *names], rows),
            "",
            f"Ratios to our graph, medians of {result['rounds']} rounds with quartiles. The best ONNX variant by one "
            f"half of them takes, in the other half, {best[0]:.3f} to {best[-1]:.3f} times ours, {median(best):.3f} at "
            f"the median, less than 0.98 in {faster} of {len(best)} rows. Medians over all rows, and in how many a "
            f"ratio is less than 0.98: {_over_all(result)}. Fused nodes at full size of the first: {counts}. "
            f"Floor: {result['billion_macs_a_second']:.0f} billion multiply-accumulates a second. "
            f"{versions}.{left_out}",
        ]
    )


def _over_all(result: Result) -> str:
    """Write the figures of each ONNX variant, our own second session included."""
    ratios: dict[str, list[float]] = {}
    for of in _lengths(result):
        for name, found in of["ratios"].items():
            if name.startswith(("shared weights, again", "alone", "optimizer")):
                ratios.setdefault(name, []).append(found["ratio"])
    return "; ".join(f"{name} {median(of):.3f}, {sum(ratio < 0.98 for ratio in of)}" for name, of in ratios.items())


def _lengths(result: Result) -> list[Result]:
    """Return every comparison of the result."""
    return [
        of for subnets in result["models"].values() for found in subnets.values() for of in found["lengths"].values()
    ]


def _beside(of: Result | None, name: str) -> str:
    """Format a ratio with its quartiles."""
    if of is None or name == "floor":
        return "" if of is None else f"{of['ratio']:.2f}"
    text = f"{of['ratio']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
    return f"**{text}**" if of["ratio"] < 0.98 else text
