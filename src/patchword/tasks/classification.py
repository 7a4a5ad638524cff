"""What classifying texts and classifying images have in common: everything but the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from patchword.checks.quick import quick_findings
from patchword.data.label_cells import SEPARATORS
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Labelled, read_labelled
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.heads import ClassHead, MeanToken
from patchword.tasks import floors, frozen
from patchword.tasks.calibration import believed, calibration_error, coverage, fit_temperature, reliability
from patchword.tasks.contrast import FEW, SHARE, contrast
from patchword.tasks.labelled import LabelledExamples, held_back, rows_of, told
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, class_weights
from patchword.tasks.metrics import probabilities, scores
from patchword.tasks.review import review
from patchword.tasks.task import Ask, Compute, Prepared, Reader, Task

VALIDATION_SHARE = 0.1


def _several(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """A row counts once, however many classes there are."""
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none").mean(1).sum()


_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    MULTI: _several,
    REGRESSION: lambda logits, targets, weights: F.mse_loss(logits, targets, reduction="sum"),
}


class Classification(Task):
    """A class, several classes or a number for each example, from the class head.

    Args:
        labels: names and problem.
        shift, scale: a regression learns (target - shift) / scale, so that the unit of the target does not matter;
            `finish` puts both into the head.
        weights: what each class counts in the loss that is learnt, `[classes]`; all alike where None. What is evaluated
            has none.
        smoothing: share of a target that all classes get alike in the loss that is learnt (Szegedy et al. 2016).
        contrast: share of supervised contrast (`tasks/contrast.py`) in the loss that is learnt.

    Attributes:
        contrasts: whether few rows of one class each are learnt with contrast where nothing is said.
    """

    contrasts: ClassVar[bool] = False
    way_out = "class"
    outputs = ("logits",)
    reads = "labelled"
    heeds: ClassVar[tuple[str, ...]] = ("label_smoothing",)
    validation_share = VALIDATION_SHARE

    def __init__(
        self,
        labels: LabelSet,
        shift: float = 0.0,
        scale: float = 1.0,
        weights: Tensor | None = None,
        smoothing: float = 0.0,
        contrast: float = 0.0,
    ) -> None:
        self.label_set = labels
        self.labels = labels.names
        self.problem = labels.problem
        self.shift, self.scale = shift, scale
        self.weights = weights
        self.smoothing = smoothing
        self.contrast = contrast
        self._mean = MeanToken()
        self.settings: Mapping[str, Any] = {}

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> LabelledExamples:
        """The rows as a model reads them."""
        raise TypeError("a classification task says how its inputs are read")

    @classmethod
    def rows(cls, ask: Ask) -> Labelled:
        """Rows of the data."""
        return cls.read(ask.data, ask)

    @classmethod
    def read(cls, data: Any, ask: Ask, need_labels: bool = True) -> Labelled:
        """Rows of a file, with the columns that were asked for."""
        rows = read_labelled(
            data,
            text_column=ask.text_column,
            image_column=ask.image_column,
            label_column=ask.label_column,
            pair_column=ask.pair_column,
            need_labels=need_labels,
            where=ask.where,
            pairs=cls.modality == "text",
        )
        if rows.modality != cls.modality:
            raise UserError(f"{data}: these are {rows.modality}s, but {cls.name} reads {cls.modality}s.")
        return rows

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Read the rows, find the labels, and hold a part back for validation where none is given."""
        rows = cls.read(ask.data, ask)
        assert rows.labels is not None
        column = rows.columns.get("label", "label")
        label_set = LabelSet.find(rows.labels, column, ask.problem)
        targets = label_set.encode(rows.labels, rows.origins)
        notes = [*rows.notes, told(label_set, targets)]
        if any(isinstance(value, str) and SEPARATORS.search(value) for value in rows.labels):
            notes.append(
                "Cells with several labels are cut at | and ;."
                if label_set.problem == MULTI
                else "Some labels have a | or a ; in them; --problem multi_label_classification would cut them there."
            )
        if ask.validation is None:
            learn, hold, together = held_back(rows, cls.validation_share, ask.seed, label_set, targets)
            if not len(hold):
                raise UserError(
                    f"{ask.data}: {len(targets)} rows are too few to hold some back for validation; "
                    "give more, or a file of their own (--validation)."
                )
            notes.append(
                f"{len(hold):,} of {len(targets):,} rows held back for validation, in every class's proportion "
                f"(seed {ask.seed}){together}."
            )
            train, validation = rows.subset(learn), rows.subset(hold)
            train_targets, validation_targets = targets[learn], targets[hold]
        else:
            train, train_targets = rows, targets
            validation = cls.read(ask.validation, ask)
            assert validation.labels is not None
            validation_targets = label_set.encode(validation.labels, validation.origins)
        if ask.label_smoothing and label_set.problem != SINGLE:
            raise UserError("Labels are smoothed where a row has one of several classes. Leave --label-smoothing out.")
        if ask.contrast and label_set.problem != SINGLE:
            raise UserError("--contrast draws rows of one class together, so each row needs one class. Leave it out.")
        share = ask.contrast or 0.0
        if ask.contrast is None and cls.contrasts and label_set.problem == SINGLE and len(rows) < FEW:
            share = SHARE
            notes.append(
                f"Under {FEW:,} rows: those of one class are drawn together as well (--contrast {SHARE:g}), which is "
                "in the loss of a step."
            )
        test_rows = None if ask.test is None else cls.read(ask.test, ask)
        apart = None if ask.validation is None else validation
        findings = quick_findings(rows, {"validation": apart, "test": test_rows}, label_set.problem)
        notes += [finding.sentence() for finding in findings if finding.severity == "problem"]
        task = cls(label_set, smoothing=ask.label_smoothing, contrast=share)
        if label_set.problem == REGRESSION:
            task.shift = float(train_targets.mean())
            task.scale = float(train_targets.std()) or 1.0
        if ask.class_weights == "auto":
            task.weights = torch.from_numpy(class_weights(label_set, train_targets))
            lightest, heaviest = (int(i) for i in (task.weights.argmin(), task.weights.argmax()))
            notes.append(
                f"A row of '{label_set.names[heaviest]}' counts {task.weights[heaviest]:.3g} in the loss, one of "
                f"'{label_set.names[lightest]}' {task.weights[lightest]:.3g}."
            )
        train_examples = cls.examples(train, reader, ask, task.scaled(train_targets))
        ask = replace(ask, **train_examples.settings)
        task.settings = train_examples.settings
        validation_examples = cls.examples(validation, reader, ask, task.scaled(validation_targets))
        test = None if test_rows is None else task.encoded(test_rows, ask, reader)
        notes += train_examples.notes
        facts = {
            "fingerprint": rows.fingerprint,
            "validation_fingerprint": validation.fingerprint,
            **({} if test_rows is None else {"test_fingerprint": test_rows.fingerprint}),
            "columns": rows.columns,
            "rows": len(train),
            "validation_rows": len(validation),
            "findings": [finding.as_dict() for finding in findings],
            **({} if label_set.problem == REGRESSION else {"label_rows": rows_of(label_set, train_targets)}),
            **train_examples.facts,
        }
        return Prepared(task, train_examples, validation_examples, test, tuple(notes), facts)

    @classmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> Classification:
        """With the labels of the model.

        Raises:
            UserError: it predicts several numbers.
        """
        if model.problem == REGRESSION and len(model.labels) > 1:
            raise UserError(
                f"The model predicts {len(model.labels)} numbers for each row (problem_type is regression); only one "
                "is supported."
            )
        return cls(LabelSet(model.labels, model.problem or SINGLE))

    def labelled(self, ask: Ask, reader: Reader) -> LabelledExamples:
        """Rows whose labels are the model's."""
        return self.encoded(self.read(ask.data, ask), ask, reader)

    def encoded(self, rows: Labelled, ask: Ask, reader: Reader) -> LabelledExamples:
        """Rows with the model's labels as examples."""
        assert rows.labels is not None
        return self.examples(rows, reader, ask, self.scaled(self.label_set.encode(rows.labels, rows.origins)))

    def facts(self) -> dict[str, Any]:
        """How its inputs are read."""
        return dict(self.settings)

    def scaled(self, targets: np.ndarray) -> np.ndarray:
        """Targets as they are learnt."""
        return (targets - np.float32(self.shift)) / np.float32(self.scale) if self.problem == REGRESSION else targets

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Summed over the rows: cross-entropy, mean binary cross-entropy, or squared error; weighted by class."""
        assert self.problem is not None
        hidden, targets = model.features(*batch.inputs), batch.targets
        logits = model.head(hidden).float()
        if self.problem == REGRESSION:
            targets = targets + (self.shift - self._shift(model)) / self.scale
        weights = None if self.weights is None else self.weights.to(logits.device)
        if self.problem == SINGLE:
            entropy = F.cross_entropy(logits, targets, weights, reduction="sum", label_smoothing=self.smoothing)
            if not self.contrast:
                return entropy
            return (1.0 - self.contrast) * entropy + self.contrast * contrast(self._mean(hidden), targets)
        return _LOSSES[self.problem](logits, targets, weights)

    def _shift(self, model: Model) -> float:
        """What `finish` can put into the head: without a bias (Llama) it has no place for a shift."""
        return self.shift if isinstance(model.head, ClassHead) and model.head.scores.bias is not None else 0.0

    def logits(self, model: Model, examples: Examples, compute: Compute) -> np.ndarray:
        """What the model gives for every example, `[n, classes]`, in their order; the mean over an example's parts."""
        assert isinstance(examples, LabelledExamples)
        parts, owners = examples.parts()
        out = np.zeros((len(examples), len(self.labels)), np.float32)
        for ids, batch in compute.over(model, parts):
            np.add.at(out, owners[ids], model(*batch.inputs).float().cpu().numpy())
        out /= np.bincount(owners, minlength=len(examples))[:, None]
        return out * np.float32(self.scale) + np.float32(self._shift(model)) if self.problem == REGRESSION else out

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """`metrics.scores` of the model's predictions."""
        assert isinstance(examples, LabelledExamples)
        return self._scores(self.logits(model, examples, compute), examples)

    def _scores(self, logits: np.ndarray, examples: LabelledExamples) -> dict[str, float]:
        assert self.problem is not None
        targets = examples.targets
        if self.problem == REGRESSION:
            targets = targets * np.float32(self.scale) + np.float32(self.shift)
        return scores(logits, targets, self.problem, ordinal=self.label_set.ordinal)

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A higher main metric; among equals, a lower loss. Classes that count alike do so here: by the macro F1."""
        assert self.problem is not None
        main = MAIN[self.problem] if self.weights is None else "macro_f1"
        return {SINGLE: 1, MULTI: 1, REGRESSION: -1}[self.problem] * metrics[main], -metrics["loss"]

    def settle(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """A temperature goes into the head, so that whoever opens the folder gets confidences that hold."""
        held_back = prepared.validation
        assert isinstance(held_back, LabelledExamples)
        assert self.problem is not None
        if self.problem == REGRESSION:
            return {}
        logits = self.logits(model, held_back, compute)
        before = calibration_error(*believed(logits, held_back.targets, self.problem))
        temperature = fit_temperature(logits, held_back.targets, self.problem)
        _scale(model, 1.0 / temperature)
        return {"calibration": {"temperature": temperature, "error_before": before}}

    def judge(self, model: Model, examples: Examples, compute: Compute) -> tuple[dict[str, float], dict[str, Any]]:
        """Scores; how far the confidences hold, and what is wrong."""
        assert isinstance(examples, LabelledExamples)
        assert self.problem is not None
        logits, targets = self.logits(model, examples, compute), examples.targets
        metrics = self._scores(logits, examples)
        if self.problem == REGRESSION:
            return metrics, {}
        sure, right = believed(logits, targets, self.problem)
        lengths = examples.lengths(np.arange(len(examples)))
        return metrics, {
            "calibration_error": calibration_error(sure, right),
            "reliability": reliability(sure, right),
            "coverage": coverage(sure, right),
            "review": review(logits, targets, self.problem, self.labels, examples.shown(), examples.origins, lengths),
        }

    def finish(self, model: Model) -> None:
        """A regression's unit goes into the head: what is saved gives the number itself."""
        if self.problem == REGRESSION:
            _scale(model, self.scale, self._shift(model))
            self.shift, self.scale = 0.0, 1.0

    def probes(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """A linear probe and the nearest neighbours on the vectors of the start, beside the floors."""
        parts = {"floors": prepared.validation, "test_floors": prepared.test}
        held_out = {name: rows for name, rows in parts.items() if isinstance(rows, LabelledExamples)}
        assert isinstance(prepared.train, LabelledExamples)
        if self.problem == REGRESSION:
            return {}
        return frozen.of_start(self, model, prepared.train, held_out, compute)

    def floors(self, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
        """The majority class, and a linear model of words or pixels."""
        assert isinstance(train, LabelledExamples)
        assert isinstance(held_out, LabelledExamples)
        assert self.problem is not None
        return floors.floors(
            self.modality,
            self.problem,
            (train.raw(), train.targets),
            (held_out.raw(), held_out.targets),
            len(self.labels),
            (self.shift, self.scale),
            self.label_set.ordinal,
        )

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`label`, `confidence` and `probabilities`; or `labels` and `probabilities`; or `value`."""
        assert self.problem is not None
        chances = probabilities(self.logits(model, examples, compute), self.problem)
        if self.problem == REGRESSION:
            return [{"value": float(row[0])} for row in chances]
        named = [dict(zip(self.labels, map(float, row), strict=True)) for row in chances]
        if self.problem == MULTI:
            return [{"labels": [k for k, p in row.items() if p > 0.5], "probabilities": row} for row in named]
        return [
            {"label": max(row, key=row.__getitem__), "confidence": max(row.values()), "probabilities": row}
            for row in named
        ]


def _scale(model: Model, factor: float, shift: float = 0.0) -> None:
    """Multiply what the head gives, and add to it."""
    assert isinstance(model.head, ClassHead)
    with torch.no_grad():
        model.head.scores.weight.mul_(factor)
        if model.head.scores.bias is not None:
            model.head.scores.bias.mul_(factor).add_(shift)


MAIN = {SINGLE: "accuracy", MULTI: "micro_f1", REGRESSION: "rmse"}
"""The number that stands for a result."""
