"""Writing text, beside transformers' `generate`: the prompts, and then token after token."""

from __future__ import annotations

from functools import partial

from benchmarks.race import Bench, Run, figure, ratio, table

OURS, THEIRS = "patchword", "transformers"
_BATCHES = {
    "1 prompt of 64": (64,),
    "16 prompts of 64": (64,) * 16,
    "16 prompts of 16 to 128": tuple(range(16, 128, 7)),
}


def main(bench: Bench) -> None:
    """Race at batch 1 and 16, prompts of equal and of unequal length."""
    new, repeats = (4, 2) if bench.quick else (33, max(5, bench.rounds))
    shape = "gpt2-tiny" if bench.quick else "gpt2"
    bench.report("## Writing\n")
    bench.report(
        f"{shape}'s shape with random weights, fp32, greedy, {new} new tokens; both contenders in one process, in "
        f"turns, {repeats} times after a first one in which their tokens are compared. *Prompts*: milliseconds until "
        "the first new token. *Token*: milliseconds for each one after it, of all prompts together. Median "
        "(least-most); *faster*: transformers' over patchword's, repeat by repeat.\n"
    )
    rows = []
    for name, lengths in _BATCHES.items():
        run = bench.measure(
            name, partial(bench.child, "run_generation", shape, new, repeats, ",".join(map(str, lengths)))
        )
        row = [name]
        for part in ("prompts", "token"):
            ours, theirs = (_runs(run, part, who) for who in (OURS, THEIRS))
            row += [figure(theirs, "ms", 1, ",.1f"), figure(ours, "ms", 1, ",.1f"), ratio(theirs, ours, "ms", 1)]
        rows.append(row)
    header = [""]
    for part in ("prompts", "token"):
        header += [f"{part}, {THEIRS}", f"{part}, {OURS}", "faster"]
    bench.report(table(header, rows))


def _runs(run: Run, part: str, who: str) -> list[Run]:
    if run.failure:
        return [run]
    return [Run({"ms": 1e3 * seconds}, run.others) for seconds in run.values[part][who]]
