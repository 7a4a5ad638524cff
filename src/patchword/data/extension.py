"""More words for a vocabulary that was learnt on other text: those that it cuts most, as often as they stand there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer as Backend
from tokenizers import models

from patchword.data.tokenizers import SAMPLE_CHARACTERS, Tokenizer
from patchword.errors import UserError


def extend(tokenizer: Tokenizer, documents: Iterable[str], count: int) -> tuple[Tokenizer, str]:
    """A tokenizer with the words that save most tokens as words of their own; its other ids stay what they were.

    A word saves its pieces but one, as often as it stands in the text.

    Args:
        tokenizer: of word pieces.
        documents: the text.
        count: words to add, at most.

    Returns:
        The new one, and what it saves, in a sentence.

    Raises:
        UserError: the tokenizer is of another kind, or cuts no word of the text.
    """
    if not isinstance(tokenizer.backend.model, models.WordPiece):
        kind = type(tokenizer.backend.model).__name__
        raise UserError(f"Words can be added to vocabularies of WordPiece only, and this tokenizer is {kind}.")
    words, texts = Counter[str](), 0
    seen = 0
    for text in documents:
        words.update(_words(tokenizer.backend, text))
        texts, seen = texts + 1, seen + len(text)
        if seen > SAMPLE_CHARACTERS:
            break
    pieces = {word: len(tokenizer.backend.model.tokenize(word)) for word in words}
    saved = {word: words[word] * (pieces[word] - 1) for word in words if pieces[word] > 1 and word.isalpha()}
    if not saved:
        raise UserError("The tokenizer cuts no word of the text, so there is none to add. Leave --extend-vocab out.")
    # Equal ones by the alphabet, so that the same text gives the same ids.
    new = sorted(saved, key=lambda word: (-saved[word], word))[:count]
    state = json.loads(tokenizer.backend.to_str())
    state["model"]["vocab"] |= {word: tokenizer.vocab_size + number for number, word in enumerate(new)}
    extended = Tokenizer(
        Backend.from_str(json.dumps(state)), tokenizer.roles, tokenizer.settings, tokenizer.token_types
    )
    before = sum(words[word] * pieces[word] for word in words) / texts
    after = sum(words[word] * len(extended.backend.model.tokenize(word)) for word in words) / texts
    return extended, (
        f"Added {len(new):,} words to the vocabulary ({', '.join(new[:5])}, ...): tokens a document "
        f"{before:.0f} -> {after:.0f}."
    )


def pieces_of_new(old: Tokenizer, new: Tokenizer) -> list[list[int]]:
    """What each word that `extend` added was cut into, as ids of the old tokenizer."""
    added = (new.token(i) for i in range(old.vocab_size, new.vocab_size))
    return [[piece.id for piece in old.backend.model.tokenize(word)] for word in added]


def _words(backend: Backend, text: str) -> Iterator[str]:
    normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
    return (word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
