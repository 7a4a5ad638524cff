"""What all ways to learn from unlabelled text have in common: the corpus, the loss on words, and its floor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from patchword.data.documents import Documents
from patchword.data.files import Data
from patchword.data.loader import Batch, Examples
from patchword.data.overlap import RUN, overlapping
from patchword.data.store import Sequences, Store, build_store
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.heads import VocabularyHead
from patchword.nn.experts import balance_loss
from patchword.nn.finite import finite
from patchword.tasks.review import evenly
from patchword.tasks.task import OF_TEXTS, Ask, Compute, Prepared, Reader, Task, kept_tokenizer, untaught

_VALIDATION_SEQUENCES = 500


class LanguageModel(Task):
    """Words of a text are to be said, from what is left of it.

    Args:
        tokenizer: of the text.
        counts: `[vocab_size]`, how often each token stands in the training text.
        z_loss: weight of the penalty on the size of the scores (`VocabularyHead.loss`).
    """

    modality = "text"
    reads = "corpus"
    heeds: ClassVar[tuple[str, ...]] = (*OF_TEXTS, "lines", "z_loss", "length_ramp")

    def __init__(self, tokenizer: Tokenizer, counts: np.ndarray, z_loss: float = 0.0) -> None:
        self.tokenizer = tokenizer
        self.z_loss = z_loss
        self.unigram = log_frequencies(counts, tokenizer)
        """`[vocab_size]`: log-probability of each token by how often it stands in the training text."""

    @classmethod
    @abstractmethod
    def examples(cls, sequences: Sequences, tokenizer: Tokenizer, ask: Ask, learning: bool) -> Examples:
        """Sequences of token ids as the model reads them."""

    @classmethod
    @abstractmethod
    def frame(cls, tokenizer: Tokenizer) -> int:
        """How many tokens are put around a sequence."""

    @classmethod
    def check(cls, tokenizer: Tokenizer) -> None:
        """Before a corpus is read: has the tokenizer what the task needs?

        Raises:
            UserError: it has not.
        """

    @classmethod
    def end(cls, tokenizer: Tokenizer) -> int | None:
        """The token that a document ends with in the store; None where that does not matter."""
        return None

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Tokenise the corpus, or open the store of an earlier run."""
        tokenizer = kept_tokenizer(reader)
        cls.check(tokenizer)
        store, documents = cls._store(ask.data, tokenizer, ask, ask.validation is None, progress)
        if not len(store.train) or (ask.validation is None and not len(store.validation)):
            raise UserError(
                f"The corpus is too small to hold a part of it back: {store.tokens} tokens in "
                f"{len(store.train) + len(store.validation)} sequences of at most {ask.max_length}. Give more text, or "
                "a validation file (--validation)."
            )
        facts = {
            "fingerprint": documents.fingerprint(),
            "documents": store.documents,
            "duplicate_documents": store.duplicates,
            "tokens": store.tokens,
            "bytes_per_token": round(store.bytes_per_token, 2),
            "padding": 0.0,
        }
        notes = [*documents.notes, _told(store)]
        if ask.validation is None:
            held_out = store.validation
            if len(held_out) > _VALIDATION_SEQUENCES:
                held_out = Sequences(held_out.tokens, held_out.ends[:_VALIDATION_SEQUENCES])
        else:
            given, documents = cls._store(ask.validation, tokenizer, ask, False, progress)
            if not len(given.train):
                raise UserError(f"{ask.validation}: there is no token in it to validate on.")
            held_out = Sequences.from_arrays(
                given.train.gather(np.array(evenly(len(given.train), _VALIDATION_SEQUENCES)))
            )
            same = int(overlapping(store.train, held_out).sum())
            facts |= {
                "validation_fingerprint": documents.fingerprint(),
                "validation_sequences": len(held_out),
                "validation_overlap": same,
            }
            notes += [*documents.notes, *_of_validation(given, held_out, same)]
        return Prepared(
            cls(tokenizer, store.counts, ask.z_loss),
            cls.examples(store.train, tokenizer, ask, learning=True),
            cls.examples(held_out, tokenizer, ask, learning=False),
            notes=tuple(notes),
            facts=facts,
        )

    @classmethod
    def _store(
        cls, data: Data, tokenizer: Tokenizer, ask: Ask, hold_out: bool, progress: Callable[[int], None]
    ) -> tuple[Store, Documents]:
        """Files as token sequences, and the documents in them."""
        documents = Documents(data, text_column=ask.text_column, lines=ask.lines, where=ask.where)
        piece, end = ask.max_length - cls.frame(tokenizer), cls.end(tokenizer)
        store = build_store(
            documents, documents.fingerprint(), tokenizer, piece, end=end, hold_out=hold_out, progress=progress
        )
        return store, documents

    @classmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> LanguageModel:
        """With no counts yet: they are those of the text that the model is evaluated on."""
        tokenizer = kept_tokenizer(reader)
        return cls(tokenizer, np.zeros(tokenizer.vocab_size, np.int64))

    @classmethod
    def sequences(cls, texts: Sequence[str], tokenizer: Tokenizer, ask: Ask) -> Sequences:
        """Texts as token ids, in pieces where they are long."""
        piece, end = ask.max_length - cls.frame(tokenizer), cls.end(tokenizer)
        encoded = tokenizer.encode(list(texts))
        if end is not None:
            encoded = [np.append(ids, np.int32(end)) for ids in encoded]
        return Sequences.from_arrays([ids[at : at + piece] for ids in encoded for at in range(0, len(ids), piece)])

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> Examples:
        """Texts, in pieces where they are long."""
        tokenizer = kept_tokenizer(reader)
        return cls.examples(cls.sequences([str(text) for text in items], tokenizer, ask), tokenizer, ask, False)

    def labelled(self, ask: Ask, reader: Reader) -> Examples:
        """Text that the model has not seen; of a large corpus, its beginning."""
        self.check(self.tokenizer)
        documents = Documents(ask.data, text_column=ask.text_column, lines=ask.lines, where=ask.where)
        texts = list(islice(iter(documents), _VALIDATION_SEQUENCES))
        sequences = self.sequences(texts, self.tokenizer, ask)
        counts = np.bincount(sequences.tokens, minlength=self.tokenizer.vocab_size)
        self.unigram = log_frequencies(counts, self.tokenizer)
        return self.examples(sequences, self.tokenizer, ask, False)

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """Not what it is for.

        Raises:
            UserError: always; says what to do.
        """
        raise untaught(self.modality)

    @property
    def only_in_training(self) -> tuple[str, ...]:
        """The penalty on the size of the scores."""
        return (f"z-loss {self.z_loss:g}",) if self.z_loss else ()

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Summed cross-entropy of the words that are asked for, in nats; and what keeps experts in use."""
        assert isinstance(model.head, VocabularyHead)
        loss = model.head.loss(model.features(*batch.inputs).values[batch.at], batch.targets, self.z_loss)
        return balanced(loss, model, batch)

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Loss and share of words guessed, and the loss of the unigram guess on the very same ones.

        Special tokens (an end, a sentinel) are no words: how often they stand in a text says nothing of them.
        """
        assert isinstance(model.head, VocabularyHead)
        loss = right = unigram = 0.0
        count = 0
        special = torch.from_numpy(self.tokenizer.is_special).to(compute.device)
        for _, batch in compute.over(model, examples):
            assert batch.at is not None
            words = ~special[batch.targets]
            targets = batch.targets[words]
            if not len(targets):
                continue
            losses, guesses = model.head.losses_and_guesses(
                model.features(*batch.inputs).values[batch.at[words]], targets
            )
            loss += finite(losses.sum()).item()
            right += (guesses == targets).sum().item()
            unigram -= self.unigram[targets.cpu().numpy()].sum()
            count += len(targets)
        count = max(count, 1)
        return {
            "loss": loss / count,
            "accuracy": right / count,
            "unigram_loss": float(unigram / count),
            "hidden_tokens": count,
        }

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A lower loss."""
        return (-metrics["loss"],)


def balanced(loss: Tensor, model: Model, batch: Batch) -> Tensor:
    """A batch's summed loss with what keeps experts in use, where the model has experts."""
    weight = getattr(model.config, "balance", 0.0)
    balance = balance_loss(model) if weight else None
    return loss if balance is None else loss + weight * balance * batch.labels


