"""`python -m benchmarks.sizes`: does `--model auto` choose well? Every size of its ladder learns for the same time.

Masked (`--task causal-lm`: next) words of `PATCHWORD_DATA`'s corpora, each with a vocabulary learnt from it. A run is
kept in `--results` as soon as it is there, and the same command goes on. Then the law of `training/sizing.py` is fitted
to all runs, and what it would choose in each case is put beside the best of the runs: its constants are those of the
last fit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.kept import Kept
from patchword.training.sizing import LADDERS, Law, worth

CORPORA = ("corpus_software", "corpus_general")
_STEPS = 150
"""In fewer, a model has hardly learnt more than how frequent each word is."""


@dataclass(frozen=True)
class Run:
    """One size with one budget.

    Args:
        corpus, preset, seconds, batch_tokens: of what.
        numbers: in the model's layers.
        unique: tokens of the corpus.
        tokens: that were read.
        loss: held-out, in nats a hidden word.
    """

    corpus: str
    preset: str
    seconds: float
    batch_tokens: int
    numbers: int
    unique: int
    tokens: int
    loss: float

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What it is a run of."""
        return self.corpus, self.preset, self.seconds, self.batch_tokens


def run(corpus: str, preset: str, seconds: float, batch_tokens: int) -> Run:
    """`pw.pretrain`."""
    import patchword as pw
    from patchword.training.matrices import matrices

    data = Path(os.environ["PATCHWORD_DATA"]) / f"{corpus}.parquet"
    with tempfile.TemporaryDirectory(prefix="sizes-") as folder:
        done = pw.pretrain(
            data,
            where="split=train",
            model=preset,
            out=Path(folder) / "run",
            max_length=128,
            minutes=seconds / 60,
            batch_tokens=batch_tokens,
            evaluations=3,
            quiet=True,
        )
        card = json.loads((done.folder / "patchword.json").read_text())
    numbers = sum(parameter.numel() for parameter in matrices(done.model))
    report = done.report
    unique = card["data"]["tokens"]
    loss = report["validation"]["loss"]
    return Run(corpus, preset, seconds, batch_tokens, numbers, unique, report["tokens"], loss)


def fit(runs: Sequence[Run]) -> tuple[Law, dict[str, float]]:
    """The law with the least squares of relative errors, and each corpus' own floor.

    Its powers are those of Hoffmann et al.: a grid of minutes is too small to tell them from its floors.

    Args:
        runs: of one corpus or several, that differ by their floors; those of few steps are left out.
    """
    runs = [one for one in runs if one.tokens >= _STEPS * one.batch_tokens]
    corpora = sorted({one.corpus for one in runs})
    losses = np.array([one.loss for one in runs])
    terms = [
        [
            *(float(one.corpus == corpus) for corpus in corpora),
            one.numbers**-Law.size_power,
            worth(one.tokens, one.unique) ** -Law.data_power,
        ]
        for one in runs
    ]
    relative = np.array(terms) / losses[:, None]
    found, *_ = np.linalg.lstsq(relative, np.ones(len(runs)), rcond=None)
    *floors, size, data = found.tolist()
    free = len(runs) - len(found)  # none: the law goes through all runs, which says nothing of how far off it is
    spread = float(np.sqrt(np.square(relative @ found - 1).sum() / free)) if free > 0 else float("nan")
    return Law(float(np.mean(floors)), size, data, spread), dict(zip(corpora, floors, strict=True))


def table(runs: Sequence[Run], law: Law, names: Sequence[str]) -> str:
    """Losses by corpus and budget, the size that the law prefers, and by how much the best of all is better."""
    lines = ["| | " + " | ".join(names) + " | chosen | worse than the best by |"]
    lines += ["| --- |" + " ---: |" * (len(names) + 2)]
    for corpus, seconds in sorted({(one.corpus, one.seconds) for one in runs}):
        mine = [one for one in runs if (one.corpus, one.seconds) == (corpus, seconds)]
        of = {name: min((o for o in mine if o.preset == name), key=lambda o: o.loss, default=None) for name in names}
        there = [one for one in of.values() if one is not None]
        if len(there) < 2:
            continue
        chosen = min(there, key=lambda one: law.loss(one.numbers, worth(one.tokens, one.unique)))
        cells = ["" if one is None else f"{one.loss:.3f} ({one.tokens / 1e6:.1f} M)" for one in of.values()]
        behind = chosen.loss / min(one.loss for one in there) - 1
        lines.append(f"| {corpus}, {seconds:g} s | " + " | ".join([*cells, chosen.preset, f"{behind:.1%}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing in the results, then fit and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--corpora", nargs="+", default=CORPORA, choices=CORPORA)
    parser.add_argument("--task", default="masked-lm", choices=LADDERS)
    parser.add_argument("--presets", nargs="+", metavar="NAME", help="all of the task's if not given")
    parser.add_argument("--seconds", nargs="+", type=float, default=[40.0, 120.0, 300.0])
    parser.add_argument("--batch-tokens", nargs="+", type=int, default=[2048])
    parser.add_argument("--results", type=Path, default=Path("sizes.jsonl"), help="kept here, and gone on with")
    given = parser.parse_args()
    names = LADDERS[given.task].presets
    if unknown := set(given.presets or ()) - set(names):
        parser.error(f"no preset {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    kept = Kept(given.results, Run)
    for corpus in given.corpora:
        for seconds in given.seconds:
            for preset in given.presets or names:
                for batch_tokens in given.batch_tokens:
                    if (corpus, preset, seconds, batch_tokens) not in kept:
                        one = run(corpus, preset, seconds, batch_tokens)
                        print(*asdict(one).values(), flush=True)
                        kept.add(one)
    runs = [one for one in kept.results if one.preset in names]
    law, floors = fit(runs)
    print(law, floors)
    print(table(runs, law, names))


if __name__ == "__main__":
    main()
