"""Tokenizers: trained on the user's own text, or taken from a model folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from patchword.errors import UserError

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}

# More text than this changes a vocabulary little and its training time a lot.
SAMPLE_CHARACTERS = 100_000_000


class Tokenizer:
    """Text to ids and back.

    Args:
        backend: a `tokenizers.Tokenizer`.
        lowercase: whether it ignores case (kept in `tokenizer_config.json`).
    """

    def __init__(self, backend: Backend, lowercase: bool = True) -> None:
        self.backend = backend
        self.lowercase = lowercase
        backend.no_padding()
        backend.no_truncation()
        missing = [token for token in SPECIAL.values() if backend.token_to_id(token) is None]
        if missing:
            raise UserError(f"The tokenizer has no {', '.join(missing)} token, which an encoder needs.")
        self.pad, self.unk, self.cls, self.sep, self.mask = (
            int(backend.token_to_id(token) or 0) for token in SPECIAL.values()
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    @cached_property
    def continues_word(self) -> np.ndarray:
        """`[vocab_size]` bool: whether a token goes on with the word before it ("##ing")."""
        tokens = [self.backend.id_to_token(i) or "" for i in range(self.vocab_size)]
        return np.array([token.startswith("##") for token in tokens])

    @cached_property
    def is_special(self) -> np.ndarray:
        """`[vocab_size]` bool: whether a token stands for no text."""
        special = np.zeros(self.vocab_size, bool)
        special[[self.pad, self.unk, self.cls, self.sep, self.mask]] = True
        return special

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, `[length]` int32, without [CLS] and [SEP]."""
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

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
        self.backend.save(str(folder / "tokenizer.json"))
        vocabulary = sorted(self.backend.get_vocab().items(), key=lambda item: item[1])
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary), "utf-8")
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "model_max_length": max_length,
            **SPECIAL,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, or an old folder's `vocab.txt`.

        Raises:
            UserError: there is neither, or it can not be read.
        """
        settings = folder / "tokenizer_config.json"
        try:
            config = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
            lowercase = bool(config.get("do_lower_case", True))
            if (folder / "tokenizer.json").is_file():
                return cls(Backend.from_file(str(folder / "tokenizer.json")), lowercase)
            if (folder / "vocab.txt").is_file():
                vocabulary = models.WordPiece.read_file(str(folder / "vocab.txt"))
                return cls(_wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase), lowercase)
        except UserError:
            raise
        except Exception as error:  # the backend raises bare Exception
            raise UserError(f"The tokenizer in {folder} can not be read: {error}.") from error
        raise UserError(f"{folder} has no tokenizer: neither tokenizer.json nor vocab.txt.")


def vocabulary_size(characters: int) -> int:
    """How many word pieces a corpus of so many characters can teach: 4,000 at 1 million, 30,528 at 1,000 million.

    Distinct words grow as a power of a text's length (Heaps' law); between these two ends that is the power 0.29.
    """
    size = 4000 * (max(characters, 1) / 1e6) ** 0.29
    return int(min(max(round(size / 64) * 64, 512), 30528))


def train_wordpiece(documents: Iterable[str], vocab_size: int | None = None, lowercase: bool = True) -> Tokenizer:
    """Learn a WordPiece vocabulary (Schuster and Nakajima 2012) from text, read as a stream.

    Args:
        documents: can be gone through more than once.
        vocab_size: number of ids; chosen from the corpus (`vocabulary_size`) where not given.
        lowercase: ignore case and accents, as "uncased" BERT does.

    Raises:
        UserError: the text has nothing to learn from.
    """
    characters, distinct = 0, set[str]()
    for document in documents:
        characters += len(document)
        distinct.update(document)
    vocab_size = vocab_size or vocabulary_size(characters)
    every = -(-characters // SAMPLE_CHARACTERS) or 1
    backend = _wordpiece(models.WordPiece(unk_token="[UNK]"), lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        # The trainer would number the single letters by a hash that differs from process to process, and break ties
        # between equally frequent pieces by these numbers. Named here, they are numbered in this order.
        special_tokens=[*SPECIAL.values(), *(f"##{letter}" for letter in _letters(backend, distinct))],
        show_progress=False,
    )
    backend.train_from_iterator(_pieces(islice(iter(documents), 0, None, every)), trainer)
    if backend.get_vocab_size() <= len(SPECIAL):
        raise UserError("No vocabulary could be learnt: the text has no words.")
    # Its other numbers depend on that hash, too; these do not.
    pieces = sorted(backend.get_vocab().keys() - set(SPECIAL.values()), key=lambda piece: (len(piece), piece))
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL.values(), *pieces])}
    return Tokenizer(_wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase), lowercase)


def _letters(backend: Backend, characters: Iterable[str]) -> list[str]:
    """What can stand inside a word once the text is normalised and cut, sorted."""
    letters = set[str]()
    for character in characters:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str("a" + character)):
            if word[0] == "a":
                letters.update(word[1:])
    return sorted(letters)


def _pieces(documents: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Long documents in parts, so that no single one is held in memory twice."""
    for document in documents:
        for start in range(0, len(document), size):
            yield document[start : start + size]


def _wordpiece(model: models.WordPiece, lowercase: bool) -> Backend:
    backend = Backend(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    cls, sep = backend.token_to_id("[CLS]"), backend.token_to_id("[SEP]")
    if cls is not None and sep is not None:
        backend.add_special_tokens(list(SPECIAL.values()))
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
        )
    return backend
