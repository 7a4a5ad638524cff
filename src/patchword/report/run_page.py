"""What a person reads after a run, or after several: one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from patchword.errors import UserError
from patchword.report.figures import plot_confusion, plot_coverage, plot_learning, plot_more_labels, plot_reliability
from patchword.report.mistakes import SHOWN, explained, judged, with_origin
from patchword.report.page import Block, Code, Figure, Heading, Page, Paragraph, Table
from patchword.training.run import RunConfig, RunFolder
from patchword.training.seeds import places
from patchword.training.tracking import read_metrics
from patchword.training.verdict import (
    COUNTS,
    best_floor,
    cost,
    decided,
    floors_of,
    headline,
    limits,
    main_metric,
    number,
    paid,
    start_of,
    told_part,
    trust,
)

_MOST_CLASSES = 30


@dataclass(frozen=True)
class Finished:
    """A run that has come to its end.

    Args:
        folder: where it is.
        config: its settings.
        card: its `patchword.json`.
    """

    folder: RunFolder
    config: RunConfig
    card: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Finished:
        """Raises:
        UserError: there is no run, or it is not finished.
        """
        folder = RunFolder.open(path)
        if not folder.finished:
            raise UserError(
                f"The run in {path} is not finished, so there is nothing to tell yet. Go on with it: "
                f"`patchword resume {path}`."
            )
        return cls(folder, folder.read_config(), folder.read_card())

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.path.resolve().name

    @property
    def report(self) -> Mapping[str, Any]:
        """What was measured."""
        report: Mapping[str, Any] = self.card["report"]
        return report

    @property
    def task(self) -> str:
        """What it has learnt, in words."""
        return self.config.task.replace("_", " ").replace("-", " ")


def run_page(paths: Sequence[Path]) -> Page:
    """The page of one run, or of several, compared.

    Raises:
        UserError: a folder holds no run that is finished.
    """
    runs = [Finished.open(path) for path in paths]
    made = ", ".join(f"{name} {version}" for name, version in runs[0].card.get("versions", {}).items())
    if len(runs) == 1:
        (run,) = runs
        page = Page(f"{run.name}: {run.task}", headline(run.report), f"Made with {made}.")
        judged_by = (_scores, _limits, _more_labels, _seeds, _curve, _by_class, _trust, _mistakes, _suspects, _samples)
        for part in (*judged_by, _data, _how):
            page.add(*part(run))
        return page
    page = Page(f"{len(runs)} runs", ", ".join(run.name for run in runs), f"The first one was made with {made}.")
    page.add(*_compared(runs))
    for run in runs:
        page.add(Heading(f"{run.name}: {run.task}"), Paragraph(headline(run.report), strong=True))
        page.add(*_scores(run)[1:], *_limits(run)[1:], *_curve(run)[1:])
    return page


def _compared(runs: Sequence[Finished]) -> list[Block]:
    rows = []
    for run in runs:
        part = told_part(run.report)
        name, floor = main_metric(run.report[part]), best_floor(run.report, part)
        beside = f"{floor[0]} {floor[1][name]:.3f}" if floor else "–"
        learnt = run.card["data"].get("rows")
        rows.append(
            (
                run.name,
                f"{name} {number(run.report[part], name)}",
                part,
                beside,
                f"{learnt:,}" if learnt else "–",
                f"{run.report['seconds']:,.0f}",
                start_of(run.config.start),
            )
        )
    caption = "In brackets: 95 % intervals over the rows that are judged."
    prints = {
        (run.config.test, run.card["data"].get("validation_fingerprint") if run.config.test is None else "")
        for run in runs
    }
    if len({told_part(run.report) for run in runs}) > 1 or len(prints) > 1:
        caption += " The runs were not judged on the same rows, so their scores are not strictly comparable."
    columns = ("run", "score", "part", "best floor", "labelled rows", "seconds", "start")
    return [Heading("Compared"), Table(columns, rows, caption)]


def _scores(run: Finished) -> list[Block]:
    blocks: list[Block] = [Heading("Scores")]
    for part in ("test", "validation"):
        if part not in run.report:
            continue
        metrics = run.report[part]
        floors, best, main = floors_of(run.report, part), best_floor(run.report, part), main_metric(metrics)
        methods = {"this model": metrics, **({best[0]: best[1]} if best else {}), **floors}
        names = [name for name in metrics if not name.endswith(("_low", "_high")) and name not in COUNTS]
        names.sort(key=lambda name: name != main)  # on a phone the first cells are in sight
        rows = [(method, *(number(values, name) or "–" for name in names)) for method, values in methods.items()]
        count = next((f", {metrics[name]:,} {name.replace('_', ' ')}" for name in COUNTS if name in metrics), "")
        beside = " Beside the model: simple methods on the same rows." if len(methods) > 1 else ""
        columns = (part, *(name.replace("_", " ") for name in names))
        blocks.append(Table(columns, rows, f"The {part} part{count}.{beside}"))
    if sentence := paid(run.report):
        blocks.append(Paragraph(sentence))
    return blocks


def _limits(run: Finished) -> list[Block]:
    told = limits(run.card)
    return [Heading("What to keep in mind"), *(Paragraph(sentence, strong=True) for sentence in told)] if told else []


def _more_labels(run: Finished) -> list[Block]:
    curve = run.report.get("learning_curve")
    if not curve:
        return []
    caption = (
        "Simple methods on parts of the labelled rows, several draws of each, and this model with all of them; on the "
        "validation part."
    )
    figure = plot_more_labels(curve, run.report["validation"].get("accuracy"))
    return [Heading("Would more labels help?"), Paragraph(curve["told"]), Figure.of(figure, caption)]


def _seeds(run: Finished) -> list[Block]:
    seeds = run.report.get("seeds")
    if not seeds:
        return []
    name = main_metric(run.report["validation"])
    rows = [
        (
            str(i + 1),
            number(of_seed["validation"], name),
            f"{of_seed['best_step']:,}",
            f"{of_seed['seconds']:,.0f}",
            "collapsed" if i in seeds["collapsed"] else "kept" if i in seeds["chosen"] else "",
        )
        for i, of_seed in enumerate(seeds["runs"])
    ]
    part = told_part(run.report) if told_part(run.report) in seeds else "validation"
    ends = seeds[part][name]
    caption = (
        f"{name} in {part}: {ends['mean']:.3f} on average, from {ends['min']:.3f} to {ends['max']:.3f}; the mean is "
        f"within {ends['low']:.3f} and {ends['high']:.3f} with 95 %."
    )
    return [Heading("Seeds"), Table(("seed", f"validation {name}", "best step", "seconds", ""), rows, caption)]


def _curve(run: Finished) -> list[Block]:
    chosen = run.report.get("seeds", {}).get("chosen", [0])[0]
    figure = plot_learning(read_metrics(places(run.folder.path, run.config.seeds)[chosen]))
    if figure is None:
        return []
    of_seed = f" The seed that was best, {chosen + 1}." if run.config.seeds > 1 else ""
    return [Heading("While it learnt"), Figure.of(figure, f"Loss and learning rate over steps.{of_seed}")]


def _by_class(run: Finished) -> list[Block]:
    review = run.report.get("review")
    if not review:
        return []
    part = told_part(run.report)
    classes = sorted(review["classes"], key=lambda of_class: of_class["f1"])
    rows = [
        (c["label"], f"{c['f1']:.3f}", f"{c['precision']:.3f}", f"{c['recall']:.3f}", f"{c['rows']:,}")
        for c in classes[:_MOST_CLASSES]
    ]
    more = f"; the {_MOST_CLASSES} worst of {len(classes)} classes" if len(classes) > _MOST_CLASSES else ""
    blocks: list[Block] = [
        Heading("By class"),
        Table(
            ("label", "F1", "precision", "recall", review.get("unit", "rows")),
            rows,
            f"On the {part} part, lowest F1 first{more}.",
        ),
    ]
    if "confusion_matrix" in review:
        labels = [of_class["label"] for of_class in review["classes"]]
        caption = "Rows of each label, by what the model said; darker is a larger share of the label's rows."
        blocks.append(Figure.of(plot_confusion(review["confusion_matrix"], labels), caption))
    if review.get("confusions") and len(classes) > 2:
        cells = [(c["is"], c["said"], f"{c['rows']:,}", f"{100 * c['share']:.0f} %") for c in review["confusions"][:10]]
        blocks.append(Table(("is", "said", "rows", "of the label"), cells, "The largest confusions."))
    if review.get("slices"):
        slices = [
            (s["slice"], f"{s['accuracy']:.3f} ({s['accuracy_low']:.3f} to {s['accuracy_high']:.3f})", f"{s['rows']:,}")
            for s in review["slices"][:10]
        ]
        caption = "Slices of 20 rows and more, worst first, with 95 % intervals. By label, accuracy is recall."
        blocks.append(Table(("slice", "accuracy", "rows"), slices, caption))
    return blocks


def _trust(run: Finished) -> list[Block]:
    if "coverage" not in run.report:
        return []
    blocks: list[Block] = [Heading("Can its confidence be believed?"), Paragraph(trust(run.report))]
    blocks.append(
        Figure.of(
            plot_coverage(run.report["coverage"]),
            f"What is right if only the surest {decided(run.report)} are answered.",
        )
    )
    if run.report.get("reliability"):
        caption = "How often it is right at each confidence; larger points are more rows."
        blocks.append(Figure.of(plot_reliability(run.report["reliability"]), caption))
    return blocks


def _mistakes(run: Finished) -> list[Block]:
    mistakes = run.report.get("review", {}).get("mistakes", [])
    if not mistakes:
        return []
    blocks: list[Block] = [Heading("The most confident mistakes")]
    rest = mistakes
    try:
        blocks += explained(run.folder, mistakes)
        rest = mistakes[SHOWN:]
    except UserError as error:
        blocks.append(Paragraph(f"What drove them is not shown. {error}"))
    rows = [(with_origin(mistake["text"], mistake["origin"]), judged(mistake)) for mistake in rest]
    if rows:
        more = "Further ones." if rest is not mistakes else "Those that it was surest of."
        blocks.append(Table(("row", "the model"), rows, more))
    return blocks


def _suspects(run: Finished) -> list[Block]:
    found = run.report.get("suspects")
    if not found or not found["rows"]:
        return []
    rows = [
        (with_origin(s["text"], s["origin"]), s["is"], s["probe"], f"{100 * s['confidence']:.1f} %")
        for s in found["rows"]
    ]
    return [
        Heading("Labels to look at again"),
        Paragraph(
            f"{found['count']:,} of {found['looked_at']:,} training rows may be labelled wrong: a linear probe that "
            "has not seen them is sure of another label (confident learning, Northcutt et al. 2021). It reads the "
            "vectors of the model that fine-tuning started from, since the finished one has learnt the wrong labels, "
            f"too. The probe is right in {found['accuracy']:.0%} of the rows: what it suspects is a list to look at, "
            "and no verdict."
        ),
        Table(("row", "labelled", "probe says", "chance"), rows, "Chance: of the row's own label, by the probe."),
    ]


def _samples(run: Finished) -> list[Block]:
    blocks: list[Block] = []
    if guesses := run.report.get("guesses"):
        rows = [
            (
                Markup("{} <mark>[{}]</mark> {}").format(g["before"], g["hidden"], g["after"]),
                ", ".join(f"“{word}” {100 * share:.0f} %" for word, share in g["guesses"]),
            )
            for g in guesses
        ]
        blocks.append(Table(("unseen text, with the hidden word", "guesses"), rows))
    if samples := run.report.get("samples"):
        written = [(s["before"], s["written"], s.get("expected", "–")) for s in samples]
        with_truth = any("expected" in s for s in samples)
        columns, count = ("read", "written", "expected"), 3 if with_truth else 2
        told = run.report.get("samples_are", "")
        blocks.append(Table(columns[:count], [row[:count] for row in written], told))
    return [Heading("Samples"), *blocks] if blocks else []


def _data(run: Finished) -> list[Block]:
    data = run.card["data"]
    rows = [
        (name.replace("_", " "), _shown(name, value))
        for name, value in data.items()
        if name not in ("findings", "label_rows") and value is not None
    ]
    blocks: list[Block] = [Heading("Data"), Table(("", ""), rows)]
    if counts := data.get("label_rows"):
        ordered = sorted(counts.items(), key=lambda item: -item[1])[:_MOST_CLASSES]
        blocks.append(Table(("label", "rows to learn from"), [(label, f"{count:,}") for label, count in ordered]))
    for finding in data.get("findings", []):
        blocks.append(Paragraph(_sentence(finding)))
    return blocks


def _sentence(finding: Any) -> str:
    """A finding about the data, as `checks.findings.Finding` has it."""
    if not isinstance(finding, Mapping):
        return str(finding)
    where = f" ({'; '.join(finding['places'])})" if finding.get("places") else ""
    return f"{finding.get('title', '')}{where}. {finding.get('what_to_do', '')}"


def _shown(name: str, value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key}: {item}" for key, item in value.items())
        case list():
            return ", ".join(PurePath(str(item)).name if name == "files" else str(item) for item in value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
    return str(value)


def _how(run: Finished) -> list[Block]:
    recipe = run.config.recipe.model_dump(exclude_none=True)
    own = run.config.model_dump(exclude_none=True, exclude_defaults=True)
    settings = {"start": start_of(run.config.start)}
    settings |= {name: own[name] for name in own if name not in ("recipe", "data", "validation", "test", "start")}
    rows = [(name.replace("_", " "), _shown(name, value)) for name, value in (settings | recipe).items()]
    return [
        Heading("How it was made"),
        Paragraph(cost(run.report)),
        Table(("setting", "value"), rows),
        Code(
            [
                "patchword predict FOLDER INPUT"
                if run.config.stage == "finetune"
                else "patchword finetune FOLDER DATA --out NEW"
            ]
        ),
        Paragraph(
            "README.md in the run's folder says the same for the Hugging Face hub; patchword.json has all numbers."
        ),
    ]
