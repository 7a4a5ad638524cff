"""What the numbers of a finished run come to, in sentences: from `patchword.json` alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

MAIN = ("f1", "accuracy", "micro_f1", "rmse", "rougeL")
"""The number that stands for a result: the first of these that there is, else the loss."""
COUNTS = ("rows", "sentences", "words", "hidden_tokens", "hidden_patches", "predicted_classes")
PROBE, BEFORE = "linear probe", "linear probe, before its pretraining went on"
"""Two of the simple methods: on the vectors of the start; and of the folder that the start's pretraining began with."""
_LOWER = ("loss", "rmse", "mae")
_FEW = 20  # rows of a class, below which what is said of it is hardly more than chance

Report = Mapping[str, Any]


def told_part(report: Report) -> str:
    """Which held-back rows are told of: those of the test where there are some."""
    return "test" if "test" in report else "validation"


def floors_of(report: Report, part: str) -> dict[str, dict[str, float]]:
    """Metrics of the simple methods on these rows, by method."""
    found: dict[str, dict[str, float]] = report.get("floors" if part == "validation" else f"{part}_floors", {})
    return found


def main_metric(metrics: Mapping[str, float]) -> str:
    """The name of the number that stands for a result; of a language model its loss."""
    if "unigram_loss" in metrics:
        return "loss"
    return next((name for name in MAIN if name in metrics), "loss")


def number(metrics: Mapping[str, float], name: str) -> str:
    """A metric with its interval where there is one; "" where it was not measured."""
    if name not in metrics:
        return ""
    text = f"{metrics[name]:.3f}"
    if f"{name}_low" in metrics:
        text += f" ({metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
    return text


def best_floor(report: Report, part: str) -> tuple[str, dict[str, float]] | None:
    """The simple method that is best in the main metric."""
    name = main_metric(report[part])
    floors = {method: metrics for method, metrics in floors_of(report, part).items() if name in metrics}
    if not floors:
        return None
    sign = -1 if name in _LOWER else 1
    method = max(floors, key=lambda method: sign * floors[method][name])
    return method, floors[method]


@dataclass(frozen=True)
class Comparison:
    """How much better one set of metrics is than another, in the main metric.

    Args:
        metric: its name.
        method: the other: a simple method.
        gain: the difference; above 0 is better, of errors too.
        low, high: its 95 % interval; None where there is none.
    """

    metric: str
    method: str
    gain: float
    low: float | None
    high: float | None

    @property
    def better(self) -> bool:
        """Whether the interval lies above 0."""
        return (self.gain if self.low is None else self.low) > 0

    @property
    def worse(self) -> bool:
        """Whether the interval lies below 0."""
        return (self.gain if self.high is None else self.high) < 0

    @property
    def size(self) -> str:
        """The difference, without its sign, and the interval of the difference, with it."""
        text = f"{abs(self.gain):.3f}" if self.metric in _LOWER else f"{100 * abs(self.gain):.1f} points"
        return text + self.interval

    @property
    def interval(self) -> str:
        """ " (95 % interval of the difference: -1.0 to 2.0)"; "" where there is none."""
        if self.low is None or self.high is None:
            return ""
        low, high = (
            (f"{self.low:+.3f}", f"{self.high:+.3f}")
            if self.metric in _LOWER
            else (f"{100 * self.low:+.1f}", f"{100 * self.high:+.1f}")
        )
        return f" (95 % interval of the difference: {low} to {high})"


def compare(metrics: Mapping[str, float], other: Mapping[str, float], name: str, method: str = "") -> Comparison:
    """What is said of two results on the same rows, wherever it is said.

    The interval is that of the differences row by row where they were compared so (`metrics.gain`). If not, it is made
    from those of the two (Newcombe 1998, method 10), which are mostly right about the same rows, so that it is rather
    too wide; there is none where they have none.
    """
    if "gain" in other:
        return Comparison(name, method, other["gain"], other["gain_low"], other["gain_high"])
    sign = -1 if name in _LOWER else 1
    gain = sign * (metrics[name] - other[name])
    low, high = f"{name}_low", f"{name}_high"
    if low not in metrics or low not in other:
        return Comparison(name, method, gain, None, None)
    if sign < 0:
        low, high = high, low
    down = math.hypot(metrics[name] - metrics[low], other[high] - other[name])
    up = math.hypot(metrics[high] - metrics[name], other[name] - other[low])
    return Comparison(name, method, gain, gain - down, gain + up)


