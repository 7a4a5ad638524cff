"""Masked language modelling: 15 % of the tokens are to be guessed (Devlin et al. 2018, section 3.1, task 1).

Of the tokens chosen, 80 % become [MASK], 10 % a random token, 10 % stay. The loss is on the chosen ones only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchword.data.documents import Documents
from patchword.data.loader import Batch, Examples, by_length
from patchword.data.shuffle import mix, uniform
from patchword.data.store import Sequences, Store, build_store
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.heads import MaskedTokenHead
from patchword.nn.packing import Layout, Packed
from patchword.tasks.task import Ask, Compute, Prepared, Reader, Task, kept_tokenizer

SHARE = 0.15
_CHOOSE, _ACTION, _REPLACE = 1, 2, 3  # purposes of a random number: equal keys, unequal numbers
_VALIDATION_SEQUENCES = 500


class MaskedExamples(Examples):
    """Sequences of token ids, masked anew in every epoch.

    Args:
        sequences: without special tokens; the tokenizer's frame ([CLS] and [SEP]) is put around each.
        tokenizer: says which ids are special and which go on with a word.
        whole_word: choose words, not word pieces.
        share: of the tokens of each sequence that are chosen (at least one).

    Raises:
        UserError: the tokenizer has no mask token.
    """

    def __init__(
        self, sequences: Sequences, tokenizer: Tokenizer, *, whole_word: bool = False, share: float = SHARE
    ) -> None:
        self.sequences = sequences
        self.tokenizer = tokenizer
        self.whole_word = whole_word
        self.share = share
        if not tokenizer.has("mask"):
            raise UserError(
                "Guessing hidden words needs a mask token, and this tokenizer has none. Take a tokenizer that has one."
            )
        self.ordinary = np.flatnonzero(~tokenizer.is_special)
        self.frame = len(tokenizer.before) + len(tokenizer.after)

    def __len__(self) -> int:
        return len(self.sequences)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, its frame included."""
        return self.sequences.lengths(ids) + self.frame

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Masked sequences, the original tokens at the chosen places as targets."""
        ids = ids[by_length(self.sequences.lengths(ids))]
        lengths = self.sequences.lengths(ids)
        tokens = np.concatenate(self.sequences.gather(ids)).astype(np.int64)
        sequence = np.repeat(np.arange(len(ids)), lengths)
        place = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        chosen = self.choose(tokens, sequence, place, ids, key)
        at = (np.flatnonzero(chosen), ids[sequence[chosen]], place[chosen])

        targets = tokens[chosen]
        action = uniform(*key, _ACTION, at[1], at[2])
        random_token = self.ordinary[(mix(*key, _REPLACE, at[1], at[2]) % np.uint64(len(self.ordinary))).astype(int)]
        tokens[chosen] = np.where(
            action < 0.8, self.tokenizer.id("mask"), np.where(action < 0.9, random_token, targets)
        )

        before, after = self.tokenizer.before, self.tokenizer.after
        total = lengths + self.frame
        framed = np.empty(total.sum(), np.int64)
        inner = np.arange(len(tokens)) + self.frame * sequence + len(before)
        ends = np.cumsum(total)
        framed[inner] = tokens
        framed[(ends - total)[:, None] + np.arange(len(before))] = before
        framed[(ends - len(after))[:, None] + np.arange(len(after))] = after
        packed = Packed(torch.from_numpy(framed), Layout(total.tolist()))
        return Batch((packed,), torch.from_numpy(targets), packed.layout.lengths, torch.from_numpy(inner[at[0]]))

    def choose(
        self,
        tokens: np.ndarray,
        sequence: np.ndarray,
        place: np.ndarray,
        ids: np.ndarray,
        key: tuple[int, int],
    ) -> np.ndarray:
        """Which tokens are to be guessed, `[T]` bool: whole units in random order until the share is reached.

        A unit is a token, or all pieces of a word. A word that would go over the share is left; a sequence with
        nothing else gives its first. Special tokens in the text, such as [UNK], are never chosen.
        """
        starts_unit = place == 0
        if self.whole_word:
            starts_unit |= ~self.tokenizer.continues_word[tokens]
        else:
            starts_unit[:] = True
        unit = np.cumsum(starts_unit) - 1
        size = np.bincount(unit)
        owner, first_place = sequence[starts_unit], place[starts_unit]
        special = self.tokenizer.is_special[tokens[starts_unit]]
        # Special tokens come last in each sequence, whatever their number says.
        order = np.lexsort((mix(*key, _CHOOSE, ids[owner], first_place), special, owner))
        running = np.cumsum(size[order])
        leads = np.flatnonzero(np.diff(owner[order], prepend=-1))
        before = np.repeat(running[leads] - size[order][leads], np.diff(np.append(leads, len(order))))
        budget = np.maximum(1, np.round(np.bincount(sequence) * self.share))
        taken = running - before <= budget[owner[order]]
        taken[leads] = True
        picked = np.empty(len(order), bool)
        picked[order] = taken
        chosen: np.ndarray = (picked & ~special)[unit]
        return chosen


class MaskedLM(Task):
    """Guess the hidden words of a text."""

    name = "masked_lm"
    modality = "text"
    way_out = "masked_token"
    reads = "corpus"

    def __init__(self, tokenizer: Tokenizer, counts: np.ndarray) -> None:
        self.tokenizer = tokenizer
        self.unigram = log_frequencies(counts)
        """`[vocab_size]`: log-probability of each token by how often it stands in the training text."""

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Tokenise the corpus, or open the store of an earlier run."""
        tokenizer = kept_tokenizer(reader)
        documents = Documents(ask.data, text_column=ask.text_column, lines=ask.lines, where=ask.where)
        piece = ask.max_length - len(tokenizer.before) - len(tokenizer.after)
        store = build_store(documents, documents.fingerprint(), tokenizer, piece, progress=progress)
        if not len(store.train) or not len(store.validation):
            raise UserError(
                f"The corpus is too small to hold a part of it back: {store.tokens} tokens in "
                f"{len(store.train) + len(store.validation)} sequences of at most {ask.max_length}. Give more text."
            )
        held_out = store.validation
        if len(held_out) > _VALIDATION_SEQUENCES:
            held_out = Sequences(held_out.tokens, held_out.ends[:_VALIDATION_SEQUENCES])
        facts = {
            "fingerprint": documents.fingerprint(),
            "documents": store.documents,
            "duplicate_documents": store.duplicates,
            "tokens": store.tokens,
            "bytes_per_token": round(store.bytes_per_token, 2),
            "padding": 0.0,
        }
        return Prepared(
            cls(tokenizer, store.counts),
            MaskedExamples(store.train, tokenizer, whole_word=ask.whole_word),
            MaskedExamples(held_out, tokenizer),
            (*documents.notes, _told(store)),
            facts,
        )

    @classmethod
    def restore(cls, model: Model, reader: Reader) -> MaskedLM:
        """With no counts yet: they are those of the text that the model is evaluated on."""
        tokenizer = kept_tokenizer(reader)
        return cls(tokenizer, np.zeros(tokenizer.vocab_size, np.int64))

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> MaskedExamples:
        """Texts, in pieces where they are long."""
        tokenizer = kept_tokenizer(reader)
        piece = ask.max_length - len(tokenizer.before) - len(tokenizer.after)
        encoded = tokenizer.encode([str(text) for text in items])
        pieces = [ids[start : start + piece] for ids in encoded for start in range(0, len(ids), piece)]
        return MaskedExamples(Sequences.from_arrays(pieces), tokenizer)

    def labelled(self, ask: Ask, reader: Reader) -> MaskedExamples:
        """Text that the model has not seen; of a large corpus, its beginning."""
        documents = Documents(ask.data, text_column=ask.text_column, lines=ask.lines, where=ask.where)
        examples = self.inputs(list(islice(iter(documents), _VALIDATION_SEQUENCES)), reader, ask)
        self.unigram = log_frequencies(np.bincount(examples.sequences.tokens, minlength=self.tokenizer.vocab_size))
        return examples

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """Not what it is for.

        Raises:
            UserError: always; says what to do.
        """
        raise UserError(
            "This is a pretrained model that has not learnt a task yet; "
            "`patchword finetune FOLDER data.csv --out ...` teaches it one."
        )

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Summed cross-entropy of the hidden tokens, in nats."""
        assert isinstance(model.head, MaskedTokenHead)
        return model.head.loss(model.features(*batch.inputs).values[batch.at], batch.targets)

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Loss and share of hidden tokens guessed, and the loss of the unigram guess on the very same ones."""
        assert isinstance(model.head, MaskedTokenHead)
        loss = right = unigram = 0.0
        count = 0
        for _, batch in compute.over(model, examples):
            logits = model.head.scores(model.head.transform(model.features(*batch.inputs).values[batch.at])).float()
            loss += torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum").item()
            right += (logits.argmax(-1) == batch.targets).sum().item()
            unigram -= self.unigram[batch.targets.cpu().numpy()].sum()
            count += batch.labels
        return {
            "loss": loss / count,
            "accuracy": right / count,
            "unigram_loss": float(unigram / count),
            "hidden_tokens": count,
        }

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A lower loss."""
        return (-metrics["loss"],)

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Validation figures, and guesses under a mask."""
        return {
            "validation": self.evaluate(model, prepared.validation, compute),
            "guesses": self.guesses(model, prepared.validation, compute),
        }

    def guesses(self, model: Model, examples: Examples, compute: Compute, count: int = 6) -> list[dict[str, Any]]:
        """Held-out sentences with one hidden token each, what it was, and the likeliest guesses."""
        assert isinstance(model.head, MaskedTokenHead)
        assert isinstance(examples, MaskedExamples)
        shown: list[dict[str, Any]] = []
        model.eval()
        for i in range(len(examples)):
            tokens = examples.sequences.gather(np.array([i]))[0][:24].astype(np.int64)
            words = ~self.tokenizer.is_special[tokens] & ~self.tokenizer.continues_word[tokens]
            words &= np.array([self._readable(t).isalpha() for t in tokens])
            words[:-1] &= ~self.tokenizer.continues_word[tokens[1:]]
            words[-1] = False  # the word may go on after the cut
            if len(tokens) < 12 or words.sum() < 4:
                continue
            place = int(np.flatnonzero(words)[words.sum() // 2])
            hidden = tokens.copy()
            hidden[place] = self.tokenizer.id("mask")
            before, after = self.tokenizer.before, self.tokenizer.after
            framed = torch.tensor([*before, *hidden.tolist(), *after], device=compute.device)
            with torch.inference_mode():
                logits = model(Packed(framed, Layout([len(framed)], compute.device)))[place + len(before)]
                best = logits.float().softmax(-1).topk(3)
            shown.append(
                {
                    "before": self.tokenizer.decode(tokens[:place]),
                    "hidden": self._readable(tokens[place]),
                    "after": self.tokenizer.decode(tokens[place + 1 :]),
                    "guesses": [
                        [self._readable(t), round(p, 4)]
                        for t, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                    ],
                }
            )
            if len(shown) == count:
                break
        return shown

    def _readable(self, i: int) -> str:
        """A token as text, without the space before it; one that stands for no text by its name."""
        return self.tokenizer.decode([i]).strip() or self.tokenizer.token(i)


def log_frequencies(counts: np.ndarray) -> np.ndarray:
    """Log-probability of each token by how often it stands in a text, one added to each count, `[vocab_size]`."""
    log: np.ndarray = np.log((counts + 1) / (counts.sum() + len(counts)))
    return log


def _told(store: Store) -> str:
    same = f", {store.duplicates:,} of them equal to an earlier one" if store.duplicates else ""
    return (
        f"{store.documents:,} documents{same}: {store.tokens:,} tokens at {store.bytes_per_token:.1f} bytes each; "
        f"{len(store.validation):,} of {len(store.train) + len(store.validation):,} sequences held back. "
        "Packed end to end, 0.0 % padding."
    )


TASK = MaskedLM
