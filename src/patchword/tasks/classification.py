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
from patchword.nn.finite import finite
from patchword.tasks import frozen
from patchword.tasks.calibration import believed, calibration_error, confidence_report, cross_fitted, fit_temperature
from patchword.tasks.contrast import FEW, SHARE, contrast
from patchword.tasks.floors import floor_predictions
from patchword.tasks.labelled import ChosenRows, Division, LabelledExamples, folds_of, held_back, rows_of, told
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, class_weights
from patchword.tasks.metrics import decisions, gain, probabilities, scores
from patchword.tasks.review import review
from patchword.tasks.suspects import suspects
from patchword.tasks.task import OF_LABELS, Ask, Compute, Prepared, Reader, Task

VALIDATION_SHARE = 0.1
FLOORS_OF = {"validation": "floors", "test": "test_floors"}
"""Where a report has the baselines of each part."""


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
    cross_validates = True
    heeds: ClassVar[tuple[str, ...]] = (*OF_LABELS, "problem", "class_weights", "label_smoothing", "contrast")
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
        folds = None
        validation, validation_targets = rows, targets
        train, train_targets = rows, targets
        if ask.validation is not None:
            validation = cls.read(ask.validation, ask)
            assert validation.labels is not None
            validation_targets = label_set.encode(validation.labels, validation.origins)
        elif ask.folds:
            if len(rows) < ask.folds:
                raise UserError(
                    f"{ask.data}: {len(rows)} rows are too few for a {ask.folds}-fold cross-validation; give more "
                    "rows, fewer --seeds, or a validation file (--validation)."
                )
            folds, together = folds_of(rows, ask.folds, ask.seed, label_set, targets)
            notes.append(
                f"{ask.folds}-fold cross-validation: each of {ask.folds} models is trained without one of "
                f"{ask.folds} parts of the {len(rows):,} rows and predicts that part (seed {ask.seed}){together}. "
                "The model that is kept is trained on all rows."
            )
        else:
            learn, hold, together = held_back(rows, cls.validation_share, ask.seed, label_set, targets)
            if not len(hold):
                raise UserError(
                    f"{ask.data}: {len(targets)} rows are too few to hold some back for validation; "
                    "give more, or a file of their own (--validation)."
                )
            of_each = ", in every class's proportion" if label_set.problem == SINGLE else ""
            notes.append(
                f"{len(hold):,} of {len(targets):,} rows held back for validation{of_each} (seed {ask.seed}){together}."
            )
            train, validation = rows.subset(learn), rows.subset(hold)
            train_targets, validation_targets = targets[learn], targets[hold]
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
        validation_examples = train_examples
        if folds is None:
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
            **({} if folds is None else {"folds": ask.folds}),
            **({} if label_set.problem == REGRESSION else {"label_rows": rows_of(label_set, train_targets)}),
            **train_examples.facts,
        }
        own = ask.validation is None and folds is None
        return Prepared(task, train_examples, validation_examples, test, tuple(notes), facts, folds, own)

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
            np.add.at(out, owners[ids], finite(model(*batch.inputs).float().cpu()).numpy())
        out /= np.bincount(owners, minlength=len(examples))[:, None]
        return out * np.float32(self.scale) + np.float32(self._shift(model)) if self.problem == REGRESSION else out

    def outputs_of(self, model: Model, examples: Examples, compute: Compute) -> np.ndarray:
        """`logits`."""
        return self.logits(model, examples, compute)

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """`metrics.scores` of the model's predictions."""
        return self.measured(self.logits(model, examples, compute), examples)

    def measured(self, outputs: np.ndarray, examples: Examples) -> dict[str, float]:
        """`metrics.scores` of logits, or of the numbers of a regression in their own unit."""
        assert self.problem is not None
        return scores(outputs, self._truth(examples), self.problem, ordinal=self.label_set.ordinal)

    def _truth(self, examples: Examples) -> np.ndarray:
        """Targets, those of a regression in their own unit."""
        assert isinstance(examples, LabelledExamples)
        if self.problem == REGRESSION:
            return np.asarray(examples.targets * np.float32(self.scale) + np.float32(self.shift))
        return examples.targets

    @property
    def only_in_training(self) -> tuple[str, ...]:
        """Supervised contrast, smoothed labels and class weights."""
        return (
            *([f"{self.contrast:g} x supervised contrastive loss"] if self.contrast else []),
            *([f"label smoothing {self.smoothing:g}"] if self.smoothing else []),
            *(["class weights"] if self.weights is not None else []),
        )

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A higher main metric; among equals, a lower loss. Classes that count alike do so here: by the macro F1."""
        assert self.problem is not None
        main = MAIN[self.problem] if self.weights is None else "macro_f1"
        return {SINGLE: 1, MULTI: 1, REGRESSION: -1}[self.problem] * metrics[main], -metrics["loss"]

    def settle(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Put a temperature into the head, fitted on rows that the model, or the one of their fold, has not seen."""
        assert self.problem is not None
        if self.problem == REGRESSION:
            return {}
        validation = prepared.validation
        assert isinstance(validation, LabelledExamples)
        logits = prepared.out_of_fold
        if logits is None:
            logits = self.logits(model, validation, compute)
        temperature = fit_temperature(logits, validation.targets, self.problem)
        _scale(model, 1.0 / temperature)
        return {
            "calibration": {
                "temperature": temperature,
                "rows": len(validation),
                "fitted_on": "validation" if prepared.out_of_fold is None else "cross-validation",
                "error_before": calibration_error(*believed(logits, validation.targets, self.problem)),
            }
        }

    def held_out_predictions(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, np.ndarray]:
        """Logits of the validation rows, each divided by a temperature that other rows gave, and of the test rows."""
        assert self.problem is not None
        validation = prepared.validation
        assert isinstance(validation, LabelledExamples)
        logits = prepared.out_of_fold
        if logits is None:
            logits = self.logits(model, validation, compute)
        if self.problem != REGRESSION:
            logits = cross_fitted(logits, validation.targets, self.problem, prepared.folds)
        found = {"validation": logits}
        if prepared.test is not None:
            found["test"] = self.logits(model, prepared.test, compute)
        return found

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Scores; how far the confidences hold, and what is wrong, of the test rows where there are some."""
        assert self.problem is not None
        report: dict[str, Any] = {}
        for part, rows in (("validation", prepared.validation), ("test", prepared.test)):
            if rows is None:
                continue
            assert isinstance(rows, LabelledExamples)
            logits = prepared.predictions[part]
            report[part] = self.measured(logits, rows)
            if self.problem != REGRESSION:
                lengths = rows.lengths(np.arange(len(rows)))
                shown, origins = rows.shown(), rows.origins
                report |= confidence_report(logits, rows.targets, self.problem)
                report["review"] = review(logits, rows.targets, self.problem, self.labels, shown, origins, lengths)
        if prepared.folds is not None and self.problem == SINGLE:
            division = self.division(prepared)
            chances = probabilities(prepared.predictions["validation"], SINGLE)
            by = f"models like this one in {len(division.splits)}-fold cross-validation"
            if found := suspects(chances, division.targets, division.shown(), self.labels, by):
                report["suspects"] = found
        return report

    def division(self, prepared: Prepared, most: int | None = None) -> Division:
        """Which rows a baseline is trained on; the training rows are `most` at most, always the same."""
        train, validation, folds = prepared.train, prepared.validation, prepared.folds
        assert isinstance(train, LabelledExamples)
        assert isinstance(validation, LabelledExamples)
        if most is not None and len(train) > most:
            some = np.sort(np.random.default_rng(0).permutation(len(train))[:most])
            train, folds = ChosenRows(train, some), None if folds is None else folds[some]
        return Division.of(train, validation, folds, prepared.held_back)

    def beside(self, scored: Mapping[str, Mapping[str, np.ndarray]], prepared: Prepared) -> dict[str, Any]:
        """Metrics of baselines as parts of a report, each with its `decisions` until they are `compared`.

        Args:
            scored: scores by part and method.
            prepared: the rows.
        """
        assert self.problem is not None
        report: dict[str, Any] = {}
        for part, rows in (("validation", prepared.validation), ("test", prepared.test)):
            if rows is not None and part in scored:
                report[FLOORS_OF[part]] = {
                    name: {**self.measured(values, rows), "decisions": decisions(values, self.problem).tolist()}
                    for name, values in scored[part].items()
                }
        return report

    def compared(self, baselines: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
        """With what the model gains over each of them on the same rows, in place of their decisions."""
        assert self.problem is not None
        report = dict(baselines)
        for part, rows in (("validation", prepared.validation), ("test", prepared.test)):
            if rows is not None and FLOORS_OF[part] in baselines:
                truth, ours = self._truth(rows), decisions(prepared.predictions[part], self.problem)
                report[FLOORS_OF[part]] = {
                    name: {key: value for key, value in metrics.items() if key != "decisions"}
                    | gain(ours, np.asarray(metrics["decisions"]), truth, self.problem)
                    for name, metrics in baselines[FLOORS_OF[part]].items()
                }
        return report

    def baselines(self, prepared: Prepared) -> dict[str, Any]:
        """The majority class, and a linear model of words or pixels."""
        division = self.division(prepared)
        problem, classes = self.problem, len(self.labels)
        assert problem is not None

        def fit(inputs: Any, targets: np.ndarray, asked: Any) -> dict[str, np.ndarray]:
            found = floor_predictions(self.modality, problem, inputs, targets, asked, classes)
            return {name: values * self.scale + self.shift for name, values in found.items()}

        test = prepared.test
        assert test is None or isinstance(test, LabelledExamples)
        return self.beside(division.scored(fit, division.raw(), None if test is None else test.raw()), prepared)

    def finish(self, model: Model) -> None:
        """A regression's unit goes into the head: what is saved gives the number itself."""
        if self.problem == REGRESSION:
            _scale(model, self.scale, self._shift(model))
            self.shift, self.scale = 0.0, 1.0

    def probes(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """A linear probe and the nearest neighbours on the vectors of the start, beside the floors."""
        return {} if self.problem == REGRESSION else frozen.of_start(self, model, prepared, compute)

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
