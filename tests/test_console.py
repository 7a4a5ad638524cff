"""What a user wrote is shown as it is: on a terminal, in a figure, on a page and in a model card."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table

import patchword as pw
from patchword.console import PlainConsole, drawable, plain, printable
from patchword.training.card import _code, _escaped

ODD = "[/x] [bold]b[/] $a_b$ <b>&`|* :smile: \x1b[31m"


@given(st.text())
def test_printable_text_controls_no_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert "\x7f" not in shown
    assert "\u202e" not in shown
    if text.isprintable():
        assert shown == text


@given(st.text(st.characters(categories=["L", "N", "P", "Sc", "Sm", "So"]).filter(cell_len), min_size=1, max_size=40))
def test_a_console_prints_text_as_it_is(text: str) -> None:
    """As a line, in a table, and beside a style."""
    for what in (text, plain(text, "bold")):
        console = PlainConsole(file=io.StringIO(), width=400)
        console.print(what)
        assert isinstance(console.file, io.StringIO)
        assert console.file.getvalue().rstrip("\n") == text
    table = Table(text, title=text)
    table.add_row(text)
    console = PlainConsole(file=io.StringIO(), width=400)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count(text) >= 3


@pytest.mark.parametrize("text", ["$a_b$", "a $5 and $6", "$", r"\$x$", "$\\frac{", ODD])
def test_matplotlib_reads_no_formula(text: str) -> None:
    """The text's path is that of a text without formulas; a broken formula would raise."""
    from matplotlib.figure import Figure

    figure = Figure()
    label = figure.text(0.5, 0.5, drawable(text))
    figure.savefig(io.BytesIO(), format="png")
    shown, formula = label._preprocess_math(label.get_text())  # type: ignore[attr-defined]
    assert not formula
    assert shown == printable(text)


@pytest.mark.parametrize("text", ["a`b", "``", "`", "a|b", "line\nbreak", " ", ODD])
def test_a_code_span_of_markdown_holds_the_text(text: str) -> None:
    from markdown_it import MarkdownIt

    (inline,) = [token for token in MarkdownIt().parse(f"x {_code(text)} y") if token.type == "inline"]
    spans = [token.content for token in inline.children or [] if token.type == "code_inline"]
    assert len(spans) == 1
    assert spans[0].strip() == printable(text).replace("\n", r"\n").strip()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=40))
def test_escaped_text_is_plain_in_markdown(text: str) -> None:
    from markdown_it import MarkdownIt

    (inline,) = [token for token in MarkdownIt().parse(f"x {_escaped(text)} y") if token.type == "inline"]
    kinds = {token.type for token in inline.children or []}
    assert kinds <= {"text", "text_special", "softbreak"}


class Texts(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose texts, labels and folder name are odd."""
    folder = tmp_path_factory.mktemp("odd")
    labels = [ODD, "<script>x</script> $y$"]
    rows = [{"text": f"{ODD} {('red', 'blue')[i % 2]} {i}", "label": labels[i % 2]} for i in range(60)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    how: dict[str, Any] = {"batch_size": 8, "max_length": 32, "quiet": True}
    pw.pretrain(
        folder / "rows.jsonl", model="bert-tiny", steps=2, vocab_size=300, text_column="text", out=folder / "b", **how
    )
    pw.finetune(folder / "b", folder / "rows.jsonl", steps=2, seeds=1, out=folder / "run [/x] $1$", **how)
    return folder


def patchword(*words: object) -> str:
    """What a command prints, which controls no terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "patchword", *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout


def test_commands_show_odd_text(run: Path) -> None:
    out = run / "again [/y]"
    shown = patchword("finetune", run / "b", run / "rows.jsonl", "--steps", 2, "--seeds", 1, "--out", out)
    assert "again [/y]" in shown.replace("\n", "")
    assert "[bold]b[/]" in patchword("check", run / "rows.jsonl", "--json")
    patchword("evaluate", run / "run [/x] $1$", run / "rows.jsonl")


def test_a_page_shows_odd_labels(run: Path) -> None:
    patchword("report", run / "run [/x] $1$", "--out", run / "page.html")
    page = Texts()
    page.feed((run / "page.html").read_text())
    assert "script" not in page.tags
    assert "<script>x</script> $y$" in page.text
    assert "\x1b" not in page.text


def test_a_card_shows_odd_labels(run: Path) -> None:
    card = (run / "run [/x] $1$" / "README.md").read_text()
    assert "`<script>x</script> $y$`" in card
    assert "\x1b" not in card
