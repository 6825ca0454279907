"""Write the tables of docs/runtime.md, with a function for each benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.tables import Result, percent, table


def overhead(result: Result) -> str:
    """Write a row for each size."""

    def between(of: Sequence[float], sign: str) -> str:
        value, low, high = of
        return f"{value:{sign},.0f} ({low:{sign},.0f} to {high:{sign},.0f})"

    def tail_of(of: Result) -> list[str]:
        return [f"{of['plain_us']:,.0f}", between(of["over_us"], "+"), between(of["plain_apart_us"], "")]

    rows = [
        [
            f"{size}, `{of['subnet']}`",
            f"{of['p50_us']:,.0f}",
            between(of["over_us"], "+"),
            f"{of['over_share']:+.2%}",
            *(part for tail in ("p99", "p99_of_all") for part in tail_of(of[tail])),
        ]
        for size, of in result["sizes"].items()
    ]
    tail = ["adaptive − plain", "two plain apart"]
    header = ["subnet", "plain, µs", "adaptive − plain", "share", "99th: plain", *tail, "of all runs: plain", *tail]
    return table(header, rows)


def reaction(result: Result) -> str:
    """Write the steps, then what loads and swaps do to requests."""

    def seconds(of: Sequence[float | None] | None) -> str:
        if of is None:
            return "not measured: no control group"
        return ", ".join("none" if value is None else f"{value:.2f}" for value in of)

    beside = result["beside_loads"]
    rows = [
        [
            f"`{name}`",
            *map(str, of["requests"]),
            f"{of['without_ms']:.2f}",
            f"{of['beside_ms']:.2f}",
            f"{of['ratio']:.2f}",
        ]
        for name, of in sorted(beside["p99_by_subnet"].items())
    ]
    p50, p90, p99 = beside["exchange_us"]
    header = [
        "subnet that answered",
        "requests without loads",
        "beside loads",
        "p99 without, ms",
        "beside, ms",
        "ratio",
    ]
    return "\n".join(
        [
            f"Seconds to the first answer by another subnet, after processes began to burn: "
            f"{seconds(result['load_step_s'])}; after what served fitted no more: "
            f"{seconds(result['first_late_s'])}; after memory was taken: {seconds(result['memory_step_s'])}.",
            f"{beside['exchanges']} exchanges took {p50:.0f} µs at the median, {p90:.0f} at the 90th percentile, "
            f"{p99:.0f} at the 99th; loads {beside['load_ms'][0]:.0f} ms at the median, {beside['load_ms'][2]:.0f} at "
            f"the 99th.",
            "",
            table(header, rows),
        ]
    )


def oracle(result: Result) -> str:
    """Write a row for each contender, with a pair of columns for each recording."""
    groups = {"all": result["all"], **result["each"]}
    fixed = {name: f"always `{name}`" for name in result["all"]["fixed"]}
    rows = []
    for kind, names in (
        ("contenders", {"oracle": "oracle", "ours": "**ours**", "rule": "plain rule"}),
        ("fixed", fixed),
    ):
        for name, words in names.items():
            cells = [
                f"{percent(of[kind][name]['right_in_time'])} / {percent(of[kind][name]['late'])}"
                for of in groups.values()
            ]
            rows.append([words, percent(result["accuracy"][name]) if kind == "fixed" else "", *cells])
    regained = [f"{of['regained']:.2f}" if of["regained"] is not None else "" for of in groups.values()]
    rows.append(["regained of oracle − best fixed", "", *regained])
    rows.append(["swaps of ours", "", *(str(of["swaps"]) for of in groups.values())])
    lengths = ", ".join(f"{kind} {value:.0f} s" for kind, value in result["seconds"].items())
    return "\n".join(
        [
            table(["contender", "accuracy", *groups], rows),
            "",
            f"Right and in time / not served in time, in %. Budget {result['budget_ms']:.1f} ms for "
            f"{result['request']['texts']} texts of {result['request']['tokens']} tokens. Recordings: {lengths}.",
        ]
    )


def stress(result: Result) -> str:
    """Write a row for each kind of failure."""
    rows = [[kind, str(times)] for kind, times in sorted(result["injected"].items())]
    swaps, files = result["swaps"], result["open_files"]
    missed = ", ".join(f"{kind} ({times})" for kind, times in result["missed"].items()) or "nothing"
    return "\n".join(
        [
            table(["what went wrong", "times"], rows),
            "",
            f"{result['requests']:,} requests in {result['seconds']:.0f} s, of {result['clients']['threads']} threads "
            f"and {result['clients']['tasks']} asyncio tasks: {result['lost']} lost, {result['wrong']} wrong, "
            f"{result['unknown']} by a subnet that there is not. {swaps['all']:,} swaps, {swaps['decided']} of them by "
            f"the session's own decisions. Did not come to what it should in time: {missed}. Threads: "
            f"{result['most_threads']} at most; open files: {files['start']}, at the end {files['end']}.",
        ]
    )


def replacements(result: Result) -> str:
    """Write a row for each way of copying."""
    keys = ("replacements", "served", "answered", "lost", "wrong", "deaths")
    rows = [
        [f"`{name}`", *(f"{of[key]:,}" for key in keys), " / ".join(f"{value:.1f}" for value in of["seconds"])]
        for name, of in result["ways"].items()
    ]
    header = ["way", "replacements", "new palette served", "requests answered", "lost", "wrong", "deaths"]
    return table([*header, "s until served: least / median / most"], rows)


def private_copy(result: Result) -> str:
    """Write a row for each figure, in place and from the copy."""
    rows = [
        [name, *(" / ".join(f"{value:,.0f}" for value in of[way]) for way in ("in place", "private copy"))]
        for name, of in result["figures"].items()
    ]
    return table(["least / median / most", "in place", "private copy"], rows)


def memory_returns(result: Result) -> str:
    """Memory after swaps and at most, a row a budget; then a row a limit and how it came."""

    def cells(of: Result) -> list[str]:
        budget = "none" if of["budget_mb"] is None else f"{of['budget_mb']:.0f}"
        ratio, low, high = of["ratio"]
        megabytes = [f"{of[key][0]:.1f}" for key in ("before_any_subnet_mb", "first_mb", "last_mb")]
        most = [f"{of[key][2]:.1f}" for key in ("most_sampled_mb", "most_mb")]
        swaps = " to ".join(map(str, sorted({min(of["swaps"]), max(of["swaps"])})))
        return [budget, f"`{of['largest']}`", swaps, *megabytes, f"{ratio:.3f} ({low:.3f} to {high:.3f})", *most]

    header = ["budget, MB", "largest", "swaps", "before any subnet, MB", "first, MB", "last, MB", "last ÷ first"]
    header += ["taken at most, sampled", "by the kernel's peak too"]
    swaps = table(header, [cells(of) for of in (result["swapped"], *result["budgets"])])
    if result["limits"] is None:
        return f"{swaps}\n\nUnder limits: not measured, no control group."
    limits = [
        [
            kind,
            f"{under['limit_mb']:.1f}",
            f"{of['killed']} of {of['processes']}",
            ", ".join(f"`{name}`" for name in of["answers"]) or "none",
            str(of["fewest_answers"]),
        ]
        for under in result["limits"]["shares_of_the_largest"].values()
        for kind, of in under.items()
        if kind != "limit_mb"
    ]
    return f"{swaps}\n\n{table(['limit', 'MB', 'killed', 'answered by', 'fewest answers'], limits)}"
