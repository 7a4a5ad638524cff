"""What the numbers of a finished run come to, in sentences: from `patchword.json` alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def beats_floor(report: Report) -> bool | None:
    """Whether the model is better than the best simple method; None where there is none."""
    part = told_part(report)
    name, floor = main_metric(report[part]), best_floor(report, part)
    if floor is None:
        return None
    sign = -1 if name in _LOWER else 1
    return bool(sign * (report[part][name] - floor[1][name]) > 0)


def headline(report: Report) -> str:
    """The score, with its interval, beside the best floor."""
    part = told_part(report)
    metrics = report[part]
    name = main_metric(metrics)
    rows = next((f"{metrics[count]:,} {count.replace('_', ' ')}" for count in COUNTS if count in metrics), "the rows")
    title = f"{name[0].upper()}{name[1:]}".replace("Rouge", "ROUGE-")
    score = f"{title} {number(metrics, name)} on {rows} of the {part} part"
    if "unigram_loss" in metrics and name == "loss":
        known = metrics["unigram_loss"]
        verdict = (
            f"better than word frequencies alone, {known:.3f}"
            if metrics["loss"] < known
            else (f"NOT better than word frequencies alone, {known:.3f}")
        )
        return f"{score}: {verdict}."
    floor = best_floor(report, part)
    if floor is None:
        return f"{score}."
    method, values = floor
    gap = abs(metrics[name] - values[name])
    by = f"{gap:.3f}" if name in _LOWER else f"{100 * gap:.1f} points"
    beside = f"{method}, {number(values, name)}"
    if not beats_floor(report):
        return f"{score}: NOT better than {beside}" + (f"; it is worse by {by}." if gap else ".")
    doubt = "; but on so few rows that may be chance" if _apart(metrics, values, name) is False else ""
    return f"{score}: better by {by} than {beside}{doubt}."


def _apart(one: Mapping[str, float], other: Mapping[str, float], name: str) -> bool | None:
    """Whether the 95 % interval of a difference leaves 0 out; None where there are no intervals.

    It is made from those of the two (Newcombe 1998, method 10). They are of the same rows, and mostly right about the
    same ones, so that it is rather too wide.
    """
    low, high = f"{name}_low", f"{name}_high"
    if low not in one or low not in other:
        return None
    above, below = (one, other) if one[name] > other[name] else (other, one)
    return above[name] - below[name] > math.hypot(above[name] - above[low], below[high] - below[name])


def trust(report: Report) -> str:
    """How far the confidences hold, in a sentence; "" where there are none."""
    if "coverage" not in report:
        return ""
    point = next(point for point in report["coverage"] if point["share"] == 0.8)
    return (
        f"A confidence is off by {report['calibration_error']:.3f} on average. If the model answers only the 80 % of "
        f"the {decided(report)} that it is surest of (confidence {point['confidence']:.2f} and more), "
        f"{point['accuracy']:.1%} are right."
    )


def decided(report: Report) -> str:
    """What a confidence is of: a row; or, where a row can have several labels, whether it has one of them."""
    return "yes-or-no decisions, one for each row and label," if "micro_f1" in report[told_part(report)] else "rows"


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
    now, then = floors[PROBE], floors[BEFORE]
    name = main_metric(now)
    told = f"A linear probe on the start's frozen vectors: {name} {number(now, name)}, and {number(then, name)} before "
    told += "the start's pretraining went on. "
    if _apart(now, then, name) is False:
        return told + "So small a difference may be chance: whether that paid can not be said from these rows."
    if now[name] > then[name]:
        return told + "It paid."
    return told + "It did NOT pay: what it went on from is the better start here."


def limits(card: Mapping[str, Any]) -> list[str]:
    """What the numbers do not carry, in plain words."""
    report, data = card["report"], card.get("data", {})
    part = told_part(report)
    told = []
    if beats_floor(report) is False:
        told.append("A simple method is as good on these rows: " + headline(report))
    if part == "validation":
        told.append(
            "There was no test part. The scores are those of the validation part, which "
            + (
                "chose the weights too, so they are somewhat too good."
                if _chosen(card)
                else "fitted the confidences too."
            )
        )
    if gone := report.get("seeds", {}).get("collapsed", []):
        told.append(f"{len(gone)} of {report['seeds']['count']} seeds collapsed: they tell nothing apart.")
    elif what := collapsed(report[part]):
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
