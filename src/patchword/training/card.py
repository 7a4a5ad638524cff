"""The model card: `README.md` of a model folder, as the Hugging Face hub reads it. Only what was measured is in it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from patchword.console import printable
from patchword.data.names import shown_path
from patchword.training.run import RunConfig
from patchword.training.verdict import (
    COUNTS,
    cost,
    floors_of,
    headline,
    limits,
    number,
    paid,
    spread_told,
    start_of,
    told_part,
    trust,
)

_PIPELINES = {
    "text-classification": "text-classification",
    "image-classification": "image-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "summarization": "summarization",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "masked-image": "image-feature-extraction",
}
"""The hub's word for a task, where it has one."""


def model_card(name: str, run: RunConfig, card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The text of the card.

    Args:
        name: of the model.
        run: its settings.
        card: its `patchword.json`, with a report.
        config: its `config.json`.
    """
    parts = [_what(name, run, card, config), _use(name, config, run), _data(card), _scores(card), _limits(card)]
    parts.append("## Cost\n\n" + cost(card["report"]))
    parts.append("Made with " + ", ".join(f"{name} {version}" for name, version in card["versions"].items()) + ".")
    return f"---\n{_metadata(name, run, card, config)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(name: str, run: RunConfig, card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    report = card["report"]
    part = told_part(report)
    task = run.task.replace("_", "-")
    kind = _PIPELINES.get(task)
    dataset = PurePath(run.test[0] if run.test and part == "test" else run.data[0])
    metrics = {
        metric: value
        for metric, value in report[part].items()
        if isinstance(value, float) and not metric.endswith(("_low", "_high"))
    }
    results = [
        EvalResult(
            task_type=kind or task,
            dataset_type=dataset.stem,
            dataset_name=dataset.name,
            dataset_split=part,
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for metric, value in metrics.items()
    ]
    start = start_of(run.start)
    data = ModelCardData(
        base_model=start if "/" in start else None,
        library_name="transformers",
        tags=["patchword", config["model_type"]],
        pipeline_tag=kind,
        model_name=name,
        eval_results=results,
    )
    return str(data.to_yaml()).strip()


def _what(name: str, run: RunConfig, card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    task = run.task.replace("_", " ").replace("-", " ")
    begun = "from random weights of the preset" if run.begins_anew else "from the weights of"
    labels = card.get("labels") or []
    shown = ", ".join(_code(label) for label in labels[:20]) + (", ..." if len(labels) > 20 else "")
    classes = f" It knows {len(labels)} labels: {shown}." if labels else ""
    recipe = run.recipe.model_dump(exclude_none=True, exclude_defaults=True)
    recipe |= run.model_dump(include={"class_weights", "contrast"}, exclude_none=True, exclude_defaults=True)
    settings = ", ".join(f"{key} {value}" for key, value in recipe.items())
    seeds = f"seed {run.seed}" if run.runs == 1 else f"{run.runs} runs with seeds from {run.seed} on"
    return (
        f"# {_escaped(name)}\n\n{headline(card['report'])}\n\n"
        f"A {config['architectures'][0]} for {task}, {'learnt' if run.begins_anew else 'which went on'} {begun} "
        f"{_escaped(start_of(run.start))}.{classes}\n\nRecipe: {run.stage} with {settings or 'the defaults'}; {seeds}."
    )


def _use(name: str, config: Mapping[str, Any], run: RunConfig) -> str:
    architecture = config["architectures"][0]
    command = "predict" if run.stage == "finetune" else "embed"
    literal = json.dumps(shown_path(name), ensure_ascii=False)
    reader = "AutoImageProcessor" if "image_size" in config else "AutoTokenizer"
    return (
        f"## Use\n\n```bash\npatchword {command} {shlex.quote(shown_path(name))} INPUT\n```\n\n```python\n"
        f"from transformers import {reader}, {architecture}\n\n"
        f"reader = {reader}.from_pretrained({literal})\nmodel = {architecture}.from_pretrained({literal})\n```"
    )


def _data(card: Mapping[str, Any]) -> str:
    data = card["data"]
    files = ", ".join(_code(PurePath(file).name) for file in data["files"])
    lines = [f"Files: {files}; fingerprint `{data['fingerprint']}`."]
    if "rows" in data:
        lines.append(
            f"{data['rows']:,} rows to train on, all of them validated by {data['folds']}-fold cross-validation."
            if "folds" in data
            else f"{data['rows']:,} rows to learn from, {data.get('validation_rows', 0):,} held back for validation."
        )
    if rows := data.get("label_rows"):
        commonest = sorted(rows.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{_code(label)} {count:,}" for label, count in commonest[:20])
        lines.append(f"Rows of each label: {shown}{', ...' if len(rows) > 20 else ''}.")
    return "## Data\n\n" + " ".join(lines)


def _scores(card: Mapping[str, Any]) -> str:
    report = card["report"]
    text = ["## Scores"]
    for part in ("validation", "test"):
        if part not in report:
            continue
        rows = {"**this model**": report[part], **floors_of(report, part)}
        names = [n for n in report[part] if not n.endswith(("_low", "_high")) and n not in COUNTS]
        title = "cross-validation" if part == "validation" and "cross_validation" in report else part
        lines = [f"| {title} | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
        lines += [f"| {row} | {' | '.join(number(values, n) for n in names)} |" for row, values in rows.items()]
        text.append("\n".join(lines))
    text.append("In brackets: 95 % intervals over the rows. Beside the model: simple methods on the same rows.")
    text += [sentence for sentence in (spread_told(report), paid(report), trust(report)) if sentence]
    return "\n\n".join(text)


def _limits(card: Mapping[str, Any]) -> str:
    told = limits(card) or ["Nothing was found in the numbers themselves. Other data than these were not looked at."]
    return "## Limits\n\n" + "\n".join(f"- {_escaped(sentence)}" for sentence in told)


_MARKDOWN = re.compile(r"([\\`*\[\]<>|#])")


def _escaped(text: str) -> str:
    """Text on one line, with nothing in it that Markdown or HTML reads as markup."""
    return _MARKDOWN.sub(r"\\\1", shown_path(printable(text)))


def _code(text: str) -> str:
    """Text as a Markdown code span on one line, whatever is in it."""
    text = shown_path(printable(text))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"
