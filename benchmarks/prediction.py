"""Predictions for many rows, beside transformers' `pipeline` and onnxruntime: the same folder, the same rows."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.race import Bench, Failed, Run, figure, ratio, table

OURS, THEIRS, PADDED = "patchword", "transformers", "onnxruntime"
OURS_INT8, PADDED_INT8 = f"{OURS} int8", f"{PADDED} int8"
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
        f"pictures; {rows} rows in memory, all contenders in one process, in turns, {repeats} times after a first one "
        "in which the probabilities of those in fp32 are compared. `pipeline` takes batches of 32 rows in their order, "
        "texts cut at 256 tokens; so does onnxruntime, over the file of `patchword export`, padded to the longest text "
        "of a batch; patchword's batches are of the same limit, 8,192 tokens. From text to probabilities, or from the "
        "bytes of a PNG. Median (least-most) of rows a second; then patchword's over another's, repeat by repeat.\n"
    )
    lines = []
    for name, file in _SETS.items():
        run = bench.measure(
            name, partial(bench.child, "run_prediction", Path(given) / file, rows, repeats, timeout=3600.0)
        )
        runs = {who: _runs(run, who) for who in (THEIRS, PADDED, OURS, PADDED_INT8, OURS_INT8)}
        races = (OURS, THEIRS), (OURS, PADDED), (OURS_INT8, PADDED_INT8)
        lines.append(
            [
                name,
                *(figure(of, "rows", 1) for of in runs.values()),
                *(ratio(runs[one], runs[other], "rows", 1) for one, other in races),
            ]
        )
    heads = ["rows a second", THEIRS, PADDED, OURS, PADDED_INT8, OURS_INT8]
    bench.report(table([*heads, f"over {THEIRS}", f"over {PADDED}", "int8 over int8"], lines))


def _runs(run: Run, who: str) -> list[Run]:
    if run.failure:
        return [run]
    return [Run({"rows": rows}, run.others) for rows in run.values[who]]
