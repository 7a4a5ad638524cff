"""Sentences about a run follow from its numbers: none contradicts another, and each number is one of the report."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from patchword.tasks.calibration import confidence_report
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE
from patchword.tasks.metrics import decisions, gain, scores
from patchword.training.verdict import beside_best, confidences_hold, floors_of, headline, limits, told_part, trust


def outputs(problem: str, rows: int, skill: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and outputs of a model that knows something of them."""
    if problem == REGRESSION:
        targets = random.normal(size=(rows, 1))
        return targets, skill * targets + random.normal(size=(rows, 1))
    hits = np.eye(3)[random.integers(3, size=rows)]
    return (hits if problem == MULTI else hits.argmax(1)), 3 * skill * hits + random.normal(size=(rows, 3)) - 1


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    """Reports of models and baselines from useless to good, on few and many rows, with and without a test part."""
    problem = draw(st.sampled_from([SINGLE, MULTI, REGRESSION]))
    rows, seed = draw(st.integers(8, 400)), draw(st.integers(0, 1000))
    random = np.random.default_rng(seed)
    part = draw(st.sampled_from(["validation", "test"]))
    targets, ours = outputs(problem, rows, draw(st.floats(0.0, 2.0)), random)
    floors = {}
    for name in ("tf-idf", "linear probe"):
        skill = draw(st.floats(0.0, 2.0))
        if problem == REGRESSION:
            other = skill * targets + random.normal(size=targets.shape)
        else:
            hits = targets if problem == MULTI else np.eye(3)[targets]
            other = 3 * skill * hits + random.normal(size=(rows, 3)) - 1
        floors[name] = scores(other, targets, problem)
        if draw(st.booleans()):  # else the interval is made from those of the two
            floors[name] |= gain(decisions(ours, problem), decisions(other, problem), targets, problem)
    metrics = scores(ours, targets, problem)
    report = {"validation": metrics, part: metrics, "floors" if part == "validation" else "test_floors": floors}
    if problem != REGRESSION:
        report |= confidence_report(draw(st.floats(0.1, 4.0)) * ours, targets, problem)
    if draw(st.booleans()):
        report["cross_validation"] = {"folds": 5, "collapsed": [], "kept_collapsed": False}
    return report


@settings(max_examples=25, deadline=None)
@given(reports())
def test_no_two_sentences_contradict(report: dict[str, Any]) -> None:
    found = beside_best(report)
    assert found is not None
    first, rest = headline(report), " ".join(limits({"report": report, "recipe": {"keep": "last"}}))
    assert not (found.better and found.worse)
    assert ("better by" in first) is found.better
    assert ("WORSE by" in first) is found.worse
    assert ("NOT shown to be better" in first) is not (found.better or found.worse)
    assert ("A simple method is better" in rest) is found.worse
    assert ("not shown to be better" in rest) is not (found.better or found.worse)
    if found.low is not None and found.high is not None:
        assert found.low <= found.gain <= found.high
    if "coverage" in report:
        assert ("do NOT hold" in trust(report)) is not confidences_hold(report)
        assert ("do not hold" in rest) is not confidences_hold(report)
        if "too high" in rest:
            assert report["confidence"] > report["coverage"][0]["accuracy"]
        if "too low" in rest:
            assert report["confidence"] < report["coverage"][0]["accuracy"]
    assert ("cross-validation" in first) is (told_part(report) == "validation" and "cross_validation" in report)


@settings(max_examples=25, deadline=None)
@given(reports())
def test_each_number_of_a_sentence_is_in_the_report(report: dict[str, Any]) -> None:
    found = beside_best(report)
    assert found is not None
    known = {95.0, 80.0, 5.0}
    sources = [report[told_part(report)], *floors_of(report, told_part(report)).values()]
    sources += [report, {"gain": found.gain, "low": found.low, "high": found.high}, *report.get("coverage", [])]
    for source in sources:
        for value in source.values():
            if isinstance(value, int | float) and not isinstance(value, bool):
                known |= {round(abs(value) * scale, digits) for scale in (1, 100) for digits in (0, 1, 2, 3)}
    said = " ".join([headline(report), trust(report), *limits({"report": report, "recipe": {"keep": "last"}})])
    for text in re.findall(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\w-])", said.replace("+", " ").replace(" -", " ")):
        value = float(text.replace(",", ""))
        assert any(abs(value - number) < 1e-9 for number in known), (text, said)
