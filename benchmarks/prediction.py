"""Predictions for many rows, beside transformers' `pipeline`: the same folder, the same rows, the same answers."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.race import Bench, Failed, Run, figure, ratio, table

OURS, THEIRS = "patchword", "transformers"
_SETS = {
    "sentences of reviews": "sentiment-test.jsonl",
    "descriptions of software": "topics-test.jsonl",
    "pictures of emoji": "emoji-test.parquet",
}


def main(bench: Bench) -> None:
    """Race on short texts, on long ones and on pictures."""
    given = os.environ.get("PATCHWORD_DATA")
    bench.report("## Prediction\n")
    if not given:
        raise Failed("PATCHWORD_DATA names no folder with sentiment-test.jsonl, topics-test.jsonl, emoji-test.parquet")
    rows, repeats = (32, 1) if bench.quick else (512, max(5, bench.rounds))
    bench.report(
        f"Classifiers with random weights, of MiniLM's shape (6 layers, width 384) for texts and ViT-tiny's for "
        f"pictures; {rows} rows in memory, fp32, both contenders in one process, in turns, {repeats} times after a "
        "first one in which their probabilities are compared. `pipeline` takes batches of 32 rows in their order, "
        "texts cut at 256 tokens; patchword's batches are of the same limit, 8,192 tokens. From text to probabilities, "
        "or from the bytes of a PNG. Median (least-most); *faster*: patchword's rows a second over transformers', "
        "repeat by repeat.\n"
    )
    lines = []
    for name, file in _SETS.items():
        run = bench.measure(name, partial(bench.child, "run_prediction", Path(given) / file, rows, repeats))
        ours, theirs = (_runs(run, who) for who in (OURS, THEIRS))
        lines.append(
            [name, figure(theirs, "rows", 1), figure(ours, "rows", 1), ratio(ours, theirs, "rows", 1)],
        )
    bench.report(table(["rows a second", THEIRS, OURS, "faster"], lines))


def _runs(run: Run, who: str) -> list[Run]:
    if run.failure:
        return [run]
    return [Run({"rows": rows}, run.others) for rows in run.values[who]]
