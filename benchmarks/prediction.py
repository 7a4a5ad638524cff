"""Predictions for many rows, beside transformers' `pipeline` and onnxruntime: the same folder, the same rows."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.race import Bench, Failed, Run, figure, ratio, table

OURS, THEIRS, PADDED = "patchword", "transformers", "onnxruntime"
OURS_INT8, PADDED_INT8 = f"{OURS} int8", f"{PADDED} int8"
OURS_BF16, THEIRS_BF16 = f"{OURS} bf16", f"{THEIRS} bf16"
ALL = (THEIRS, THEIRS_BF16, PADDED, PADDED_INT8, OURS, OURS_BF16, OURS_INT8)
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
        "of a batch; patchword's batches stay within that limit of 8,192 tokens. From text to probabilities, or from "
        "the bytes of a PNG. bf16 only where the hardware runs it fast: `--precision auto` and `dtype=torch.bfloat16`. "
        "Median (least-most) of rows a second; then one's over another's, repeat by repeat.\n"
    )
    races = [
        (OURS, THEIRS),
        (OURS_BF16, THEIRS),
        (OURS_BF16, THEIRS_BF16),
        (OURS, PADDED),
        (OURS_INT8, PADDED_INT8),
        (OURS_INT8, THEIRS),
    ]
    found = {}
    for name, file in _SETS.items():
        work = partial(bench.child, "run_prediction", Path(given) / file, rows, repeats, timeout=3600.0)
        found[name] = bench.measure(name, work)
    given_up = set() if any(OURS_BF16 in run.values for run in found.values()) else {OURS_BF16, THEIRS_BF16}
    ran = [who for who in ALL if who not in given_up]
    races = [(one, other) for one, other in races if {one, other} <= {*ran}]
    speeds, ratios = [], []
    for name, run in found.items():
        of = {who: _runs(run, who) for who in ran}
        speeds.append([name, *(figure(runs, "rows", 1) for runs in of.values())])
        ratios.append([name, *(ratio(of[one], of[other], "rows", 1) for one, other in races)])
    bench.report(table(["rows a second", *ran], speeds))
    bench.report(table(["times as fast", *(f"{one} / {other}" for one, other in races)], ratios))


def _runs(run: Run, who: str) -> list[Run]:
    if run.failure:
        return [run]
    return [Run({"rows": rows}, run.others) for rows in run.values[who]]
