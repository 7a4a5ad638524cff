"""One step of making a corpus ready, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import peak_memory
from benchmarks.race import hand_back, since_began


def learn(file: Path, tokenizer: Path) -> dict[str, Any]:
    """Learn a vocabulary as `patchword pretrain` does, and keep it for `build`."""
    from patchword.data.documents import Documents
    from patchword.data.tokenizers import train_tokenizer
    from patchword.models.bert import FAMILY

    at_rest, began = peak_memory(), time.perf_counter()
    learnt = train_tokenizer(Documents(file), FAMILY.tokenizer)
    seconds = time.perf_counter() - began
    tokenizer.mkdir(exist_ok=True)
    learnt.save(tokenizer, 512)
    return {"vocabulary": learnt.vocab_size} | _figures(file, at_rest, seconds)


def build(file: Path, tokenizer: Path, cache: Path, lines: bool) -> dict[str, Any]:
    """Build a token store as `patchword pretrain` does, or open it, or go on with it."""
    from patchword.data.documents import Documents
    from patchword.data.store import build_store
    from patchword.data.tokenizers import Tokenizer

    reader = Tokenizer.load(tokenizer)
    found = _done(cache)
    at_rest, began = peak_memory(), time.perf_counter()
    documents = Documents(file, lines=lines)
    store = build_store(documents, documents.fingerprint(), reader, 254, cache=cache)
    seconds = time.perf_counter() - began
    figures = _figures(file, at_rest, seconds) | {
        "process": since_began(),
        "tokens": store.tokens,
        "documents": store.documents,
        "vocabulary": reader.vocab_size,
        "bytes_per_token": store.bytes_per_token,
        "found": found,
        "digest": _digest(store.folder),
    }
    if found:
        del figures["rate"]  # the work, or a part of it, was done before
    return figures


def _figures(file: Path, at_rest: int, seconds: float) -> dict[str, Any]:
    megabytes = file.stat().st_size / 1e6
    return {"seconds": seconds, "rate": megabytes / seconds, "memory": peak_memory(), "at_rest": at_rest}


def _done(cache: Path) -> int:
    """Documents that an earlier run left, in all stores of a cache."""
    return sum(int(json.loads(p.read_text())["documents"]) for p in cache.glob("tokens/*/progress.json"))


def _digest(folder: Path) -> str:
    """Of a store's token files."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.bin")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "blake2b").digest())
    return total.hexdigest()


if __name__ == "__main__":
    task, text, vocabulary, *rest = sys.argv[1:]
    if task == "learn":
        hand_back(learn(Path(text), Path(vocabulary)))
    else:
        hand_back(build(Path(text), Path(vocabulary), Path(rest[0]), "--lines" in rest))
