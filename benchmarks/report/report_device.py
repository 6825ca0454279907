"""Write the tables of docs/runtime.md on a device's needs and answers, with a function for each benchmark."""

from __future__ import annotations

from benchmarks.report.tables import Result, percent, table


def arm(result: Result) -> str:
    """Write a row for each subnet, the boards next to this machine."""
    here, *boards = result["machines"]
    rows = []
    for precision in result["precisions"].values():
        for subnet, of in precision["members"].items():
            there = [of["boards"][board] for board in boards]
            accuracies = [percent(of["accuracy"][machine]) for machine in (here, *boards)]
            others = [str(len(board["other_labels"])) for board in there]
            farthest = [f"{board['largest_difference']:.5f}" for board in there]
            rows.append([f"`{subnet}`", *accuracies, *others, *farthest])
    header = ["subnet", f"accuracy: {here}", *(f"emulated {board}" for board in boards)]
    header += [f"{what}: {board}" for what in ("other labels", "a logit differs by at most") for board in boards]
    turns = [turn for precision in result["precisions"].values() for turn in precision["turns"].values()]
    exchanges = sum(len(turn) - 1 for turn in turns)
    said = f"{result['sentences']} test sentences. {exchanges} exchanges between answers, in {len(turns)} runs."
    return "\n".join([table(header, rows), "", said])


def install_size(result: Result) -> str:
    """Write a row for each way, then what ours adds to bare onnxruntime."""
    header = ["installed", "MB", "distributions", "imports, ms of CPU", "in use, ms of CPU", "ratio", "memory, MB"]
    rows = [
        [
            name,
            f"{of['mb']:,.0f}",
            str(of["distributions"]),
            *(f"{of[kind]['cpu_ms']['median']:,.0f}" for kind in ("imports", "in_use")),
            f"{of['in_use']['cpu_ms']['ratio']['median']:.1f}",
            f"{of['in_use']['resident_mb']['median']:,.0f}",
        ]
        for name, of in result["ways"].items()
    ]
    ours, bare = result["ways"]["edgedistill"], result["ways"]["onnxruntime"]
    more = {name.split()[0]: mb for name, mb in ours["largest"].items() if name not in bare["largest"]}
    added = ", ".join(f"{name} {mb:.1f}" for name, mb in more.items())
    said = (
        f"Ours alone takes {ours['ours_mb']:.1f} MB. The largest of what it adds to onnxruntime, in MB: {added}. "
        f"Medians of {result['repeats']} rounds; Python {result['python']} alone has "
        f"{result['interpreter']['resident_mb']['median']:.0f} MB in memory."
    )
    return "\n".join([table(header, rows), "", said])
