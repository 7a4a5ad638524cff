"""Named entities, or a tag for each word: parts of speech, say."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from patchword.checks.quick import learnt_from
from patchword.data.columns import Sample
from patchword.data.files import Data
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Labelled, Origins
from patchword.data.tagged import Tagged, TaggedText, holds_tags, read_tagged
from patchword.data.word_rows import word_columns
from patchword.errors import Notice, UserError, did_you_mean
from patchword.models.family import Model
from patchword.nn.finite import finite
from patchword.tasks.entity_metrics import (
    Entity,
    by_kind,
    commonest,
    entity_counts,
    entity_scores,
    tag_counts,
    tag_scores,
)
from patchword.tasks.labelled import held_back
from patchword.tasks.review import evenly
from patchword.tasks.tagged_examples import TaggedExamples
from patchword.tasks.tags import OUTSIDE, entities, label_names, marks_spans, to_bio, transitions, viterbi
from patchword.tasks.task import OF_LABELS, OF_TEXTS, Ask, Compute, Prepared, Reader, Task, kept_tokenizer

VALIDATION_SHARE = 0.1
INSIDE_WORDS = 0.01
"""Word pieces get tags, not words, where a larger share of the spans begins or ends inside a word."""
_SHOWN = 5  # texts with mistakes
_WORD_COLUMNS = ("tokens", "words")


class TokenClassification(Task):
    """A tag for each word, at its first word piece (Devlin et al. 2018, section 5.3).

    Args:
        labels: of the model. Where they are O, B-X and I-X, entities are what is learnt, and only tags that can follow
            one another are predicted; else each word has a tag by itself.
        word_pieces: whether each word piece of a text has a tag, not each word: chosen in training where spans begin
            or end inside words, and kept in `patchword.json`.
    """

    name = "token_classification"
    modality = "text"
    way_out = "token_class"
    outputs = ("logits",)
    reads = "labelled"
    heeds = (*OF_TEXTS, *OF_LABELS)
    reads_words = True

    def __init__(self, labels: Sequence[str], word_pieces: bool = False) -> None:
        self.labels = tuple(labels)
        self.word_pieces = word_pieces
        self.marks = marks_spans(labels)
        self.kinds = tuple(sorted({name[2:] for name in labels if name != OUTSIDE})) if self.marks else ()
        self._number = {name: i for i, name in enumerate(self.labels)}
        for kind in self.kinds:  # IOB1 models of other programs know no B-X
            self._number.setdefault(f"B-{kind}", self._number.get(f"I-{kind}", 0))

    @classmethod
    def recognises(cls, data: Data) -> bool:
        """CoNLL files, or tables with lists of words and tags, or with texts and spans."""
        return holds_tags(data)

    @classmethod
    def rows(cls, ask: Ask) -> Labelled:
        """Sentences or documents, with the kinds of entity, or the tags, that stand in each."""
        rows = _read(ask)
        return Labelled("text", rows.inputs, [sorted(text.kinds) for text in rows.texts], Origins.named(rows.origins))

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """A column with lists of words, else the one with texts.

        Raises:
            UserError: the table has a word in each row.
        """
        for name in (ask.text_column,) if ask.text_column else _WORD_COLUMNS:
            if any(isinstance(row.get(name), list) for row in sample.cells):
                return (name,)
        by_word = word_columns(sample.columns)
        if by_word is not None and ask.text_column in (None, by_word.word):
            raise UserError(
                f"{sample.name} has a word in each row (column '{by_word.word}'), but a sentence in each is predicted. "
                "Give a text or a list of words in each row, or a CoNLL file."
            )
        return super().input_columns(sample, ask)

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Read the texts, find the labels, and hold a part back for validation where none is given."""
        rows = _read(ask)
        task = cls(_labels(rows))
        notes = list(rows.notes)
        if ask.validation is None:
            learn, hold, together = held_back(rows, max(VALIDATION_SHARE, 1 / len(rows)), ask.seed)
            if not len(learn) or not len(hold):
                raise UserError(
                    f"{ask.data}: {len(rows)} sentences (equal ones stay together) are too few to hold some back for "
                    "validation; give more, or a file of their own (--validation)."
                )
            train, validation, apart = rows.subset(learn), rows.subset(hold), None
            notes.append(
                f"{len(hold):,} of {len(rows):,} sentences held back for validation (seed {ask.seed}){together}."
            )
        else:
            train, validation = rows, (apart := _read(replace(ask, data=ask.validation)))
        train_examples = task._examples(train, reader, ask)
        if train_examples.inexact > INSIDE_WORDS * train_examples.spans:
            finer = cls(task.labels, word_pieces=True)
            examples = finer._examples(train, reader, ask)
            if examples.inexact < train_examples.inexact:
                task, train_examples = finer, examples
        if not train_examples.words:
            raise UserError(f"{ask.data}: there are no words to learn from.")
        validation_examples = task._examples(validation, reader, ask)
        test_rows = None if ask.test is None else _read(replace(ask, data=ask.test))
        test = None if test_rows is None else task._examples(test_rows, reader, ask)
        findings = learnt_from(rows, {"validation": apart, "test": test_rows})
        facts = {
            "fingerprint": rows.fingerprint,
            "validation_fingerprint": validation.fingerprint,
            **({} if test_rows is None else {"test_fingerprint": test_rows.fingerprint}),
            "columns": rows.columns,
            "rows": len(train),
            "validation_rows": len(validation),
            "findings": [finding.as_dict() for finding in findings],
            "words": train_examples.words,
            "tokens": train_examples.pieces,
            "dropped_tokens": 0,
            "windows": len(train_examples),
        }
        notes += [*(finding.sentence() for finding in findings), task._told(train_examples), *train_examples.notes]
        return Prepared(task, train_examples, validation_examples, test, tuple(notes), facts)

    @classmethod
    def restore(
        cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})
    ) -> TokenClassification:
        """With the labels of the model, which say whether it finds entities, and the units that its folder names."""
        return cls(model.labels, bool(card.get("settings", {}).get("word_pieces")))

    def facts(self) -> dict[str, Any]:
        """Which parts of a text have a tag each."""
        return {"word_pieces": self.word_pieces}

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> TaggedExamples:
        """Texts, or lists of words."""
        texts = [
            TaggedText.of_words([str(word) for word in item])
            if isinstance(item, list | tuple)
            else TaggedText(str(item))
            for item in items
        ]
        return TaggedExamples(texts, kept_tokenizer(reader), ask.max_length, word_pieces=ask.word_pieces)

    def labelled(self, ask: Ask, reader: Reader) -> TaggedExamples:
        """Texts whose tags are the model's. A `Notice` counts the spans that it can not predict exactly."""
        examples = self._examples(_read(ask), reader, ask)
        if examples.inexact:
            warnings.warn(examples.inexact_note, Notice, stacklevel=2)
        return examples

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over the words."""
        logits: Tensor = model(*batch.inputs).float()
        return F.cross_entropy(logits[batch.at], batch.targets, reduction="sum")

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Of entities F1, precision, recall and F1 by kind; of words accuracy, loss, and macro F1 where tags are plain.

        `name_low` and `name_high` are the ends of a bootstrap 95 % interval over sentences.
        """
        assert isinstance(examples, TaggedExamples)
        return self._said(model, examples, compute)[1]

    def _said(
        self, model: Model, examples: TaggedExamples, compute: Compute
    ) -> tuple[list[np.ndarray], dict[str, float]]:
        """The tags of each text, and how good they are."""
        scores = self._scores(model, examples, compute)
        loss = -float(scores[np.arange(len(scores)), examples.targets].mean()) if len(scores) else 0.0
        said = self._decoded(examples.by_document(scores))
        return said, {**self._measured(examples, said), "loss": loss}

    def judge(self, model: Model, examples: Examples, compute: Compute) -> tuple[dict[str, float], dict[str, Any]]:
        """Scores; each kind of entity (or tag), and texts that were read wrongly."""
        assert isinstance(examples, TaggedExamples)
        said, metrics = self._said(model, examples, compute)
        return metrics, self._looked_at(examples, said)

    def _looked_at(self, examples: TaggedExamples, said: Sequence[np.ndarray]) -> dict[str, Any]:
        """ "review", of each kind, and "samples", of mistakes, as the page shows them."""
        found, truth = self._found(examples, said), self._truth(examples)
        names, unit = (self.kinds, "entities") if self.marks else (self.labels, "words")
        classes = by_kind(entity_counts(truth, found, names).sum(0), names)
        wrong = [n for n, (one, other) in enumerate(zip(found, truth, strict=True)) if one != other]
        samples = [
            {
                "before": examples.documents[n].text,
                "written": _only(examples.documents[n].text, found[n], truth[n]),
                "expected": _only(examples.documents[n].text, truth[n], found[n]),
            }
            for n in (wrong[at] for at in evenly(len(wrong), _SHOWN))
        ]
        told = f"Texts that it did not read rightly, with what differs: {len(samples)} of {len(wrong):,} are shown."
        if not wrong:
            told = "It read every text rightly."
        return {"review": {"unit": unit, "classes": classes}, "samples": samples, "samples_are": told}

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A higher F1 of entities, or accuracy of plain tags; among equals, a lower loss."""
        return (metrics["f1" if self.marks else "accuracy"], -metrics["loss"])

    def floors(self, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
        """Each word's commonest tag, and the commonest tag of all (of entities: none anywhere)."""
        assert isinstance(train, TaggedExamples)
        assert isinstance(held_out, TaggedExamples)
        words = [document.text[a:b] for document in train.documents for a, b in document.words]
        known, unknown = commonest(list(zip(words, train.targets.tolist(), strict=True)), len(self.labels))
        said = [
            np.array([known.get(document.text[a:b], unknown) for a, b in document.words], np.int64)
            for document in held_out.documents
        ]
        most = self._number[OUTSIDE] if self.marks else int(np.bincount(train.targets).argmax())
        one = [np.full(len(document.words), most) for document in held_out.documents]
        name = "all O" if self.marks else f"all {self.labels[most]}"
        return {"commonest tag": self._measured(held_out, said), name: self._measured(held_out, one)}

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`entities`, each with `text`, `label`, `start`, `end` (characters) and `confidence`; or `tokens` and `tags`.

        The confidence is the mean probability of an entity's tags. A list of words has their `tags` (BIO) as well.
        """
        assert isinstance(examples, TaggedExamples)
        scores = examples.by_document(self._scores(model, examples, compute))
        said = []
        for document, chances, tags in zip(examples.documents, scores, self._decoded(scores), strict=True):
            text, words = document.text, document.words
            if not self.marks:
                tokens = [text[start:end] for start, end in words]
                said.append({"tokens": tokens, "tags": [self.labels[tag] for tag in tags]})
                continue
            sure = np.exp(chances[np.arange(len(tags)), tags])
            found = [
                (words[first][0], words[last - 1][1], kind, float(sure[first:last].mean()))
                for first, last, kind in self._entities(tags)
            ]
            row: dict[str, Any] = {
                "entities": [
                    {"text": text[start:end], "label": kind, "start": start, "end": end, "confidence": confidence}
                    for start, end, kind, confidence in found
                ]
            }
            said.append(row | ({"tags": self._bio(tags)} if document.came_as_words else {}))
        return said

    def _examples(self, rows: Tagged, reader: Reader, ask: Ask) -> TaggedExamples:
        self._check(rows.texts)
        tokenizer = kept_tokenizer(reader)
        return TaggedExamples(rows.texts, tokenizer, ask.max_length, self._number, self.marks, self.word_pieces)

    def _check(self, texts: Sequence[TaggedText]) -> None:
        """A UserError for the first tag that is none of the labels."""
        known = self.kinds if self.marks else self.labels
        for text in texts:
            tags: Sequence[str] = text.tags or [f"B-{span.label}" for span in text.spans or ()]
            for place, tag in enumerate(tags):
                name = tag[2:] if self.marks and tag[1:2] == "-" else tag
                if name in known or (self.marks and tag == OUTSIDE):
                    continue
                what = f"the tag '{tag}'" if text.tags else f"the label '{name}'"
                where = f"{text.origin}, word {place + 1}" if text.tags else text.origin
                more = " (O, B-X and I-X mark entities)" if self.marks and text.tags else ""
                raise UserError(
                    f"{where}: {what} is not one that the model knows{more}{did_you_mean(name, known)} "
                    f"Known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
                )

    def _scores(self, model: Model, examples: TaggedExamples, compute: Compute) -> np.ndarray:
        """Log-probabilities of every word's tags, `[words, classes]`; a word that has no piece has equal ones."""
        out = np.full((examples.words, len(self.labels)), -np.log(len(self.labels)), np.float32)
        for ids, batch in compute.over(model, examples):
            logits = finite(model(*batch.inputs).float()[batch.at])
            out[examples.word_numbers(ids)] = logits.log_softmax(-1).cpu().numpy()
        return out

    def _decoded(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The tags of each text."""
        return viterbi(scores, *transitions(self.labels)) if self.marks else [row.argmax(-1) for row in scores]

    def _entities(self, tags: np.ndarray) -> list[tuple[int, int, str]]:
        if not self.marks:
            return [(at, at + 1, self.labels[tag]) for at, tag in enumerate(tags)]
        return entities(self._bio(tags))

    def _bio(self, tags: np.ndarray) -> list[str]:
        return to_bio([self.labels[tag] for tag in tags])[0]

    def _found(self, examples: TaggedExamples, said: Sequence[np.ndarray]) -> list[list[Entity]]:
        """The entities of each text in characters; where tags are plain, each word is one of its tag."""
        return [
            [(document.words[a][0], document.words[b - 1][1], kind) for a, b, kind in self._entities(tags)]
            for document, tags in zip(examples.documents, said, strict=True)
        ]

    def _truth(self, examples: TaggedExamples) -> list[list[Entity]]:
        if self.marks:
            return [list(document.entities) for document in examples.documents]
        return self._found(examples, examples.by_document(examples.targets))

    def _measured(self, examples: TaggedExamples, said: Sequence[np.ndarray]) -> dict[str, float]:
        """Every metric but the loss."""
        targets = examples.by_document(examples.targets)
        rows: dict[str, float] = {"sentences": len(said), "words": examples.words}
        if not self.marks:
            return {**tag_scores(tag_counts(targets, said, len(self.labels))), **rows}
        found, truth = self._found(examples, said), self._truth(examples)
        right = sum(int((one == two).sum()) for one, two in zip(targets, said, strict=True))
        return {
            **entity_scores(entity_counts(truth, found, self.kinds), self.kinds),
            "accuracy": right / max(examples.words, 1),
            **rows,
        }

    def _told(self, train: TaggedExamples) -> str:
        what = [span.label for document in train.documents for span in document.entities]
        counts = Counter(what) if self.marks else Counter(self.labels[tag] for tag in train.targets.tolist())
        most = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(6))
        more = f", ... {counts.most_common()[-1][0]} {counts.most_common()[-1][1]:,}" if len(counts) > 6 else ""
        plural = "" if len(counts) == 1 else "s"
        kind = f"kind{plural} of entity" if self.marks else f"tag{plural}"
        return (
            f"{len(train.documents):,} sentences, {train.words:,} words; {len(counts)} {kind}"
            f"{': ' if counts else ''}{most}{more}."
        )


def _only(text: str, some: Sequence[Entity], other: Sequence[Entity]) -> str:
    """Those that are not among the others."""
    return ", ".join(f"{text[a:b]} ({kind})" for a, b, kind in some if (a, b, kind) not in other) or "–"


def _read(ask: Ask) -> Tagged:
    return read_tagged(ask.data, text_column=ask.text_column, label_column=ask.label_column, where=ask.where)


def _labels(rows: Tagged) -> tuple[str, ...]:
    """The labels of a model that learns from these texts."""
    tags = {tag for text in rows.texts for tag in text.tags or [f"B-{span.label}" for span in text.spans or ()]}
    if any(text.spans is not None for text in rows.texts):
        tags.add(OUTSIDE)
    prefixed = any(tag[:2] in ("B-", "I-") for tag in tags)
    if prefixed and OUTSIDE in tags and not marks_spans(tags):
        text, tag = next((text, tag) for text in rows.texts for tag in text.tags or () if not marks_spans({tag, "B-X"}))
        raise UserError(f"{text.origin}: the tag '{tag}' is neither O nor B-X or I-X, as the others are. Mend it.")
    labels = label_names(tags)
    if len(labels) < 2:
        raise UserError(f"There is one tag only, {', '.join(labels) or 'none'}; there is nothing to tell apart.")
    return labels


TASK = TokenClassification
