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
from tokenizers import Encoding, models, normalizers
from tokenizers import Tokenizer as Backend

from patchword.data.atomic import as_os_error, write_file, write_json
from patchword.data.frames import Frame, processor_of, read_frames
from patchword.data.tokenizer_files import add_frame, added_tokens, read_tokenizer
from patchword.data.vocabularies import learn_byte_bpe, learn_unigram, learn_wordpiece
from patchword.errors import UserError
from patchword.models.tokenizer_classes import AS_IT_IS, CLASSES

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
        token_types: whether a model is given token types (`token_type_ids`); all are 0 where it is not.
        unread: settings of the folder that nothing reads.

    Attributes:
        single: the special tokens around one text.
        sentinels: ids of `<extra_id_0>`, `<extra_id_1>`, ... in this order.

    Raises:
        UserError: the post-processor does not keep the texts.
    """

    def __init__(
        self,
        backend: Backend,
        roles: Mapping[str, str],
        settings: Mapping[str, Any],
        token_types: bool,
        unread: Sequence[str] = (),
    ) -> None:
        self.backend = backend
        self.settings = dict(settings)
        self.token_types = token_types
        self.unread = tuple(unread)
        backend.no_padding()
        backend.no_truncation()
        self.roles = {role: token for role, token in roles.items() if backend.token_to_id(token) is not None}
        self.single, self._pair = read_frames(backend.post_processor)
        self._no_pairs: str | None = None
        self.sentinels = tuple(_sentinels(backend))

    @property
    def pair(self) -> Frame:
        """The special tokens around and between the two texts of a pair.

        Raises:
            UserError: the model can not read the pairs of this tokenizer.
        """
        if self._no_pairs is not None:
            raise UserError(self._no_pairs)
        return self._pair

    def refuse_pairs(self, reason: str) -> None:
        """Let every use of `pair` raise this reason."""
        self._no_pairs = reason

    @property
    def before(self) -> tuple[int, ...]:
        """Ids put before a text."""
        return self.single.parts[0]

    @property
    def after(self) -> tuple[int, ...]:
        """Ids put after a text."""
        return self.single.parts[1]

    @property
    def cuts_left(self) -> bool:
        """Whether a text that is too long loses its beginning (`truncation_side`), not its end."""
        return self.settings.get("truncation_side") == "left"

    @property
    def max_length(self) -> int | None:
        """`model_max_length`: tokens of a text at most, special ones included; None where the folder does not say."""
        length = self.settings.get("model_max_length", self.settings.get("max_len"))
        # transformers writes 1e30 for "no limit".
        return int(length) if isinstance(length, int | float) and 0 < length < 1e20 else None

    def with_frames(self, single: Frame, pair: Frame) -> Tokenizer:
        """The same tokenizer with other special tokens around a text and a pair."""
        backend = Backend.from_str(self.backend.to_str())
        backend.encode_special_tokens = self.backend.encode_special_tokens
        backend.post_processor = processor_of(backend, single, pair)
        settings = self.settings | {"tokenizer_class": AS_IT_IS}  # a class may have a post-processor of its own
        return Tokenizer(backend, self.roles, settings, self.token_types, self.unread)

    def lowercased(self) -> Tokenizer:
        """The same tokenizer for texts in lower case."""
        backend = Backend.from_str(self.backend.to_str())
        backend.encode_special_tokens = self.backend.encode_special_tokens
        there = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *there])
        return Tokenizer(backend, self.roles, self.settings, self.token_types, self.unread)

    def with_separator(self) -> Tokenizer:
        """The same tokenizer, with a token between the texts of a pair where it would put none.

        Without one a model can not know where the second text begins.

        It stays as it is where the vocabulary has no token for it.
        """
        before, between, after = self.pair.parts
        role = next((role for role in ("sep", "eos", "bos") if self.has(role)), None)
        if between or role is None:
            return self
        kinds = self.pair.types[0], (self.pair.text_types[0],), self.pair.types[2]
        return self.with_frames(self.single, Frame((before, (self.id(role),), after), kinds, self.pair.text_types))

    def open_ended(self) -> Tokenizer:
        """The same tokenizer, with nothing after a text, for a model that continues it."""
        if not self.after:
            return self
        return self.with_frames(self.single.without_end(), self.pair)

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
        special[[i for part in (*self.single.parts, *self._pair.parts) for i in part]] = True
        special[[*self.sentinels]] = True
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
        text = str(self.backend.decode([int(i) for i in ids]))
        clean = self.settings.get("clean_up_tokenization_spaces")
        if clean and isinstance(self.backend.model, models.BPE):  # as transformers has it
            clean = self.settings.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")
        for spaced, joined in _CLEANED if clean else ():
            text = text.replace(spaced, joined)
        return text

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
        inputs = ["input_ids", *["token_type_ids"] * self.token_types, "attention_mask"]
        config = {
            **self.settings,
            "model_max_length": max_length,
            "model_input_names": inputs,
            "added_tokens_decoder": added_tokens(self.backend),
            **{f"{role}_token": token for role, token in self.roles.items()},
        }
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, `vocab.txt`, `vocab.json` with `merges.txt`, or `tokenizer.model`: the first of them.

        The result has the ids, the token types and the special tokens that `AutoTokenizer` of transformers 5 gives.

        Raises:
            UserError: there is none of them, or it can not be read.
        """
        try:
            files = read_tokenizer(folder)
            return cls(files.backend, files.roles, files.settings, files.token_types, files.unread)
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

# What `clean_up_tokenization_spaces` asks for.
_CLEANED = (
    *((f" {sign}", sign) for sign in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)


def _goes_on(text: str) -> bool:
    """Whether text without a space before it is inside a word: a letter, a digit, a mark, or a part of a character."""
    return text[:1] == "\ufffd" or unicodedata.category(text[:1] or " ")[0] in "LNM"


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
        UserError: the text has nothing to learn from, or the size has no room for letters, bytes and special tokens.
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
    kind = CLASSES.get(style.huggingface)
    return Tokenizer(backend, style.special, settings, token_types=kind is not None and kind.token_types)


def _pieces(documents: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Long documents in parts, so that no single one is held in memory twice."""
    for document in documents:
        for start in range(0, len(document), size):
            yield document[start : start + size]
