"""Ways to attend over sequences of unequal length, and which of them is the fastest here."""

from __future__ import annotations

from functools import partial

from benchmarks.race import Bench, Run, figure, ratio, table

OURS = "patchword"
_PURPOSE = {
    OURS: "one dense call for every run of equal lengths",
    "padded": "padded to the longest, with a mask",
    "block mask": "one call over the pack, with a block-diagonal mask",
    "nested": "torch nested tensors (jagged)",
    "groups": "sorted by length, padded within groups of like length",
}


def main(bench: Bench) -> None:
    """Race on mixed and on equal lengths, with the heads of a small and of a base model."""
    tokens = 1024 if bench.quick else 8192
    repeats = 2 if bench.quick else max(5, bench.rounds)
    bench.report("## Attention over packed sequences\n")
    bench.report(
        f"Self-attention forwards and backwards, {tokens:,} tokens, heads of 64; the ways in turns, {repeats} times "
        "after a first one in which each is compared with plain softmax(q k^T / 8) v, one sequence at a time. *Mixed*: "
        "lengths 6 to 256, lognormal around 55, sorted as the loader sorts a batch; *equal*: 128 each. Index tensors "
        "and masks are made beforehand and not timed, as if shared by many layers. Milliseconds: median (least-most); "
        "beside them, how many times as long as patchword's.\n"
    )
    if _race(bench, "cpu", tokens, repeats):
        _race(bench, "cuda", tokens, repeats)
    else:
        bench.report("No CUDA device here: only the CPU was raced.\n")


def _race(bench: Bench, device: str, tokens: int, repeats: int) -> bool:
    """Race on one device; returns whether there is a CUDA device."""
    rows = [[f"{name}: {purpose}"] for name, purpose in _PURPOSE.items()]
    header = [""]
    cuda = False
    for heads in (4, 12):
        for kind in ("mixed",) if bench.quick else ("mixed", "equal"):
            run = bench.measure(
                f"attention on {device}, {heads} heads, {kind} lengths",
                partial(bench.child, "run_attention", device, heads, kind, tokens, repeats),
            )
            cuda = cuda or bool(run.values.get("cuda"))
            header += [f"{heads} heads, {kind} (ms)", "times as long"]
            for name, row in zip(_PURPOSE, rows, strict=True):
                row += _cells(run, name)
    bench.report(f"### {'CPU, fp32' if device == 'cpu' else 'CUDA, bf16'}\n")
    bench.report(table(header, rows))
    return cuda


def _cells(run: Run, name: str) -> tuple[str, str]:
    """Milliseconds of a way, and how many times as long as ours it took, repeat by repeat."""

    def runs(way: str) -> list[Run]:
        if run.failure or way not in run.values["seconds"]:
            return [Run(failure=run.failure or run.values["failures"][way])]
        return [Run({"ms": seconds * 1e3}, run.others) for seconds in run.values["seconds"][way]]

    return figure(runs(name), "ms", 1, ",.1f"), "" if name == OURS else ratio(runs(name), runs(OURS), "ms", 1)
