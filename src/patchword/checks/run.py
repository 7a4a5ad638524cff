"""All checks of rows with labels, split by split, and of the splits beside each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from patchword.checks.contents import odd_texts
from patchword.checks.findings import Finding, Harm, Report, by_harm, shown
from patchword.checks.labels import compared_labels, label_counts, label_findings, label_sets_of_files
from patchword.checks.languages import CERTAIN, UNKNOWN, language_findings
from patchword.checks.lengths import token_findings, word_numbers
from patchword.checks.pictures import Picture, look_at, not_decoded, picture_findings, picture_groups
from patchword.checks.quick import as_texts
from patchword.checks.same import contradictions, leakage, repeats
from patchword.data.duplicates import Ids, duplicate_groups, same_inputs, shared_runs
from patchword.data.label_cells import problem_of
from patchword.data.sources import Labelled
from patchword.data.tokenizers import Tokenizer

DATA = "data"
"""The name of the split that is learnt from."""
_OVERLAP_WORDS = 8
_SMALL = 0.005  # shares of languages under which a guess is noise


def check_rows(
    splits: dict[str, Labelled], reader: Tokenizer | None = None, max_length: int = 0, problem: str | None = None
) -> Report:
    """What is wrong or odd with rows.

    Args:
        splits: by name; "data" is learnt from. All of one modality.
        reader: a model's tokenizer, where tokens are to be counted.
        max_length: tokens that the model reads at most.
        problem: of the labels; found out from those of the training data if not given.
    """
    if problem is None:
        problem = problem_of(next((rows.labels for rows in splits.values() if rows.labels), []))
    report = Report()
    pictures: dict[str, list[Picture]] = {}
    for name, rows in list(splits.items()):
        if rows.modality == "image":
            seen = look_at(rows)
            report.findings.extend(not_decoded(seen, name))
            good = [i for i, picture in enumerate(seen) if not picture.error]
            splits[name], pictures[name] = rows.subset(good), [seen[i] for i in good]
    splits = {name: rows for name, rows in splits.items() if len(rows)}
    groups = _groups(splits, pictures) if splits else {}
    for name, rows in splits.items():
        numbers: dict[str, Any] = {"rows": len(rows), "labels": label_counts(rows, problem)}
        if rows.modality == "text":
            texts = as_texts(rows)
            numbers["words"] = word_numbers(texts)
            report.findings.extend(odd_texts(texts, rows.origins, name))
            more, findings = language_findings(texts, rows.origins, name)
            if reader is not None:
                tokens, of_tokens = token_findings(rows.inputs, rows.origins, name, reader, max_length)
                more, findings = more | tokens, findings + of_tokens
        else:
            more, findings = picture_findings(rows, pictures[name], name)
        numbers |= more
        report.numbers[name] = numbers
        exact, near = groups[name]
        report.findings.extend(
            [*findings, *contradictions(rows, name, exact, problem), *repeats(rows, name, exact, near)]
        )
        report.about.append(f"{name}: {len(rows):,} {'texts' if rows.modality == 'text' else 'pictures'}")
        report.about.extend(_told(numbers))
    if DATA in splits:
        report.findings.extend(label_findings(splits[DATA], problem))
        report.findings.extend(label_sets_of_files(splits[DATA], problem))
        for name in splits.keys() - {DATA}:
            report.findings.extend(compared_labels(splits[DATA], splits[name], name, problem))
    report.findings.extend(_between(splits, groups))
    return replace(report, findings=by_harm(report.findings))


def _groups(splits: dict[str, Labelled], pictures: dict[str, list[Picture]]) -> dict[str, tuple[Ids, Ids]]:
    """Group numbers that hold for all splits together: of what is the same, and of what is nearly so."""
    if pictures:
        exact, near = picture_groups([picture for name in splits for picture in pictures[name]])
    else:
        inputs = [item for rows in splits.values() for item in rows.inputs]
        exact = same_inputs(inputs)
        near = duplicate_groups([text for rows in splits.values() for text in as_texts(rows)])
    ends = np.cumsum([len(rows) for rows in splits.values()])[:-1]
    return dict(zip(splits, zip(np.split(exact, ends), np.split(near, ends), strict=True), strict=True))


def _between(splits: dict[str, Labelled], groups: dict[str, tuple[Ids, Ids]]) -> list[Finding]:
    """Rows that stand in two splits, as they are, nearly, or in their greater part."""
    findings: list[Finding] = []
    names = list(splits)
    for one, other in ((one, other) for i, one in enumerate(names) for other in names[i + 1 :]):
        rows = splits[other]
        is_text = rows.modality == "text"
        (exact_one, near_one), (exact, near) = groups[one], groups[other]
        if one != DATA:  # validation and test: what is chosen by the one is judged by the other
            count = int(np.isin(exact, exact_one).sum())
            if count:
                places = shown(rows.origins, np.flatnonzero(np.isin(exact, exact_one)).tolist())
                title = f"{other} rows that are in {one}: {count:,} of {len(rows):,}"
                findings.append(Finding(Harm.LEAK, title, places, "Remove them from one of the two.", count))
            continue
        findings += leakage(other, rows, near_one if is_text else exact_one, near if is_text else exact, near=is_text)
        if is_text:
            shares = shared_runs(as_texts(splits[one]), as_texts(rows), _OVERLAP_WORDS)
            also = np.flatnonzero((shares > 0.5) & ~np.isin(near, near_one)).tolist()
            title = f"{other} rows of which over half of the runs of {_OVERLAP_WORDS} words are in the training data"
            what = "Are they from one source or template? Then scores on them say little about new texts."
        else:
            also = np.flatnonzero(np.isin(near, near_one) & ~np.isin(exact, exact_one)).tolist()
            title = f"{other} pictures that look nearly like one of the training data"
            what = "Look at some; remove them from one of the two if they show the same thing."
        if also:
            counted = f"{title}: {len(also):,} of {len(rows):,} ({len(also) / len(rows):.1%})"
            findings.append(Finding(Harm.NEAR_LEAK, counted, shown(rows.origins, also), what, len(also)))
    return findings


def _told(numbers: dict[str, Any]) -> list[str]:
    """What a split is, in lines."""
    lines = []
    if labels := numbers["labels"]:
        few = ", ".join(f"{name} {count:,}" for name, count in list(labels.items())[:6])
        last, count = list(labels.items())[-1]
        lines.append(f"  {len(labels):,} labels: {few}{f', ... {last} {count:,}' if len(labels) > 6 else ''}")
    for name in ("words", "tokens"):
        if spread := numbers.get(name):
            line = f"  {name} a text: {spread['min']:,} to {spread['max']:,}, median {spread['median']:,}, 95 % under "
            line += f"{spread['95%']:,}"
            if "model_max" in spread:
                line += f"; the model reads {spread['model_max']:,}: {spread['cut_rows']:,} texts are longer, "
                line += f"{spread['cut_share']:.1%} of all tokens"
            lines.append(line)
    for name in ("scripts", "languages"):
        if shares := {key: share for key, share in numbers.get(name, {}).items() if key != UNKNOWN}:
            shown_shares = ", ".join(f"{key} {share:.1%}" for key, share in list(shares.items())[:4] if share >= _SMALL)
            unknown = numbers[name].get(UNKNOWN, 0)
            line = f"  {name}: {shown_shares}" + (f", not certain {unknown:.1%}" if unknown else "")
            lines.append(line + (f" ({CERTAIN})" if name == "languages" else ""))
    if "modes" in numbers:
        height, width = numbers["height"], numbers["width"]
        lines.append(
            f"  {width['min']} to {width['max']} pixels wide (median {width['median']}), {height['min']} to "
            f"{height['max']} high (median {height['median']}); "
            + ", ".join(f"{mode} {count:,}" for mode, count in numbers["modes"].items())
        )
    return lines
