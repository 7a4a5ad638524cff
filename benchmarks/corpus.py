"""A large corpus: how fast a vocabulary is learnt and a token store is built, and in how much memory."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.race import Bench, Failed, Run, figure, table, why_not

_WORDS = 60_000
_ZIPF = 1.07  # exponent; English has about 1
_BLOCK = 2_000_000  # words drawn at once
_SLOTS = 1 << 22  # into which Zipf's law is cut
_ONSETS = "b c d f g h j k l m n p r s t v w z ch sh th st br tr gr pl cl str"
_VOWELS = "a e i o u ai ea ou io ee"
_CODAS = "n r s t l m d ng nd st rt ck"
_KILL_AT = 0.5


def main(bench: Bench) -> None:
    """Generate, learn, build, open again, kill and go on."""
    size = int(bench.gigabytes * 1e9)
    bench.report("## A large corpus: vocabulary and token store\n")
    large, small = bench.folder / "large.txt", bench.folder / "small.txt"
    write_corpus(large, size)
    with large.open("rb") as read, small.open("wb") as write:
        write.write(read.read(size // 10).rpartition(b"\n")[0])
    bench.tell(f"wrote a corpus of {large.stat().st_size / 1e9:.2f} GB")
    bench.report(
        f"Text of {_WORDS:,} made-up words that follow Zipf's law (exponent {_ZIPF}), in paragraphs: one file of "
        f"{large.stat().st_size / 1e9:.2f} GB, and its first tenth. Each row a process of its own, once; memory is "
        "the most that the process held (before it began its work, in brackets).\n"
    )

    def build(name: str, file: Path, cache: str, *more: str) -> Run:
        def fresh() -> Mapping[str, Any]:
            shutil.rmtree(bench.folder / cache, ignore_errors=True)
            return _child(bench, "build", file, *more, cache=cache)

        return bench.measure(f"build the store of {name}", fresh)

    files = {"a tenth": small, "the whole": large}
    learnt = {
        name: bench.measure(f"learn a vocabulary from {name}", partial(_child, bench, "learn", file))
        for name, file in files.items()
    }
    built = {name: build(name, file, file.stem) for name, file in files.items()}
    again = bench.measure("open the store of the whole", partial(_child, bench, "build", large, cache=large.stem))
    by_lines = build("a tenth, a document a line", small, "lines", "--lines")
    resumed, killed_at = _killed(bench, small, built["a tenth"])
    rows = [
        *(_row(f"vocabulary of {name}", run) for name, run in learnt.items()),
        *(_row(f"token store of {name}", run) for name, run in built.items()),
        _row("token store of a tenth, each line a document", by_lines),
        _row("second start: the store of the whole is there", again),
        _row(f"token store of a tenth, going on after SIGKILL at {killed_at:.0%}", resumed),
    ]
    bench.report(table(["", "seconds", "MB/s", "peak memory"], rows))
    _conclusions(bench, learnt, built, again, resumed)


def _child(bench: Bench, what: str, file: Path, *more: str, cache: str = "none") -> Mapping[str, Any]:
    return bench.child("run_corpus", what, file, bench.folder / "tokenizer", bench.folder / cache, *more)


def _row(name: str, run: Run) -> list[str]:
    if run.failure:
        return [name, why_not([run]), "", ""]
    memory = f"{run.values['memory'] / 1e9:.2f} GB ({run.values['at_rest'] / 1e9:.2f} GB)"
    rate = figure([run], "rate", 1, ",.1f").removesuffix(" (one run)") if run.values.get("rate") else ""
    return [name, figure([run], "seconds", 1, ",.1f").removesuffix(" (one run)"), rate, memory]


def _conclusions(bench: Bench, learnt: Mapping[str, Run], built: Mapping[str, Run], again: Run, resumed: Run) -> None:
    def growth(runs: Mapping[str, Run]) -> str:
        few, many = runs["a tenth"].values, runs["the whole"].values
        return f"{many['memory'] / few['memory']:.2f} x" if few and many else "unknown"

    whole, tenth = built["the whole"].values, built["a tenth"].values
    lines = [
        f"- Peak memory of the whole over that of a tenth: vocabulary {growth(learnt)}, store {growth(built)} "
        "(flat is 1).",
    ]
    if whole:
        lines.append(
            f"- Store: {whole['bytes_per_token']:.2f} bytes a token ({whole['tokens']:,} tokens, vocabulary of "
            f"{whole['vocabulary']:,}); a promise of the design: at most 4."
        )
    if again.counts:
        lines.append(
            f"- Second start: {again.values['process']:.1f} s from the start of the process to an open store, "
            f"{again.values['seconds']:.1f} s of them for the corpus (its content is hashed)."
        )
    if resumed.values and tenth:
        same = resumed.values["digest"] == tenth["digest"]
        lines.append(
            f"- After the kill {resumed.values['found']:,} of {tenth['documents']:,} documents were done already and "
            f"not done again; the store is {'bit by bit the same' if same else 'ANOTHER'} as the uninterrupted one."
        )
    bench.report("\n".join(lines) + "\n")


def _killed(bench: Bench, file: Path, uninterrupted: Run) -> tuple[Run, float]:
    """Kill a build in the middle, then let it go on: the second run, and the share that the first had done."""
    if uninterrupted.failure:
        return Run(failure="there is no store to compare with"), 0.0
    documents = uninterrupted.values["documents"]
    arguments = ("build", file, bench.folder / "tokenizer", bench.folder / "killed")
    with bench.started("run_corpus", *arguments) as (process, _):
        try:
            done = _wait_for(process, bench.folder / "killed", _KILL_AT * documents)
        except Failed as error:
            return Run(failure=str(error)), 0.0
        process.kill()
        process.wait()
    bench.tell(f"killed the build at {done} of {documents} documents")
    # Not repeated if it is disturbed: a second time there is nothing left to go on with.
    run = bench.measure("go on with it", partial(_child, bench, "build", file, cache="killed"), attempts=1)
    return run, done / documents


def _wait_for(process: subprocess.Popen[bytes], cache: Path, documents: float) -> int:
    """Until so many documents are done; returns how many are."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        for progress in cache.glob("tokens/*/progress.json"):
            done = int(json.loads(progress.read_text())["documents"])
            if done >= documents:
                return done
        time.sleep(0.02)
    raise Failed("the build could not be killed in its middle")


# ------------------------------------------------------------------------------------------- the text


def write_corpus(path: Path, size: int) -> None:
    """Write about `size` bytes of text."""
    generator = np.random.default_rng(0)
    words = np.array(_words(), dtype=object)
    chances = np.cumsum(1.0 / np.arange(1, len(words) + 1) ** _ZIPF)
    slots = np.searchsorted(chances / chances[-1], (np.arange(_SLOTS) + 0.5) / _SLOTS)
    written = 0
    with path.open("w", encoding="ascii") as file:
        while written < size:
            count = min(_BLOCK, (size - written) // 6 + 100)
            drawn = words[slots[generator.integers(0, _SLOTS, count)]]
            # A sentence ends after about 20 words, a paragraph after about 80.
            ends = generator.random(count)
            drawn[ends < 1 / 20] += "."
            drawn[ends < 1 / 80] += "\n"
            written += file.write(" ".join(drawn.tolist()).replace("\n ", "\n") + "\n")


def _words() -> list[str]:
    """Made-up words, each once; the frequent ones are short."""
    generator = random.Random(0)
    onsets = ["", *_ONSETS.split()]
    vowels = _VOWELS.split()
    codas = ["", "", "", *_CODAS.split()]
    words: dict[str, None] = {}
    while len(words) < _WORDS:
        most = 1 + int(0.3 * math.log1p(len(words)))
        syllables = range(generator.randint(1, most))
        words["".join(generator.choice(part) for _ in syllables for part in (onsets, vowels, codas))] = None
    return list(words)
