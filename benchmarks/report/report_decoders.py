"""Write the tables of docs/decoders.md, with a function for each benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.tables import Result, table


def slicing_against_random(result: Result) -> str:
    """Write how many times fewer, a row for each shape and way to learn; then the curves."""
    rows, curves = [], []
    for name, shape in result["shapes"].items():
        random = shape["curves"]["random"]
        for how, times in shape["times_fewer"].items():
            found = [f"{times[key]:.1f}" if times[key] else "not reached" for key in ("step", "tokens", "flops")]
            start, end = shape["curves"][how][0]["loss"], shape["curves"][how][-1]["loss"]
            losses = [f"{random[-1]['loss']:.3f}", f"{start:.3f}", f"{end:.3f}", str(shape["curves"][how][-1]["step"])]
            rows.append([f"{name} (`{shape['subnet']}`, {shape['share']:.2f}), by {how}", *found, *losses])
        curves += [f"- {name}, {how}: {_curve(points)}" for how, points in shape["curves"].items()]
    header = ["slice", "times fewer steps", "tokens", "FLOPs", "random's last loss", "cut", "trained", "its steps"]
    title = f"Validation loss in nats a token at steps; random ones take {result['steps']}:"
    return "\n".join([table(header, rows), "", title, "", *curves])


def _curve(points: Sequence[Result]) -> str:
    """Ten points of it at most, and the last."""
    every = max(1, len(points) // 10)
    chosen = [*points[:-1:every], points[-1]]
    return ", ".join(f"{point['step']}: {point['loss']:.2f}" for point in chosen)


def decoder_distillation(result: Result) -> str:
    """Write a row for each α."""
    rows = []
    for alpha, curves in result["curves"].items():
        last = [f"{curve[-1]['loss']:.4f}" for curve in curves.values()]
        gains = ", ".join(f"{gain:+.4f}" for gain in result["below_alpha_0"][alpha])
        rows.append([alpha, *last, f"{result['last'][alpha]:.4f}", gains if float(alpha) else ""])
    seeds = [f"loss, seed {seed}" for seed in result["seeds"]]
    return table(["α", *seeds, "mean", "below α = 0, by seed"], rows)


def decoder_sizes(result: Result) -> str:
    """Write a row for each size."""
    rows = []
    for size, cut in result["sliced_alone"].items():
        own, plain = (result[side]["sizes"][size] for side in ("ours", "plain"))
        alone = result["students"].get(size)
        student = alone["sizes"][size] if alone else None
        row = [size, f"{cut['test']:,.1f}", f"{own['test']:.2f}", f"{plain['test']:.2f}"]
        row += [f"{student['test']:.2f}" if student else ""]
        row += [f"{100 * of['accuracy']:.1f}" if of else "" for of in (own, student)]
        rows.append(row + [f"{100 * of['repetition']:.0f}" if of else "" for of in (own, plain, student)])
    header = ["layer parameters", "cut alone", "ours", "plain MLFS", "student", "tokens told, %: ours", "student"]
    return table([*header, "repeated, %: ours", "plain", "student"], rows)


def decoder_resistance(result: Result) -> str:
    """Write a row for each shape, cut and repaired; then the ranks."""
    rows = []
    ordered, prefix = (result["cut"][order] for order in ("importance", "prefix"))
    for name, of in ordered.items():
        mended = [result["repaired"].get(f"{order}: {name}") for order in ("importance", "prefix")]
        losses = [f"{value:.2f}" if value else "" for value in mended]
        rows.append([name, f"{of['share']:.2f}", f"{of['loss']:.2f}", f"{prefix[name]['loss']:.2f}", *losses])
    ranks = ", ".join(
        f"{name.rpartition(', ')[2]} {value:.2f}" for name, value in result["repaired"].items() if ", rank " in name
    )
    header = ["what is left", "of the layers", "cut alone", "in plain order", "repaired", "in plain order"]
    note = f"Repaired by pairs instead of the matrices, FFN and heads narrower alike: {ranks}."
    return "\n".join([table(header, rows), "", note])


def decoder_vocabulary(result: Result) -> str:
    """Write a row for each precision."""
    rows = []
    for precision, of in result["precisions"].items():
        pairs = [of[key].values() for key in ("weights_mb", "memory_mb")]
        over = "{:.2f} ({:.2f} to {:.2f})".format(*of["trimmed_over_whole"])
        ms = [f"{values[0]:.1f}" for values in of["token_ms"].values()]
        rows.append([precision, *(f"{whole:.0f} → {trimmed:.0f}" for whole, trimmed in pairs), " → ".join(ms), over])
    whole, trimmed = result["tokens"].values()
    header = ["", "MB of weights", "MB in memory", "ms a token", "trimmed over whole"]
    return "\n".join([table(header, rows), "", f"{trimmed:,} of {whole:,} tokens are left; {result['rounds']} rounds."])


def generation_swaps(result: Result) -> str:
    """Write a sentence."""
    resident = result["resident_mb"]
    return (
        f"{result['texts']} texts, {result['tokens']:,} tokens; {result['exchanges']} exchanges, "
        f"{result['moves_in_mid_text']} moves in mid-text, in {result['texts_with_moves']} texts. "
        f"Lost: {len(result['lost'])}; garbled: {len(result['garbled'])}; cached tokens at the end: "
        f"{result['cached_tokens_at_the_end']}. Resident memory: {resident['after_a_tenth']:.1f} MB after a tenth of "
        f"the texts, {resident['at_the_end']:.1f} MB at the end."
    )


def generation_speed(result: Result) -> str:
    """Write a table for each number of threads, with a row for each engine."""
    parts = []
    for threads, of in result["threads"].items():
        rows = []
        for name, memory in of["memory"].items():
            row = [name]
            for prompt in of["prompts"].values():
                own = prompt[name]
                row += [f"{own['first_ms'][0]:,.0f} ({own['over_ours']['first_ms'][0]:.2f})"]
                row += [f"{own['tokens_a_second'][0]:.1f} ({own['over_ours']['token_ms'][0]:.2f})"]
            rows.append([*row, f"{memory['steady_mb']:.0f}", f"{memory['peak_mb']:.0f}"])
        header = [f"threads: {threads}"]
        header += [part for prompt in of["prompts"] for part in (f"first token of {prompt}, ms", "tokens a second")]
        parts.append(table([*header, "MB, steady", "peak"], rows))
    parts.append(_against_genai(result))
    answers = [of for one in result["threads"].values() for of in one["same_answers"].values()]
    others = [name for name in answers[0] if not all(of[name] for of in answers)]
    same = f"but {', '.join(others)} gives" if others else "gives"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    beside = f"the first {result['rounds_beside']} of them for what is neither ours nor onnxruntime-genai's"
    note = (
        f"Medians of {result['rounds']} rounds of {result['turns']} turns, {beside}; in brackets the time over ours of "
        "the same precision in the same turn, above 1 where ours is faster; in the last table with the rounds' "
        f"quartiles. Every fp32 way {same} the same tokens. {versions}."
    )
    skipped = f" Skipped: {', '.join(result['skipped'])}." if result["skipped"] else ""
    return "\n\n".join([*parts, note + skipped])


def _against_genai(result: Result) -> str:
    """Write a row for each number of threads, precision and prompt."""
    rows = []
    for threads, of in result["threads"].items():
        for prompt, precisions in of["against_genai"].items():
            for precision, claims in precisions.items():
                cells = (claims[way][key] for way in ("defaults", "best") for key in ("first_ms", "token_ms"))
                rows.append(
                    [threads, precision, prompt, *("{:.2f} ({:.2f} to {:.2f})".format(*cell) for cell in cells)]
                )
    ways = ("its defaults", "its best way")
    columns = [f"{way}: {time}" for way in ways for time in ("first token", "further ones")]
    return table(["onnxruntime-genai over ours: threads", "precision", "prompt", *columns], rows)
