"""Write the tables of docs/profiles.md, with a function for each benchmark."""

from __future__ import annotations

from benchmarks.report.tables import Result, percent, table


def profiles(result: Result) -> str:
    """Predictions, a row a case; then the other claims in words."""
    rows = [
        [
            case,
            str(of["profiles"]),
            str(of["compared"]),
            percent(of["median_error"]),
            percent(of["p95_error"]),
            percent(of["over_15_percent"]),
            f"±{percent(of['half_interval'])}",
            percent(of["held_by_the_interval"]),
            f"{percent(of['held_least'])} to {percent(of['held_most'])}",
        ]
        for case, of in result["predicted"].items()
    ]
    header = [
        "predicted",
        "profiles",
        "compared",
        "median error, %",
        "95th, %",
        "over 15 %, %",
        "interval, %",
        "holds, %",
        "each",
    ]
    twice, memory, same = result["twice"], result["memory"], result["same_decisions"]
    estimates = "; ".join(
        f"{case} {of['median']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
        for case, of in result["estimate_over_measured"].items()
    )
    decided = ", ".join(f"{case} {_mean_and_least(of)}" for case, of in same.items())
    quiet = "quiet" if result["quiet_beside_a_burning_process"] else "not quiet"
    return "\n".join(
        [
            table(header, rows),
            "",
            f"Taken twice, medians differ by {percent(twice['median_difference'])} % at the median and by "
            f"{percent(twice['p95_difference'])} % at the 95th percentile, where the first profile's own intervals "
            f"reach {percent(twice['median_half_interval'])} % either way. Beside a process that burns a core the "
            f"profile says that the machine was {quiet}. Profiled peak memory is {memory['least']:.3f} to "
            f"{memory['most']:.3f} times what an observer of /proc sees, of {memory['subnets']} subnets. The same "
            f"decision as by the first profile at random budgets: {decided}. "
            f"A board's estimate over what was measured here: {estimates}.",
        ]
    )


def _mean_and_least(shares: dict[str, float]) -> str:
    mean, least = percent(shares["mean"]), percent(shares["least"])
    return f"{mean} %" if least == mean else f"{mean} % (at least {least} %)"


def arm_commands(result: Result) -> str:
    """Write a row for each board."""
    rows = [
        [
            f"{board} (emulated)",
            of["cpu"],
            of["doctor"]["int8"].partition(":")[2].strip().partition(";")[0],
            "nothing" if not of["problems"] else ", ".join(of["problems"]),
            "yes" if of["chosen_by_itself"] else "no",
            "yes" if of["chosen_by_name"] else "no",
        ]
        for board, of in result["boards"].items()
    ]
    header = ["board", "processor", "int8", "what the doctor finds wrong", "chosen by itself", "where it is named"]
    return table(header, rows)
