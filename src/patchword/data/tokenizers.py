"""Tokenizers: trained on the user's own text, or taken from a model folder."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Encoding, models
from tokenizers import Tokenizer as Backend

from patchword.data.atomic import as_os_error, write_file, write_json
from patchword.data.tokenizer_files import add_frame, read_backend, read_roles, read_settings
from patchword.data.vocabularies import learn_byte_bpe, learn_unigram, learn_wordpiece
from patchword.errors import UserError

# More text than this changes a vocabulary little and its training time a lot.
SAMPLE_CHARACTERS = 100_000_000


@dataclass(frozen=True)
class TokenizerStyle:
    """How a new vocabulary is learnt, and what its special tokens are.

    Args:
        algorithm: "wordpiece", "bpe" on bytes, or "unigram" with bytes for rare letters.
        special: role -> token, in the order of their ids; one token may have several roles. The roles are pad, unk,
            cls, sep, mask, bos and eos; "wordpiece" and "unigram" need an unk.
        before: roles put before a text.
        after: roles put after it.
        between: roles put between the two texts of a pair; those after a text where None.
        sentinels: how many `<extra_id_0>`, `<extra_id_1>`, ... end the vocabulary; `<extra_id_0>` is the last id.
        lowercase: ignore case (and accents, in WordPiece).
        huggingface: the class of `transformers` that `tokenizer_config.json` names.
    """

    algorithm: Literal["wordpiece", "bpe", "unigram"]
    special: Mapping[str, str]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    between: tuple[str, ...] | None = None
    sentinels: int = 0
    lowercase: bool = False
    huggingface: str = "PreTrainedTokenizerFast"


class Tokenizer:
    """Text to ids and back.

    Args:
        backend: a `tokenizers.Tokenizer`; its post-processor puts the frame around a text.
        roles: role -> token, such as "mask" -> "[MASK]"; tokens that the backend lacks are left out.
        settings: what `tokenizer_config.json` says besides.

    Attributes:
        before: ids put before each text.
        after: ids put after each text.
        sentinels: ids of `<extra_id_0>`, `<extra_id_1>`, ... in this order.
    """

    def __init__(self, backend: Backend, roles: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        self.backend = backend
        self.settings = dict(settings)
        backend.no_padding()
        backend.no_truncation()
        self.roles = {role: token for role, token in roles.items() if backend.token_to_id(token) is not None}
        self.before, self.after = _frame(backend)
        self.sentinels = tuple(_sentinels(backend))

    def has(self, role: str) -> bool:
        """Whether there is a token of that role: pad, unk, cls, sep, mask, bos or eos."""
        return role in self.roles

    def id(self, role: str) -> int:
        """The id of a role's token.

        Raises:
            UserError: there is none.
        """
        if role not in self.roles:
            there = ", ".join(sorted(self.roles)) or "none"
            raise UserError(f"The tokenizer has no {role} token. The special tokens that it has: {there}.")
        return int(self.backend.token_to_id(self.roles[role]) or 0)

    @property
    def pad(self) -> int:
        """The pad token's id, else that of eos, else 0: padding never enters the core."""
        return next((self.id(role) for role in ("pad", "eos") if self.has(role)), 0)

    @property
    def between(self) -> tuple[int, ...]:
        """Ids put between the two texts of a pair.

        Raises:
            UserError: the frame of a pair is none that texts can be put into.
        """
        return self._pair_frame[0]

    @property
    def pair_frame(self) -> int:
        """How many ids stand around and between the texts of a pair."""
        return len(self.before) + len(self.between) + len(self.after)

    def pair(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Ids of two texts, `[a]` and `[b]`, as one sequence in its frame, `[a + b + pair_frame]` int32."""
        parts = (self.before, first, self.between, second, self.after)
        return np.concatenate([np.asarray(part, np.int32) for part in parts])

    def segments(self, first: int, second: int) -> np.ndarray:
        """`[first + second + pair_frame]` int64: the kind of each token of a pair of so many ids and so many.

        BERT calls the first text 0 and the second 1 (Devlin et al. 2018, figure 2); RoBERTa makes no difference.
        """
        a, b = len(self.before), len(self.before) + 1 + len(self.between)  # where the texts stand among the kinds
        kinds = self._pair_frame[1]
        counts = np.ones(len(kinds), np.int64)
        counts[[a, b]] = first, second
        return np.repeat(kinds, counts)

    @cached_property
    def _pair_frame(self) -> tuple[tuple[int, ...], np.ndarray]:
        """What stands between two texts, and the kinds of the frame's tokens and of each text as a whole."""
        text = self.backend.encode("a", add_special_tokens=False).ids
        framed = self.backend.encode("a", "a")
        ids, kinds = framed.ids, framed.type_ids
        start, stop = len(self.before) + len(text), len(framed.ids) - len(self.after) - len(text)
        between = tuple(ids[start:stop])
        if ids != [*self.before, *text, *between, *text, *self.after]:
            raise UserError("The tokenizer frames a pair of texts in a way that is not supported.")
        kinds = [*kinds[: len(self.before) + 1], *kinds[start:stop], *kinds[stop + len(text) - 1 :]]
        if not between:
            # Without any sign a model can not know where the second text begins.
            between = tuple(self.id(role) for role in ("sep", "eos", "bos") if self.has(role))[:1]
            kinds[len(self.before) + 1 : len(self.before) + 1] = [0] * len(between)
        return between, np.array(kinds, np.int64)

    @cached_property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    @cached_property
    def continues_word(self) -> np.ndarray:
        """`[vocab_size]` bool: whether a token goes on with the word before it ("##ing", "ing" beside "Ġing")."""
        tokens = [self.backend.id_to_token(i) or "" for i in range(self.vocab_size)]
        if isinstance(self.backend.model, models.WordPiece):
            prefix = self.backend.model.continuing_subword_prefix
            return np.array([token.startswith(prefix) for token in tokens])
        return np.array([_goes_on(token) for token in map(self._spelling, tokens)]) & ~self.is_special

    @cached_property
    def is_special(self) -> np.ndarray:
        """`[vocab_size]` bool: whether a token stands for no text."""
        special = np.zeros(self.vocab_size, bool)
        special[[self.id(role) for role in self.roles]] = True
        special[[*self.before, *self.after, *self.sentinels]] = True
        special[[i for i, token in self.backend.get_added_tokens_decoder().items() if token.special]] = True
        return special

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, `[length]` int32, without the frame.

        Raises:
            UserError: a text is none: it holds half of a surrogate pair (bytes on a command line that are not UTF-8).
        """
        return [np.array(encoding.ids, np.int32) for encoding in self._encodings(texts, self.backend.encode_batch_fast)]

    def encode_with_places(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each text as `encode` gives them, and the characters at which each begins and ends, `[length, 2]`.

        Without the spaces that a token begins with; (n, n) where it stands for no text.
        """
        return [
            (np.array(encoding.ids, np.int32), _places(text, encoding.offsets))
            for start in range(0, len(texts), 1000)
            for text, encoding in zip(
                texts[start : start + 1000],
                self._encodings(texts[start : start + 1000], self.backend.encode_batch),
                strict=True,
            )
        ]

    def _encodings(self, texts: Sequence[str], encode: Callable[..., list[Encoding]]) -> list[Encoding]:
        try:
            return encode(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _half_pair(texts) from error

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, special tokens left out."""
        return str(self.backend.decode([int(i) for i in ids]))

    def token(self, i: int) -> str:
        """The token of an id."""
        return str(self.backend.id_to_token(int(i)))

    def fingerprint(self) -> str:
        """A hash that is equal for tokenizers that give equal ids."""
        return hashlib.blake2b(self.backend.to_str().encode(), digest_size=16).hexdigest()

    def save(self, folder: Path, max_length: int) -> None:
        """Write the files from which `AutoTokenizer` builds the same one."""
        write_file(folder / "tokenizer.json", self.backend.to_str(pretty=True).encode())
        if isinstance(self.backend.model, models.WordPiece):
            lines = "".join(f"{self.token(i)}\n" for i in range(self.vocab_size))
            write_file(folder / "vocab.txt", lines.encode())
        elif self._on_bytes:
            try:
                self.backend.model.save(str(folder))  # vocab.json and merges.txt
            except Exception as error:  # the library has no class for what a file system refuses
                raise as_os_error(error, folder / "vocab.json") from error
        config = {
            **self.settings,
            "model_max_length": max_length,
            **{f"{role}_token": token for role, token in self.roles.items()},
        }
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, `vocab.txt`, `vocab.json` with `merges.txt`, or `tokenizer.model`: the first of them.

        Raises:
            UserError: there is none of them, or it can not be read.
        """
        try:
            settings = read_settings(folder)
            backend = read_backend(folder, settings)
            return cls(backend, read_roles(settings, backend), settings)
        except UserError:
            raise
        except Exception as error:  # the backend raises bare Exception
            raise UserError(f"The tokenizer in {folder} can not be read: {error}.") from error

    @cached_property
    def _on_bytes(self) -> bool:
        return isinstance(self.backend.model, models.BPE) and self.backend.token_to_id("Ġ") is not None

    def _spelling(self, token: str) -> str:
        """The text that a token of BPE or Unigram stands for; the space before a word is a space."""
        if self._on_bytes and set(token) <= _BYTE_LETTERS.keys():
            return bytes(_BYTE_LETTERS[letter] for letter in token).decode("utf-8", "replace")
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)]).decode("utf-8", "replace")
        return token.replace("▁", " ")


