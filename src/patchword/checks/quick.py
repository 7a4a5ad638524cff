"""What can be checked in a second or two, before a model learns: called by the tasks that classify."""

from __future__ import annotations

from patchword.checks.contents import odd_texts
from patchword.checks.findings import Finding
from patchword.checks.labels import label_findings
from patchword.checks.same import contradictions, leakage
from patchword.data.duplicates import same_inputs
from patchword.data.sources import Labelled

MOST_ROWS = 20_000


def quick_findings(data: Labelled, validation: Labelled | None = None) -> list[Finding]:
    """Labels, odd texts, contradictions, and validation rows that are in the data: of the first 20,000 rows of each.

    Pictures are the same where their files are. `check` finds more.
    """
    data = data.subset(range(min(len(data), MOST_ROWS)))
    groups = same_inputs(data.inputs)
    findings = [*label_findings(data), *contradictions(data, "data", groups)]
    if data.modality == "text":
        findings += odd_texts(as_texts(data), data.origins, "data")
    if validation is not None:
        validation = validation.subset(range(min(len(validation), MOST_ROWS)))
        together = same_inputs([*data.inputs, *validation.inputs])
        findings += leakage("validation", validation, together[: len(data)], together[len(data) :])
    return sorted(findings, key=lambda finding: finding.severity != "problem")


def as_texts(data: Labelled) -> list[str]:
    """Texts as they are, the two of a pair one after the other."""
    return ["\n".join(item) if isinstance(item, tuple) else str(item) for item in data.inputs]
