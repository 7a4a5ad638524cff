"""The token store: small, built once, and never the worse for an interruption."""

from __future__ import annotations

import contextlib
import errno
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from patchword.data import store as store_module
from patchword.data.store import Sequences, Store, build_store
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.models.bert import FAMILY as BERT

PIECE = 30


class Never:
    """Documents that nobody may read."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the documents were read again")


class Breaks:
    """Documents that come to an end before their end, as in a kill."""

    def __init__(self, documents: list[str], after: int) -> None:
        self.documents, self.after = documents, after

    def __iter__(self) -> Iterator[str]:
        yield from islice(self.documents, self.after)
        raise KeyboardInterrupt


class Counting(Tokenizer):
    """Counts the texts that it is given."""

    texts = 0

    def encode(self, texts):
        self.texts += len(texts)
        return super().encode(texts)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 10 documents a chunk instead of thousands."""
    monkeypatch.setattr(store_module, "_CHUNK_CHARACTERS", 1000)


def contents(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.folder.iterdir())}


def sequences(part: Sequences) -> list[tuple[int, ...]]:
    return [tuple(ids.tolist()) for ids in part.gather(np.arange(len(part)))]


def test_the_store_holds_every_token_of_every_document_in_pieces(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    store = build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path)
    expected = Counter(
        tuple(ids[start : start + PIECE].tolist())
        for ids in tokenizer.encode(corpus)
        for start in range(0, len(ids), PIECE)
    )
    train, validation = sequences(store.train), sequences(store.validation)
    assert Counter(train) + Counter(validation) == expected
    assert store.documents == len(corpus)
    assert store.tokens == sum(len(piece) * times for piece, times in expected.items())
    assert store.counts.tolist() == np.bincount(np.concatenate(train), minlength=400).tolist()
    assert len(store.counts) == tokenizer.vocab_size
    ids = np.array([5, 0, len(train) - 1])
    assert store.train.lengths(ids).tolist() == [len(train[i]) for i in ids]


