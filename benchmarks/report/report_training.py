"""Write the tables of docs/training.md, with a function for each benchmark."""

from __future__ import annotations

from benchmarks.report.tables import Result, interval, percent, table


def separate_distillation(result: Result) -> str:
    """Write a row for each size, and the rounds below."""
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
    where = "one core" if result["device"] == "cpu" else "a GPU machine beside up to fifteen other runs"
    return "\n".join(
        [
            table(header, rows),
            "",
            *_on_the_published(result),
            f"Mean difference, students given a sixth of the palette's cost, and multiples of that: {means}.",
            f"Palette: {result['palette_flops']:.3g} FLOPs in {'+'.join(map(str, result['palette_steps']))} steps, "
            f"{result['palette_wall_s']:.0f} s on {where}, products in {result['precision']}; "
            f"the teacher's pass {result['teacher_flops']:.3g}; "
            f"all twelve students of a sixth {wall:.0f} s, without the search for their learning rates.",
        ]
    )


def _on_the_published(result: Result) -> list[str]:
    """Write the scores on the published texts, where there are other test texts too."""
    tests = result.get("tests")
    if tests is None or tests["all"] == tests["published"]:
        return []
    pairs = [size["published"] for size in result["students_at_multiples_of_a_sixth"]["1"]["sizes"].values()]
    scores = ", ".join(f"{percent(ours)} and {percent(theirs)}" for ours, theirs in pairs)
    return [f"On the {tests['published']} published test texts alone, palette and better student: {scores}."]


def ablation(result: Result) -> str:
    """Write a row for each variant: its difference from the base."""
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
    """Write the minnet's loss at the curve's quarters and its end."""
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
    """Write a row for each space."""
    spaces = result["spaces"]
    names = list(next(iter(spaces.values()))["scores"])
    rows = [
        [members, *(percent(found["scores"][name]) for name in names), interval(found["mean_difference_from_6"])]
        for members, found in spaces.items()
    ]
    return table(["members", *names, "mean − that of 6"], rows)


def a_quarter(result: Result) -> str:
    """Write a row for each question."""
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
    """Write a row for each size."""
    rows = [
        [size, percent(of["with"]), percent(of["without"]), interval(of["difference"])]
        for size, of in result["sizes"].items()
    ]
    return table(
        ["size", "with labels", "without", "difference"], [*rows, ["mean", "", "", interval(result["mean_difference"])]]
    )


def mixed_index(result: Result) -> str:
    """Write a row for each member."""
    rows = [
        [size, percent(result["spearman"][size]), percent(of[size]), percent(of["1/1"])]
        for size, of in result["recall"].items()
    ]
    return table(["member", "Spearman on STS-B", "recall@10, own index", "in the full size's"], rows)


def regression_scales(result: Result) -> str:
    """Write a row for each member on each scale, its answers scaled back, and one for the rival."""
    names = ("mean_absolute_error", "spearman", "pearson")

    def scores(found: Result) -> list[str]:
        return [f"{found[name]:.4f}" for name in names]

    rows = []
    for member in next(iter(result["sets"].values()))["members"]:
        for scale, found in result["sets"].items():
            of_member = found["members"][member]
            rows.append([f"`{member}`", scale, *scores(of_member), f"{of_member['moved']:.4f}"])
    rows.append(["the mean of train", "any", *scores(result["mean_of_train"]), ""])
    header = ["member", "labels", "mean absolute error", "Spearman", "Pearson", "answers moved by"]
    largest = f"Largest relative difference of a score from that of the labels as they are: {result['difference']:.2%}."
    return "\n".join([table(header, rows), "", largest])


def training_memory(result: Result) -> str:
    """Write a row for each family."""
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
    """Write a row for each table."""
    tables = result["tables"]
    sizes = list(tables["whole"]["scores"])
    rows = [
        [name, f"{of['table_parameters'] / 1e6:.2f} M", *(percent(of["scores"][size]) for size in sizes)]
        for name, of in tables.items()
    ]
    return table(["table", "parameters", *sizes], rows)


def hidden_width(result: Result) -> str:
    """Write a row for each size, with a column for each space."""
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


def per_layer_widths(result: Result) -> str:
    """Write a row for each size."""
    rows = []
    for size, of in result["sizes"].items():
        scores = [percent(of[split][kind]) for split in ("validation", "test") for kind in ("uniform", "best")]
        rows.append([size, *scores, interval(of["difference"])])
    header = ["size", "uniform, validation", "best unequal", "uniform, test", "best unequal", "difference"]
    return table(header, rows)


def multi_label(result: Result) -> str:
    """Return a row for everything that answers, and what a palette says of its members' scores."""

    def row(name: str, scored: Result, more: tuple[str, str]) -> list[str]:
        low, high = (percent(value) for value in scored["interval"])
        micro = f"{percent(scored['micro_f1'])} ({low} to {high})"
        return [name, *more, micro, percent(scored["macro_f1"]), percent(scored["at_half"]["micro_f1"])]

    members = result["members"]
    rows = [row("teacher", result["teacher"], ("", ""))]
    rows += [
        row(f"`{name}`", member, (f"{member['layer_parameters'] / 1e6:.2f} M", f"{member['size_mb']:.1f}"))
        for name, member in members.items()
    ]
    rows += [row(f"logistic regressions, {kind}", scored, ("", "")) for kind, scored in result["linear"].items()]
    header = ["answers by", "layers", "MB", "micro F1 (95 %)", "macro F1", "micro F1 at 0.5"]
    errors = [f"{100 * member['calibration_error'][1]:.2f}" for member in members.values()]
    differ = [f"{100 * member['other_labels']:.1f}" for member in members.values()]
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{result['labels']} labels, {result['labels_a_text']:.2f} a text; "
            f"{', '.join(f'{count:,}' for count in result['texts'])} texts to train, validate and test; "
            f"{' + '.join(map(str, result['steps']))} steps. Calibration error of the members, in points: "
            f"{', '.join(errors)}. Texts with other labels than the largest member's, in %: {', '.join(differ)}.",
        ]
    )
