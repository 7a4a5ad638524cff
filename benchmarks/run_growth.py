"""One point of `benchmarks/growth.py`, in a process of its own: peak memory and time of a step, or of a corpus."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import peak_memory
from benchmarks.race import hand_back


def step(settings: Mapping[str, Any], steps: int) -> dict[str, float]:
    """Peak memory over that of Python and its libraries, and the median time of a step.

    Args:
        settings: of `benchmarks.subject.subject`, "name" among them.
        steps: that are timed, after one that is not.
    """
    import torch

    from benchmarks.subject import subject
    from patchword.training.tracking import Tracker

    held = peak_memory()
    with tempfile.TemporaryDirectory(prefix="patchword-growth-") as folder:
        one = subject(folder=Path(folder), **settings)
        on_cuda = one.compute.device.type == "cuda"
        times = []
        with Tracker(None, quiet=True) as tracker:
            for _ in range(1 + steps):
                began = time.perf_counter()
                one.learn(1, tracker)
                if on_cuda:
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - began)
    memory = torch.cuda.max_memory_allocated() if on_cuda else peak_memory() - held
    return {"memory": memory, "seconds": statistics.median(times[1:])}


def corpus(megabytes: float) -> dict[str, float]:
    """The same of reading a text file: to tokens on disk, and ten batches of them."""
    from itertools import islice

    import numpy as np

    from patchword.data.documents import Documents
    from patchword.data.loader import Loader, Position
    from patchword.data.store import build_store
    from patchword.data.tokenizers import train_tokenizer
    from patchword.models.bert import FAMILY
    from patchword.tasks.masked_lm import MaskedExamples

    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(2000)]
    assert FAMILY.tokenizer is not None
    tokenizer = train_tokenizer([" ".join(words)], FAMILY.tokenizer, 2000)
    with tempfile.TemporaryDirectory(prefix="patchword-growth-") as folder:
        path, written = Path(folder) / "corpus.txt", 0
        with path.open("w") as out:
            while written < megabytes * 1e6:
                written += out.write(" ".join(random.choice(words, 60)) + "\n")
        held, began = peak_memory(), time.perf_counter()
        documents = Documents([str(path)], text_column=None, lines=True, where=None)
        store = build_store(documents, documents.fingerprint(), tokenizer, 126, end=None, progress=lambda read: None)
        loader = Loader(MaskedExamples(store.train, tokenizer), seed=0, batch_tokens=4096)
        for _ in islice(loader.batches(Position()), 10):
            pass
        return {"memory": peak_memory() - held, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    hand_back({"step": step, "corpus": corpus}[sys.argv[1]](**json.loads(sys.argv[2])))
