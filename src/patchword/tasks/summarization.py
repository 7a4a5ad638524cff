"""A short text that says what a long one says."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchword.checks.quick import learnt_from
from patchword.data.columns import Sample
from patchword.data.files import Data, ending, find
from patchword.data.loader import Examples
from patchword.data.sources import Labelled, read_labelled
from patchword.data.tables import TABLE_ENDINGS, Filter
from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice, UserError
from patchword.generation.settings import Generation
from patchword.generation.write import ends_of, write_framed
from patchword.models.family import Model
from patchword.models.generation_config import TOKENS
from patchword.models.heads import VocabularyHead
from patchword.models.trunks import Generative
from patchword.nn.finite import finite
from patchword.tasks.labelled import held_back
from patchword.tasks.language_model import balanced
from patchword.tasks.review import evenly
from patchword.tasks.rouge import rouges, summed_up
from patchword.tasks.summaries import Form, SummaryExamples
from patchword.tasks.task import OF_LABELS, OF_TEXTS, Ask, Compute, Prepared, Reader, Task, kept_tokenizer
from patchword.tasks.writing import Prompts

PROMPT = "\nTL;DR: "
_DOCUMENT = ["document", "article", "dialogue", "text", "source", "input"]
_SUMMARY = ["summary", "highlights", "headline", "synopsis", "target", "title"]
_WHILE_LEARNING, _AT_THE_END = 200, 500
_HELD_BACK = 0.1
_LEAD_CUTS = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Quantiles of the summaries' lengths: where the first sentence may be cut."""


