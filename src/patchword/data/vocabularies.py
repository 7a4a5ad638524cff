"""Vocabularies learnt from text: WordPiece, byte-level BPE and Unigram. The same text gives the same ids everywhere.

`tokenizers`' own trainers number pieces, and for Unigram add up scores, in an order that differs from process to
process. Which pieces they choose does not depend on it once the letters are named; the rest is done over here.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from patchword.errors import UserError

_COVERAGE = 0.9995  # of the text's characters have a piece of their own in Unigram; the others are spelt in bytes
_ROUNDS = 4  # of counting and scoring anew: afterwards hardly a score changes
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# With these letters known, text that spells a byte's name ("<0x41>") is never taken for the byte.
_BYTE_NAMES = "<>x0123456789ABCDEF▁"

Stream = Callable[[], Iterator[str]]
"""Begins the text anew."""


def wordpiece(model: models.WordPiece, lowercase: bool) -> Backend:
    """Words cut at white space and punctuation, pieces within a word marked "##"."""
    backend = Backend(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def byte_bpe(model: models.BPE, lowercase: bool, prefix_space: bool = False) -> Backend:
    """Pairs of bytes merged (Radford et al. 2019, section 2.2), a word with the space before it."""
    backend = Backend(model)
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    return backend


def unigram(model: models.Unigram, lowercase: bool) -> Backend:
    """Likeliest pieces (Kudo 2018), spaces as "▁", line ends and tabs apart from words, rare letters in bytes."""
    backend = Backend(model)
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S ]"), "isolated"),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first"),
        ]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    backend.decoder = decoders.Sequence(steps)
    return backend


def learn_wordpiece(
    text: Stream, letters: Counter[str], special: list[str], last: list[str], size: int, unknown: str, lowercase: bool
) -> Backend:
    """A WordPiece vocabulary (Schuster and Nakajima 2012).

    Args:
        text: is read once.
        letters: how often each character stands in it.
        special: tokens of the first ids.
        last: tokens of the last ids.
        size: number of ids.
        unknown: token of a word that can not be spelt.
        lowercase: ignore case and accents.
    """
    backend = wordpiece(models.WordPiece(unk_token=unknown), lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size - len(last),
        # The trainer would number the single letters by a hash that differs from process to process, and break ties
        # between equally frequent pieces by these numbers. Named here, they are numbered in this order.
        special_tokens=[*special, *(f"##{letter}" for letter in _inner_letters(backend, letters))],
        show_progress=False,
    )
    backend.train_from_iterator(text(), trainer)
    # Its other numbers depend on that hash, too; these do not.
    pieces = sorted(backend.get_vocab().keys() - set(special), key=lambda piece: (len(piece), piece))
    if not pieces:
        raise UserError("No vocabulary could be learnt: the text has no words.")
    vocabulary = {piece: number for number, piece in enumerate([*special, *pieces, *last])}
    return wordpiece(models.WordPiece(vocabulary, unk_token=unknown), lowercase)


def learn_byte_bpe(
    text: Stream, letters: Counter[str], special: list[str], last: list[str], size: int, unknown: str, lowercase: bool
) -> Backend:
    """A byte-level BPE vocabulary, in which every text can be spelt; arguments as in `learn_wordpiece`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _check_room(size, len(special) + len(alphabet) + len(last))
    backend = byte_bpe(models.BPE(), lowercase)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(last), initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(text(), trainer)
    merges = [(left, right) for left, right in json.loads(backend.to_str())["model"]["merges"]]
    pieces = dict.fromkeys([*special, *alphabet, *(left + right for left, right in merges), *last])
    return byte_bpe(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges), lowercase)


def learn_unigram(
    text: Stream, letters: Counter[str], special: list[str], last: list[str], size: int, unknown: str, lowercase: bool
) -> Backend:
    """A Unigram vocabulary with a piece for each byte; arguments as in `learn_wordpiece`, `text` is read twice."""
    fixed = [*special, *_BYTES]
    room = size - len(fixed) - len(last)
    _check_room(size, len(fixed) + len(last) + len(_BYTE_NAMES) + 1)
    plain = unigram(models.Unigram(), lowercase)
    kept = _common_letters(plain, letters, room - len(_BYTE_NAMES))
    other = re.compile(f"[^{re.escape(''.join(sorted(kept)))} ]")
    normalize = plain.normalizer.normalize_str if lowercase else str
    trainer = trainers.UnigramTrainer(
        vocab_size=max(room - len(set(_BYTE_NAMES) - kept), len(kept) + 1), show_progress=False
    )
    plain.train_from_iterator((other.sub(" ", normalize(part)) for part in text()), trainer)
    pieces = sorted({*plain.get_vocab(), *_BYTE_NAMES} - set(fixed), key=lambda piece: (len(piece), piece))
    words = Counter[str]()
    for part in text():
        words.update(word for word, _ in plain.pre_tokenizer.pre_tokenize_str(normalize(part)))
    scores = _scores(pieces, words)
    vocabulary = [
        *((token, 0.0) for token in special),
        *((token, -1e4) for token in _BYTES),
        *zip(pieces, scores, strict=True),
        *((token, 0.0) for token in last),
    ]
    return unigram(models.Unigram(vocabulary, special.index(unknown), byte_fallback=True), lowercase)


def _scores(pieces: Sequence[str], words: Counter[str]) -> list[float]:
    """Log-probabilities under which the likeliest spelling of the words has these very frequencies.

    Counting the best spelling and scoring anew, from equal scores on: the trainer's own scores are sums whose order,
    and so whose last digits, differ from process to process.
    """
    distinct = sorted(words)
    scores = [-math.log(len(pieces))] * len(pieces)
    for _ in range(_ROUNDS):
        backend = Backend(models.Unigram([("", 0.0), *zip(pieces, scores, strict=True)], 0))
        counts = [1] * (len(pieces) + 1)  # none has a probability of nought
        for start in range(0, len(distinct), 10_000):
            chunk = distinct[start : start + 10_000]
            for word, encoding in zip(chunk, backend.encode_batch_fast(chunk), strict=True):
                for i in encoding.ids:
                    counts[i] += words[word]
        total = math.log(sum(counts[1:]))
        scores = [round(math.log(count) - total, 6) for count in counts[1:]]
    return scores


def _common_letters(backend: Backend, letters: Counter[str], most: int) -> set[str]:
    """The commonest characters, up to a share of the text; white space but the space is left to the bytes."""
    counts = Counter[str]()
    for letter, count in letters.items():
        for normal in backend.normalizer.normalize_str(letter) if backend.normalizer else letter:
            counts[normal] += 0 if normal.isspace() else count
    enough, sofar, kept = _COVERAGE * sum(counts.values()), 0, {"▁"}
    for letter, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if sofar >= enough or len(kept) >= most:
            break
        sofar += count
        kept.add(letter)
    return kept


def _inner_letters(backend: Backend, characters: Iterable[str]) -> list[str]:
    """What can stand inside a word once the text is normalised and cut, sorted."""
    letters = set[str]()
    for character in characters:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str("a" + character)):
            if word[0] == "a":
                letters.update(word[1:])
    return sorted(letters)


def _check_room(size: int, least: int) -> None:
    if size < least:
        raise UserError(
            f"A vocabulary of {size:,} is too small: bytes and special tokens alone are {least:,}. Ask for more ids."
        )