def beside_best(report: Report) -> Comparison | None:
    """The model beside the best simple method, on the rows that are told of; None where there is none."""
    part = told_part(report)
    floor = best_floor(report, part)
    if floor is None:
        return None
    return compare(report[part], floor[1], main_metric(report[part]), floor[0])


def rows_judged(report: Report) -> str:
    """The rows that the numbers are of, in words."""
    part = told_part(report)
    metrics = report[part]
    rows = next((f"{metrics[count]:,} {count.replace('_', ' ')}" for count in COUNTS if count in metrics), "the rows")
    if part == "validation" and (folds := report.get("cross_validation")):
        return f"{rows} in {folds['folds']}-fold cross-validation"
    return f"{rows} of the {part} part"


def headline(report: Report) -> str:
    """The score, with its interval, beside the best floor."""
    metrics = report[told_part(report)]
    name = main_metric(metrics)
    title = f"{name[0].upper()}{name[1:]}".replace("Rouge", "ROUGE-")
    score = f"{title} {number(metrics, name)} on {rows_judged(report)}"
    if "unigram_loss" in metrics and name == "loss":
        known = metrics["unigram_loss"]
        verdict = (
            f"better than word frequencies alone, {known:.3f}"
            if metrics["loss"] < known
            else (f"NOT better than word frequencies alone, {known:.3f}")
        )
        return f"{score}: {verdict}."
    found = beside_best(report)
    if found is None:
        return f"{score}."
    other = floors_of(report, told_part(report))[found.method]
    beside = f"{found.method}, {number(other, name)}"
    if found.better:
        return f"{score}: better by {found.size} than {beside}."
    if found.worse:
        return f"{score}: WORSE by {found.size} than {beside}."
    return f"{score}: NOT shown to be better than {beside}; the difference may be chance{found.interval}."


def trust(report: Report) -> str:
    """How far the confidences hold, in a sentence; "" where there are none."""
    if "coverage" not in report:
        return ""
    point = next(point for point in report["coverage"] if point["share"] == 0.8)
    error, chance = report["calibration_error"], report["calibration_error_by_chance"]
    return (
        f"Expected calibration error {error:.3f} (95 % interval {report['calibration_error_low']:.3f} to "
        f"{report['calibration_error_high']:.3f}; on so few rows {chance:.3f} is expected where every confidence holds)"
        f": {'the confidences hold' if confidences_hold(report) else 'the confidences do NOT hold'} as far as these "
        f"rows show. If the model answers only the 80 % of the {decided(report)} that it is surest of (confidence "
        f"{point['confidence']:.2f} and more), {point['accuracy']:.1%} are right."
    )


def confidences_hold(report: Report) -> bool:
    """Whether the calibration error is within what chance brings where every confidence holds."""
    return bool(report["calibration_error"] <= report["calibration_error_limit"])


def decided(report: Report) -> str:
    """What a confidence is of: a row; or, where a row can have several labels, whether it has one of them."""
    return "yes-or-no decisions, one for each row and label," if "micro_f1" in report[told_part(report)] else "rows"


def spread_told(report: Report) -> str:
    """How far apart the seeds, or the folds, are in the main metric, in a sentence; "" where there is one run."""
    part = told_part(report)
    name = main_metric(report[part])
    if folds := report.get("cross_validation"):
        ends, where = folds["validation"][name], f"In the {folds['folds']} folds, {name}"
    elif seeds := report.get("seeds"):
        part = part if part in seeds else "validation"
        ends, where = seeds[part][name], f"Over {seeds['count']} seeds, {name} in {part}"
    else:
        return ""
    return (
        f"{where} is {ends['mean']:.3f} on average, from {ends['min']:.3f} to {ends['max']:.3f}; the 95 % interval of "
        f"the mean is {ends['low']:.3f} to {ends['high']:.3f}."
    )


def collapsed(metrics: Mapping[str, float]) -> str:
    """What a model does that tells nothing apart, or ""."""
    several = "micro_f1" in metrics
    if metrics.get("predicted_classes") != (0 if several else 1):
        return ""
    return "gives no row any label" if several else "gives every row the same class"