def _half_pair(texts: Sequence[str]) -> UserError:
    bad = next(text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text))
    return UserError(f"The text {bad[:60]!a} holds half of a surrogate pair, which is not a character. Is it UTF-8?")


def _places(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Where tokens stand, without the spaces that they begin with, `[length, 2]`."""
    places = np.array(offsets, np.int64).reshape(-1, 2)
    for place in places:
        while place[0] < place[1] and text[place[0]].isspace():
            place[0] += 1
    return places


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level BPE: itself where it is visible, else one from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_LETTERS = _byte_letters()


def _goes_on(text: str) -> bool:
    """Whether text without a space before it is inside a word: a letter, a digit, a mark, or a part of a character."""
    return text[:1] == "\ufffd" or unicodedata.category(text[:1] or " ")[0] in "LNM"


def _frame(backend: Backend) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the post-processor puts before and after a text."""
    bare = backend.encode("a", add_special_tokens=False).ids
    framed = backend.encode("a").ids
    for start in range(len(framed) - len(bare) + 1):
        if framed[start : start + len(bare)] == bare:
            return tuple(framed[:start]), tuple(framed[start + len(bare) :])
    raise UserError("The tokenizer changes a text's own tokens when it adds special ones, which is not supported.")


def _sentinels(backend: Backend) -> Iterator[int]:
    for number in count():
        i = backend.token_to_id(f"<extra_id_{number}>")
        if i is None:
            return
        yield i


def vocabulary_size(characters: int) -> int:
    """How many word pieces a corpus of so many characters can teach: 4,000 at 1 million, 30,528 at 1,000 million.

    Distinct words grow as a power of a text's length (Heaps' law); between these two ends that is the power 0.29.
    """
    size = 4000 * (max(characters, 1) / 1e6) ** 0.29
    return int(min(max(round(size / 64) * 64, 512), 30528))


def train_tokenizer(documents: Iterable[str], style: TokenizerStyle, vocab_size: int | None = None) -> Tokenizer:
    """Learn a vocabulary from text, read as a stream. The same text gives the same ids in every process.

    Args:
        documents: can be gone through more than once.
        style: the algorithm and the special tokens.
        vocab_size: number of ids, at most; chosen from the corpus (`vocabulary_size`) where not given.

    Raises:
        UserError: the text has nothing to learn from, or the size has no room for letters (or bytes) and special tokens.
    """
    letters = Counter[str]()
    for document in documents:
        letters.update(document)
    if not any(not letter.isspace() for letter in letters):
        raise UserError("No vocabulary could be learnt: the text has no words.")
    every = -(-letters.total() // SAMPLE_CHARACTERS)
    special = list(dict.fromkeys(style.special.values()))
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(style.sentinels))]
    # Bytes that have ids of their own teach nothing.
    bare = 0 if style.algorithm == "wordpiece" else 256
    size = vocab_size or vocabulary_size(letters.total()) + bare + len(sentinels)
    learn = {"wordpiece": learn_wordpiece, "bpe": learn_byte_bpe, "unigram": learn_unigram}[style.algorithm]
    backend = learn(
        lambda: _pieces(islice(iter(documents), 0, None, every)),
        letters,
        special,
        sentinels,
        size,
        style.special.get("unk", ""),
        style.lowercase,
    )
    backend.add_special_tokens([*special, *sentinels])
    if vocab_size and (least := backend.get_vocab_size()) > vocab_size:
        raise UserError(
            f"A vocabulary of {vocab_size:,} is too small: the letters of the text and special tokens alone are "
            f"{least:,}. Ask for more ids (--vocab-size)."
        )
    between = style.after if style.between is None else style.between
    ends = ([style.special[role] for role in roles] for roles in (style.before, style.after, between))
    add_frame(backend, *ends)
    settings = {"tokenizer_class": style.huggingface, "do_lower_case": style.lowercase}
    return Tokenizer(backend, style.special, settings)


def _pieces(documents: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Long documents in parts, so that no single one is held in memory twice."""
    for document in documents:
        for start in range(0, len(document), size):
            yield document[start : start + size]