def log_frequencies(counts: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Log-probability of each word by how often it stands in a text, one added to each count, `[vocab_size]`.

    Among words: special tokens are left out of an evaluation, and so they are here.
    """
    counts = np.where(tokenizer.is_special, 0, counts)
    log: np.ndarray = np.log((counts + 1) / (counts.sum() + len(counts)))
    return log


def _told(store: Store) -> str:
    same = f", {store.duplicates:,} of them equal to an earlier one" if store.duplicates else ""
    sequences = len(store.validation) + len(store.train)
    held_back = f"{len(store.validation):,} of {sequences:,} sequences held back. " if len(store.validation) else ""
    return (
        f"{store.documents:,} documents{same}: {store.tokens:,} tokens at {store.bytes_per_token:.1f} bytes each; "
        f"{held_back}Packed end to end, 0.0 % padding."
    )


def _of_validation(given: Store, held_out: Sequences, same: int) -> Iterator[str]:
    """What `--validation` came to, and how much of it is training text."""
    of = "" if len(held_out) == len(given.train) else f", {len(held_out):,} of them, evenly spread, are evaluated"
    yield (
        f"Validation: {given.documents:,} documents, {len(given.train.tokens):,} tokens in {len(given.train):,} "
        f"sequences{of}."
    )
    if same:
        yield (
            f"{same:,} of the {len(held_out):,} validation sequences ({same / len(held_out):.0%}) are in the training "
            f"text too, as a whole or with {RUN} tokens in a row: the validation loss is lower than on unseen text. "
            "Take them out of the training files."
        )
