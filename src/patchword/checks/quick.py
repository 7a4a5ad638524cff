"""What can be checked in a second or two, before a model learns: called by the tasks that learn from labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from patchword.checks.contents import odd_texts
from patchword.checks.findings import Finding, by_harm
from patchword.checks.labels import compared_labels, label_findings, label_sets_of_files
from patchword.checks.same import contradictions, leakage
from patchword.data.duplicates import same_inputs
from patchword.data.label_cells import problem_of
from patchword.data.sources import Labelled, Rows

MOST_ROWS = 20_000


def quick_findings(
    data: Labelled, held_out: Mapping[str, Labelled | None], problem: str | None = None
) -> list[Finding]:
    """Labels, odd texts, contradictions, and held-out rows that are in the data: of the first 20,000 rows of each.

    Pictures are the same where their files are. `check` finds more.

    Args:
        data: rows that are learnt from.
        held_out: "validation", "test" -> rows that were given apart; None where there are none.
        problem: of the labels; found out from them if not given.
    """
    problem = problem or problem_of(data.labels or [])
    findings = label_sets_of_files(data, problem)
    for name, rows in held_out.items():
        findings += [] if rows is None else compared_labels(data, rows, name, problem)
    data = _first(data)
    groups = same_inputs(data.inputs)
    findings += [*label_findings(data, problem), *contradictions(data, "data", groups, problem)]
    if data.modality == "text":
        findings += odd_texts(as_texts(data), data.origins, "data")
    findings += learnt_from(data, held_out)
    return by_harm(findings)


def learnt_from(data: Rows, held_out: Mapping[str, Rows | None]) -> list[Finding]:
    """Held-out rows whose input is in the data: of the first 20,000 rows of each; arguments as of `quick_findings`."""
    data = _first(data)
    findings: list[Finding] = []
    for name, part in held_out.items():
        if part is None:
            continue
        rows = _first(part)
        together = same_inputs([*data.inputs, *rows.inputs])
        findings += leakage(name, rows, together[: len(data)], together[len(data) :])
    return findings


Some = TypeVar("Some", bound=Rows)


def _first(rows: Some) -> Some:
    return rows.subset(range(min(len(rows), MOST_ROWS)))


def as_texts(data: Labelled) -> list[str]:
    """Texts as they are, the two of a pair one after the other."""
    return ["\n".join(item) if isinstance(item, tuple) else str(item) for item in data.inputs]