class Summarization(Task):
    """Write a summary of a document."""

    name = "summarization"
    modality = "text"
    way_out = "next_token"
    trunk = Generative
    reads = "labelled"
    new_head = False
    heeds = (*OF_TEXTS, *OF_LABELS, "prefix", "prompt", "max_target_length")

    def __init__(self, tokenizer: Tokenizer, form: Form) -> None:
        self.tokenizer = tokenizer
        self.form = form

    @classmethod
    def recognises(cls, data: Data) -> bool:
        """A table with a document and a summary, by the columns' names."""
        found = list(find(data))
        if not all(ending(path) in TABLE_ENDINGS for path in found):
            return False
        columns = Sample.of(found).columns
        return bool(_named(_DOCUMENT[:3], columns) and _named(_SUMMARY[:2], columns))

    @classmethod
    def rows(cls, ask: Ask) -> Labelled:
        """Documents; summaries are no classes."""
        return replace(_read(ask.data, ask), labels=None)

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """The column of documents."""
        return (ask.text_column or _named(_DOCUMENT, sample.columns) or sample.text_column(None)[0],)

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Read documents and summaries; find out how long a summary is."""
        tokenizer = kept_tokenizer(reader)
        if not tokenizer.has("eos"):
            raise UserError("Summaries need a token that ends a text (eos), and this tokenizer has none.")
        rows = _read(ask.data, ask)
        notes, learn, apart = list(rows.notes), rows, None
        if ask.validation is None:
            kept, hold, together = held_back(rows, _HELD_BACK, ask.seed)
            if not len(hold):
                raise UserError(
                    f"{ask.data}: {len(rows)} rows are too few to hold some back for validation; give more, or a "
                    "file of their own (--validation)."
                )
            learn, validation = rows.subset(kept), rows.subset(hold)
            notes.append(f"{len(hold):,} of {len(rows):,} rows held back for validation (seed {ask.seed}){together}.")
        else:
            validation = apart = _read(ask.validation, ask)
        test_rows = None if ask.test is None else _read(ask.test, ask)
        findings = learnt_from(rows, {"validation": apart, "test": test_rows})
        notes += [finding.sentence() for finding in findings]
        target = ask.max_target_length
        if not target:
            frame = 1 if ask.writes == "rest" else len(tokenizer.single)
            counts = [len(ids) + frame for ids in tokenizer.encode(list(learn.labels or ()))]
            target = min(int(np.ceil(np.quantile(counts, 0.99))), ask.max_length // 2)
        if target > ask.max_length:
            raise UserError(f"--max-target-length {target} is over the {ask.max_length} tokens of --max-length.")
        if ask.prefix:
            notes.append(f"Before every document stands {ask.prefix!r} (--prefix).")
        task = cls(tokenizer, Form(ask.prefix, PROMPT if ask.prompt is None else ask.prompt, ask.max_length, target))
        train = task._examples(learn, ask)
        held_out = task._examples(validation, ask)
        test = None if test_rows is None else task._examples(test_rows, ask)
        parts = {"": train, " (validation)": held_out} | ({} if test is None else {" (test)": test})
        shares = ", ".join(f"{part.dropped / max(part.tokens, 1):.1%}{name}" for name, part in parts.items())
        notes.append(
            f"A summary has at most {target} tokens (--max-target-length), {train.cut_summaries:,} are cut; of the "
            f"documents' tokens {shares} are cut off at their ends. ROUGE while learning is of at most "
            f"{_WHILE_LEARNING} validation rows, at the end of {_AT_THE_END}."
        )
        facts = {
            "fingerprint": rows.fingerprint,
            "validation_fingerprint": validation.fingerprint,
            **({} if test_rows is None else {"test_fingerprint": test_rows.fingerprint}),
            "columns": rows.columns,
            "rows": len(train),
            "validation_rows": len(validation),
            "findings": [finding.as_dict() for finding in findings],
            "tokens": train.tokens,
            "dropped_tokens": train.dropped,
            "max_length": ask.max_length,
            "padding": 0.0,
        }
        return Prepared(task, train, held_out, test, tuple(notes), facts)

    @classmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> Summarization:
        """With the prefix, the prompt and the lengths that it was learnt with."""
        kept = card.get("settings") or {}
        lengths = kept.get("max_length", 256), kept.get("max_target_length", 64)
        return cls(kept_tokenizer(reader), Form(kept.get("prefix", ""), kept.get("prompt", PROMPT), *lengths))

    def facts(self) -> dict[str, Any]:
        """How a document is put to the model."""
        return vars(self.form).copy()

    def begin(self, model: Model) -> None:
        """Generation settings of what the model is trained to write, which `generate` of transformers reads as well.

        The best next token, summaries as long as those of the data. The tokens that begin and end a text are those of
        the base checkpoint; how it searched for its own texts is not taken over.
        """
        roles = (*TOKENS, "pad_token_id")
        ids = {name: getattr(model.config, name, None) for name in roles} | model.generation
        ends = list(dict.fromkeys([*ends_of(model), self.tokenizer.id("eos")]))
        ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
        how = {"do_sample": False, "num_beams": 1, "max_new_tokens": self.form.max_target_length}
        model.generation = {name: ids[name] for name in roles if ids.get(name) is not None} | how

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> Prompts:
        """Documents without summaries."""
        return Prompts([str(item) for item in items])

    def labelled(self, ask: Ask, reader: Reader) -> SummaryExamples:
        """Documents with summaries, put as the model has learnt. A warning says how much of them is cut off."""
        examples = self._examples(_read(ask.data, ask), ask)
        self._warn(examples.tokens, examples.dropped)
        return examples

    def _warn(self, tokens: int, dropped: int) -> None:
        if dropped:
            warnings.warn(
                f"Documents are cut to fit into the {self.form.max_length} tokens that the model reads; "
                f"{dropped / tokens:.1%} of all tokens are cut off, at their ends.",
                Notice,
                stacklevel=4,
            )

    def _examples(self, rows: Labelled, ask: Ask) -> SummaryExamples:
        start = ask.start_token if ask.writes == "answer" else None
        texts = [str(text) for text in rows.inputs]
        return SummaryExamples(texts, rows.labels or [], self.tokenizer, self.form, start)

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`summary` of each, as `generation_config.json` says. A warning says how much of the documents is cut off."""
        assert isinstance(examples, Prompts)
        framed, tokens, dropped = self._framed(model, examples.texts)
        examples.facts = {"tokens": tokens, "dropped_tokens": dropped}
        self._warn(tokens, dropped)
        return [{"summary": text} for text in self._written(model, framed, compute)]

    def _framed(self, model: Model, texts: Sequence[str]) -> tuple[list[np.ndarray], int, int]:
        """Documents as the model reads them; their tokens before the cut, and dropped."""
        return self.form.documents(texts, self.tokenizer, not hasattr(model.trunk, "encode"))

    def _written(self, model: Model, framed: Sequence[np.ndarray], compute: Compute) -> list[str]:
        was_training = model.training
        how = Generation()
        if "max_new_tokens" not in model.generation and "max_length" not in model.generation:
            how = Generation(max_new_tokens=self.form.max_target_length)
        try:
            with torch.inference_mode(), compute.autocast():
                written = write_framed(model.eval(), self.tokenizer, [ids.tolist() for ids in framed], how)
        finally:
            model.train(was_training)
        return [text.strip() for text in written]

    def loss(self, model: Model, batch: Any) -> Tensor:
        """Summed cross-entropy of the summaries' tokens, in nats; and what keeps experts in use."""
        assert isinstance(model.head, VocabularyHead)
        loss = model.head.loss(model.features(*batch.inputs).values[batch.at], batch.targets, 0.0)
        return balanced(loss, model, batch)

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Loss of all rows when the right tokens stand before each; ROUGE of summaries written for some."""
        return self._measured(model, examples, compute, _WHILE_LEARNING)

    def _measured(self, model: Model, examples: Examples, compute: Compute, most: int) -> dict[str, float]:
        assert isinstance(examples, SummaryExamples)
        loss, count = 0.0, 0
        for _, batch in compute.over(model, examples):
            loss += finite(self.loss(model, batch)).item()
            count += len(batch.targets)
        some = evenly(len(examples), most)
        written = self._written(model, [examples.sources[i] for i in some], compute)
        scores = summed_up(rouges([examples.summaries[i] for i in some], written))
        return {"loss": loss / max(count, 1), **scores, "rows": len(some)}

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A higher ROUGE-L; among equals, a lower loss."""
        return metrics["rougeL"], -metrics["loss"]

    def floors(self, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
        """The first sentence, cut after as many words as suit the summaries that were learnt from best."""
        assert isinstance(train, SummaryExamples)
        assert isinstance(held_out, SummaryExamples)

        def scores(examples: SummaryExamples, some: Sequence[int], words: int) -> np.ndarray:
            leads = [lead_of(examples.documents[i], words) for i in some]
            return rouges([examples.summaries[i] for i in some], leads)

        learnt = evenly(len(train), _WHILE_LEARNING)
        lengths = [len(train.summaries[i].split()) for i in learnt]
        cuts = sorted({int(cut) for cut in np.quantile(lengths, _LEAD_CUTS)})
        words = max(cuts, key=lambda cut: float(scores(train, learnt, cut)[:, -1].mean()))
        return {"lead": summed_up(scores(held_out, evenly(len(held_out), _AT_THE_END), words))}

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Scores and floors, and three summaries beside the expected ones."""
        held_out = prepared.validation
        assert isinstance(held_out, SummaryExamples)
        documents, expected = held_out.documents[:3], held_out.summaries[:3]
        triples = zip(documents, expected, self._written(model, held_out.sources[:3], compute), strict=True)
        samples = [{"before": d[:200], "expected": e, "written": w} for d, e, w in triples]
        return super().report(model, prepared, compute) | {"samples": samples}

    def judge(self, model: Model, examples: Examples, compute: Compute) -> tuple[dict[str, float], dict[str, Any]]:
        """Scores of up to 500 rows."""
        return self._measured(model, examples, compute, _AT_THE_END), {}


def lead_of(document: str, words: int) -> str:
    """The first sentence, so many words of it at most."""
    return " ".join(re.split(r"(?<=[.!?])\s", document.strip(), maxsplit=1)[0].split()[:words])


def _named(names: Sequence[str], columns: Sequence[str]) -> str | None:
    by_lower = {column.lower(): column for column in reversed(columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _read(data: Data, ask: Ask) -> Labelled:
    """Documents as inputs and summaries as labels."""
    tables = [path for path in find(data) if ending(path) in TABLE_ENDINGS]
    columns = Sample.of(tables, Filter(ask.where) if ask.where else None).columns if tables else []
    document = ask.text_column or _named(_DOCUMENT, columns)
    summary = ask.label_column or _named([name for name in _SUMMARY if name != document], columns)
    rows = read_labelled(data, text_column=document, label_column=summary, where=ask.where)
    for label, origin in zip(rows.labels or (), rows.origins, strict=True):
        if not isinstance(label, str):
            raise UserError(f"{origin}: the summary {str(label)[:40]!r} is not a text. Mend or remove the row.")
    used = rows.columns
    told = f"documents: column '{used['text']}'; summaries: column '{used['label']}' (--text-column, --label-column)"
    return replace(rows, notes=[told, *rows.notes[2:]])


TASK = Summarization