def paid(report: Report) -> str:
    """Whether it helped that the start's pretraining went on from another folder; "" where it did not go on."""
    floors = floors_of(report, told_part(report))
    if BEFORE not in floors or PROBE not in floors:
        return ""
    # What each loses to the model is no comparison of the two.
    now, then = ({key: value for key, value in floors[name].items() if "gain" not in key} for name in (PROBE, BEFORE))
    name = main_metric(now)
    told = f"A linear probe on the start's frozen vectors: {name} {number(now, name)}, and {number(then, name)} before "
    told += "the start's pretraining went on. "
    found = compare(now, then, name)
    if found.better:
        return told + "It paid."
    if found.worse:
        return told + "It did NOT pay: what it went on from is the better start here."
    return told + "So small a difference may be chance: whether that paid can not be said from these rows."


def limits(card: Mapping[str, Any]) -> list[str]:
    """What the numbers do not carry, in plain words."""
    report, data = card["report"], card.get("data", {})
    part = told_part(report)
    told = []
    found = beside_best(report)
    if found and found.worse:
        told.append(f"A simple method is better on these rows: {found.method}, by {found.size}.")
    elif found and not found.better:
        told.append(f"It is not shown to be better than a simple method, {found.method}{found.interval}.")
    folds = report.get("cross_validation")
    if "coverage" in report and not confidences_hold(report):
        over = report["overconfidence"]
        which = "too high" if over > 0 else "too low"
        sure = report["overconfidence_low"] > 0 or report["overconfidence_high"] < 0
        told.append(
            f"The confidences do not hold: expected calibration error {report['calibration_error']:.3f}, where chance "
            f"alone stays below {report['calibration_error_limit']:.3f} in 95 % of cases."
            + (f" On average they are {which} by {100 * abs(over):.1f} points." if sure else "")
        )
    if part == "validation" and folds:
        told.append(
            f"There was no test part. The scores are those of a {folds['folds']}-fold cross-validation: of models that "
            "were trained on fewer rows than the one that is kept."
        )
    elif part == "validation":
        told.append(
            "There was no test part. The scores are those of the validation part, which "
            + (
                "chose the weights too, so they are somewhat too good."
                if _chosen(card)
                else "fitted the confidences too."
            )
        )
    if folds and folds["kept_collapsed"]:
        told.append("The model collapsed: it does not tell apart the rows that it was trained on.")
    if folds and folds["collapsed"]:
        told.append(f"{len(folds['collapsed'])} of {folds['folds']} folds collapsed: their models tell nothing apart.")
    if gone := report.get("seeds", {}).get("collapsed", []):
        told.append(f"{len(gone)} of {report['seeds']['count']} seeds collapsed: they tell nothing apart.")
    elif not folds and (what := collapsed(report[part])):
        told.append(f"The model collapsed: it {what}.")
    rare = [f"{label} {rows}" for label, rows in data.get("label_rows", {}).items() if rows < _FEW]
    if rare:
        told.append(f"Classes with fewer than {_FEW} rows to learn from: {_listed(rare)}.")
    review = report.get("review", {})
    if unsure := [f"{c['label']} {c['rows']}" for c in review.get("classes", []) if c["rows"] < _FEW]:
        told.append(f"Classes with fewer than {_FEW} {review.get('unit', 'rows')} to be judged by: {_listed(unsure)}.")
    if data.get("dropped_tokens") and data.get("tokens"):
        told.append(f"{data['dropped_tokens'] / data['tokens']:.1%} of all tokens were cut off and not read.")
    return told


def _chosen(card: Mapping[str, Any]) -> bool:
    """Whether the validation part chose among weights: of several evaluations, or of several seeds."""
    return "seeds" in card["report"] or card.get("recipe", {}).get("keep") != "last"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f", and {len(names) - 10} more" if len(names) > 10 else "")


def cost(report: Report) -> str:
    """What learning took."""
    where = f" on {report['device']} with {report['threads']} CPU threads" if "device" in report else ""
    return (
        f"{report['steps']:,} steps, {report['tokens']:,} tokens, {report['seconds']:,.0f} seconds "
        f"({report['tokens_per_second']:,.0f} tokens a second){where}."
    )


def start_of(start: str) -> str:
    """The name of what a run began with: a preset, a hub repository, or the name of a folder."""
    cached = next((part for part in PurePath(start).parts if part.startswith("models--")), None)
    if cached:
        return "/".join(cached.split("--")[1:])
    return PurePath(start).name
