"""Words added to a vocabulary: which, and that transformers gives the same ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from patchword.data.extension import extend, pieces_of_new
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.errors import UserError
from patchword.models.gpt2 import FAMILY as GPT2

TEXTS = [
    "Zanzibardo filmkunterbund filmkunterbund, and Ostrogotesk.",
    "filmkunterbunds Filmkunterbund zanzibardo 12345678 12345678 12345678 12345678 12345678",
]


@pytest.fixture
def extended(tokenizer: Tokenizer) -> Tokenizer:
    return extend(tokenizer, TEXTS, 2)[0]


def test_words_that_save_most_are_added(tokenizer: Tokenizer, extended: Tokenizer) -> None:
    """Lowercased as the tokenizer does; by hand, count x (pieces - 1). Numbers are no words."""
    counts = {"zanzibardo": 2, "filmkunterbund": 3, "filmkunterbunds": 1, "ostrogotesk": 1, "and": 1}
    saved = {word: count * (len(tokenizer.encode([word])[0]) - 1) for word, count in counts.items()}
    best = sorted(saved, key=lambda word: (-saved[word], word))[:2]
    assert [extended.token(tokenizer.vocab_size + i) for i in range(2)] == best
    assert extended.vocab_size == tokenizer.vocab_size + 2
    assert all(len(extended.encode([word])[0]) == 1 for word in best)
    for word, pieces in zip(best, pieces_of_new(tokenizer, extended), strict=True):
        assert pieces == list(tokenizer.encode([word])[0])


def test_text_without_the_new_words_has_the_ids_that_it_had(
    tokenizer: Tokenizer, extended: Tokenizer, corpus: list[str]
) -> None:
    for one, other in zip(tokenizer.encode(corpus[:50]), extended.encode(corpus[:50]), strict=True):
        assert np.array_equal(one, other)
    assert (extended.before, extended.after, extended.roles) == (tokenizer.before, tokenizer.after, tokenizer.roles)


def test_what_is_told_is_what_is_saved(tokenizer: Tokenizer) -> None:
    extended, told = extend(tokenizer, TEXTS, 2)
    before, after = (sum(map(len, each.encode(TEXTS))) / 2 for each in (tokenizer, extended))
    assert told.startswith("Added 2 words to the vocabulary (")
    assert told.endswith(f"tokens a document {before:.0f} -> {after:.0f}.")


def test_transformers_gives_the_same_ids(extended: Tokenizer, tmp_path: Path, corpus: list[str]) -> None:
    extended.save(tmp_path, 64)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    for text in (*TEXTS, *corpus[:30]):
        ids = [*again.before, *again.encode([text])[0], *again.after]
        assert theirs(text)["input_ids"] == ids
    # From vocab.txt alone, too.
    (tmp_path / "tokenizer.json").unlink()
    assert [list(ids) for ids in Tokenizer.load(tmp_path).encode(TEXTS)] == [list(ids) for ids in again.encode(TEXTS)]


def test_what_can_not_be_extended_is_told(tokenizer: Tokenizer, corpus: list[str]) -> None:
    assert GPT2.tokenizer is not None
    with pytest.raises(UserError, match=r"WordPiece only, and this tokenizer is BPE"):
        extend(train_tokenizer(corpus, GPT2.tokenizer, 400), TEXTS, 2)
    with pytest.raises(UserError, match=r"cuts no word"):
        extend(tokenizer, ["1 2 3"], 2)
