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
    spread_told,
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
        columns = (
            "cross-validation" if part == "validation" and run.config.cross_validated else part,
            *(name.replace("_", " ") for name in names),
        )
        folds = run.report.get("cross_validation") if part == "validation" else None
        title = f"{folds['folds']}-fold cross-validation" if folds else f"The {part} part"
        blocks.append(Table(columns, rows, f"{title}{count}.{beside}"))
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
    folds = run.report.get("cross_validation")
    caption = (
        f"Simple methods{' and this model' if folds else ''} by the number of labels, in {curve['folds']}-fold "
        f"cross-validation on {curve['rows']:,} labelled rows."
    )
    figure = plot_more_labels(curve, run.report["validation"]["accuracy"] if folds else None)
    return [Heading("Would more labels help?"), Paragraph(curve["told"]), Figure.of(figure, caption)]


def _seeds(run: Finished) -> list[Block]:
    if folds := run.report.get("cross_validation"):
        return _folds(run, folds)
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
    columns = ("seed", f"validation {name}", "best step", "seconds", "")
    return [Heading("Seeds"), Table(columns, rows, spread_told(run.report))]


def _folds(run: Finished, folds: Mapping[str, Any]) -> list[Block]:
    name = main_metric(run.report["validation"])
    rows = [
        (
            f"fold {i + 1}",
            number(of_run["validation"], name),
            f"{of_run['validation']['rows']:,}",
            f"{of_run['seconds']:,.0f}",
            "collapsed" if i in folds["collapsed"] else "",
        )
        for i, of_run in enumerate(folds["runs"][:-1])
    ]
    rows += [("all rows", "–", "–", f"{of_run['seconds']:,.0f}", "collapsed") for of_run in folds["retries"]]
    kept = folds["runs"][-1]
    rows.append(("all rows", "–", "–", f"{kept['seconds']:,.0f}", "collapsed" if folds["kept_collapsed"] else "kept"))
    return [Heading("Folds"), Table(("trained without", name, "rows", "seconds", ""), rows, spread_told(run.report))]


def _curve(run: Finished) -> list[Block]:
    chosen = run.report.get("seeds", {}).get("chosen", [0])[0]
    lines = read_metrics(places(run.folder.path, run.config.runs)[chosen])
    figure = plot_learning(lines, run.card.get("only_in_training_loss", []))
    if figure is None:
        return []
    of_seed = f" The seed that was best, {chosen + 1}." if run.config.seeds > 1 else ""
    if run.config.cross_validated:
        of_seed = " The run without the first fold, evaluated on that fold."
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
        if told_part(run.report) == "validation" and run.config.cross_validated:
            raise UserError("They are of the models of the folds, which are not kept.")
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
    if not found:
        return []
    of_whom = f"{found['by']} (accuracy {found['accuracy']:.1%} on rows not trained on)"
    if not found["rows"]:
        return [
            Heading("Labels to look at again"),
            Paragraph(
                f"None: by the predictions of {of_whom}, no more of the {found['looked_at']:,} rows have an improbable "
                "label than is expected where all labels are right."
            ),
        ]
    rows = [
        (with_origin(s["text"], s["origin"]), s["is"], s["prediction"], f"{100 * s['confidence']:.1f} %")
        for s in found["rows"]
    ]
    return [
        Heading("Labels to look at again"),
        Paragraph(
            f"{found['count']:,} of {found['looked_at']:,} labelled rows may be labelled wrong, by the predictions of "
            f"{of_whom}. About {found['expected_precision']:.0%} of these labels are expected to be wrong; as many as "
            "the rest would be this improbable by chance where all labels are right and the probabilities hold. The "
            "list ends where more than half of it would be by chance."
        ),
        Table(("row", "labelled", "predicted", "probability"), rows, "Probability: of the row's own label."),
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