def test_one_sequence_in_fifty_is_held_back_and_equal_ones_stay_together(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Wherever they stand: here once at the beginning of a document, once after another, once after two."""
    words = [word for word in tokenizer.backend.get_vocab() if word.isalpha()]
    random = np.random.default_rng(0)
    pieces = [" ".join(random.choice(words, 7)) for _ in range(900)]
    documents = [*pieces, *(" ".join(pieces[i : i + 3]) for i in range(0, 900, 3))]
    store = build_store(documents, "x", tokenizer, 7, cache=tmp_path)
    train, validation = sequences(store.train), sequences(store.validation)
    assert Counter(Counter([*train, *validation]).values()) == {2: 900}
    assert not set(train) & set(validation)
    unique = set(train) | set(validation)
    share = len(set(validation)) / len(unique)
    assert abs(share - 0.02) < 4 * (0.02 * 0.98 / len(unique)) ** 0.5


def test_a_token_takes_at_most_four_bytes(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    store = build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path)
    size = sum(path.stat().st_size for path in store.folder.iterdir() if path.suffix == ".bin")
    assert store.bytes_per_token == size / store.tokens
    assert sum(path.stat().st_size for path in store.folder.iterdir()) <= 4 * store.tokens
    # No other place grew.
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 4 * store.tokens


def test_a_large_vocabulary_keeps_its_ids(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(70_000)]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    tokenizer = Tokenizer.load(tmp_path)
    store = build_store(["w0 w65530 w65531 w69999"] * 60, "x", tokenizer, 4, cache=tmp_path)
    assert {*sequences(store.train), *sequences(store.validation)} == {(5, 65535, 65536, 70004)}


def test_a_store_is_opened_again_without_reading_the_documents(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    first = build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path)
    before = contents(first)
    again = build_store(Never(), "x", tokenizer, PIECE, cache=tmp_path)
    assert contents(again) == before
    assert again.folder == first.folder
    assert sequences(again.train) == sequences(first.train)
    assert (again.documents, again.duplicates, again.tokens) == (first.documents, first.duplicates, first.tokens)


def test_another_text_tokenizer_or_length_is_another_store(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = Tokenizer.load(_saved(tokenizer, tmp_path / "tokenizer"))
    assert build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path).folder == (
        build_store(Never(), "x", other, PIECE, cache=tmp_path).folder
    )
    folders = {
        build_store(corpus[:100], fingerprint, reader, piece, cache=tmp_path).folder
        for fingerprint, reader, piece in [
            ("x", tokenizer, PIECE),
            ("y", tokenizer, PIECE),
            ("x", tokenizer, PIECE + 1),
            ("x", train_tokenizer(corpus, replace(BERT.tokenizer, lowercase=False), tokenizer.vocab_size), PIECE),
        ]
    }
    assert len(folders) == 4


def _saved(tokenizer: Tokenizer, folder: Path) -> Path:
    folder.mkdir()
    tokenizer.save(folder, 64)
    return folder


def test_the_cache_is_where_the_environment_says(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHWORD_CACHE", str(tmp_path / "here"))
    assert build_store(corpus[:100], "x", tokenizer, PIECE).folder.is_relative_to(tmp_path / "here")


@pytest.mark.parametrize("copies", [0, 1, 5])
def test_equal_documents_are_counted(copies: int, corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    unique = list(dict.fromkeys(corpus))
    documents = [*unique[:300], *unique[:7] * copies, *unique[300:]]
    store = build_store(documents, "x", tokenizer, PIECE, cache=tmp_path)
    assert (store.documents, store.duplicates) == (len(unique) + 7 * copies, 7 * copies)


@pytest.mark.parametrize("kills", [[0], [1], [13], [400], [799], [800], [3, 50, 51, 52, 640]])
def test_an_interrupted_build_goes_on_and_ends_the_same(
    kills: list[int], corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, small_chunks: None
) -> None:
    whole = build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path / "whole")
    counting = Counting(tokenizer.backend, tokenizer.roles, tokenizer.settings, tokenizer.token_types)
    for after in kills:
        with pytest.raises(KeyboardInterrupt):
            build_store(Breaks(corpus, after), "x", counting, PIECE, cache=tmp_path / "cut")
        # What a kill in the midst of a write leaves: bytes that were never declared whole.
        for path in (tmp_path / "cut").rglob("*"):
            if path.suffix in (".bin", ".tmp"):
                with path.open("ab") as file:
                    file.write(b"torn")
    store = build_store(corpus, "x", counting, PIECE, cache=tmp_path / "cut")
    assert contents(store) == contents(whole)
    assert counting.texts == len(corpus)  # nothing was tokenised twice: only whole chunks were


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("function", ["os.replace", "numpy.save"])
def test_a_full_disk_at_any_write_costs_nothing_that_was_whole(
    function: str,
    call: int,
    corpus: list[str],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "_CHUNK_CHARACTERS", 5000)
    documents = corpus[:300]
    whole = build_store(documents, "x", tokenizer, PIECE, cache=tmp_path / "whole")
    module, name = (os, "replace") if function == "os.replace" else (np, "save")
    real, calls = getattr(module, name), []

    def fails(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails)
        with pytest.raises(OSError, match="No space left"):
            build_store(documents, "x", tokenizer, PIECE, cache=tmp_path / "cut")
    store = build_store(documents, "x", tokenizer, PIECE, cache=tmp_path / "cut")
    assert contents(store) == contents(whole)


def test_two_builds_at_once_do_not_disturb_each_other(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, small_chunks: None
) -> None:
    """Two runs on one corpus, begun together: here one builds it all while the other is half-way."""
    whole = build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path / "whole")

    def overtaken() -> Iterator[str]:
        yield from corpus[:400]
        build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path / "shared")
        yield from corpus[400:]

    with contextlib.suppress(Exception):  # one of the two may well be told to wait
        build_store(overtaken(), "x", tokenizer, PIECE, cache=tmp_path / "shared")
    assert contents(build_store(corpus, "x", tokenizer, PIECE, cache=tmp_path / "shared")) == contents(whole)


def test_memory_does_not_grow_with_the_corpus(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, small_chunks: None
) -> None:
    def peak(times: int) -> int:
        tracemalloc.start()
        try:
            texts = (text for _ in range(times) for text in corpus[:200])
            build_store(texts, str(times), tokenizer, PIECE, cache=tmp_path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is made once
    assert peak(8) < 1.5 * peak(2)
