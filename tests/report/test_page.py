"""The page holds what was put in, escaped, loads nothing, and is sound HTML and SVG."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from patchword.errors import UserError
from patchword.report.page import Code, Figure, Heading, Page, Paragraph, Table

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'too'"


class Reader(HTMLParser):
    """Collects tags, attributes, ids and the text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(page.render())
    reader.close()
    assert reader.open == []
    return reader


def drawing() -> Drawing:
    figure = Drawing(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [3, 1, 2], label="one")
    axes.imshow([[0, 1], [1, 0]], extent=(0, 1, 0, 1))
    axes.set_title("title")
    axes.legend()
    return figure


def full_page() -> Page:
    page = Page("A & B", lead="lead", foot="foot")
    page.add(
        Heading("First"),
        Paragraph("words", strong=True),
        Table(("name", "accuracy"), [("one", "31 %"), ("two", "7 % (5–9)")], "caption"),
        Code(["patchword predict runs/x 'a < b'", "second line"]),
        Figure.of(drawing(), "first figure"),
        Figure.of(drawing(), "second figure"),
    )
    return page


def test_everything_put_in_is_there_in_order():
    reader = read(full_page())
    wanted = [
        "A & B",
        "lead",
        "First",
        "words",
        "one",
        "31\u00a0%",
        "caption",
        "'a < b'\nsecond line\n",
        "first figure",
    ]
    places = [reader.text.index(text) for text in wanted]
    assert places == sorted(places)
    assert reader.text.rstrip().endswith("foot")
    assert reader.tags.count("svg") == 2


def test_text_is_never_markup():
    page = Page(HOSTILE, lead=HOSTILE, foot=HOSTILE)
    page.add(Heading(HOSTILE), Paragraph(HOSTILE), Table((HOSTILE,), [(HOSTILE,)], HOSTILE), Code([HOSTILE]))
    page.add(Figure.of(drawing(), HOSTILE, HOSTILE), Figure.png(b"", HOSTILE, HOSTILE))
    reader = read(page)
    assert "script" not in reader.tags
    assert (
        reader.text.count(HOSTILE) == 12
    )  # title twice, lead, foot, heading, paragraph, column, cell, code, three captions
    assert [value for name, value in reader.attributes if name in ("alt", "aria-label")] == [HOSTILE, HOSTILE]


def test_markup_in_a_cell_stays_markup():
    page = Page("t")
    page.add(Table(("x",), [(Markup("a <mark>{}</mark>").format("<b>"),)]))
    html = page.render()
    assert "a <mark>&lt;b&gt;</mark>" in html


def test_nothing_is_loaded_from_elsewhere():
    page = full_page()
    page.add(Figure.png(b"\x89PNG", "a picture"))
    reader = read(page)
    assert not {"link", "iframe", "object", "embed", "base"} & set(reader.tags)
    for name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "poster"):
            assert (value or "").startswith(("data:image/png;base64,", "#")), (name, value)
    assert "@import" not in page.render()
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", page.render()))


def test_figures_do_not_share_ids_and_find_their_own():
    html = full_page().render()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 10
    used = re.findall(r'href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert used
    assert set(used) <= set(ids)


def test_figures_are_sound_xml_that_follows_the_page_s_colours():
    markup = str(Figure.of(drawing(), "c").markup)
    root = ElementTree.parse(io.StringIO(markup)).getroot()
    assert root.tag.endswith("svg")
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "currentColor" in markup
    assert "#000000" not in markup
    assert not re.search(r"fill: #ffffff(?![^\"]*opacity: 0[^.])", markup.split("legend")[0])


def test_columns_of_numbers_are_set_to_the_right():
    table = Table(("name", "a", "b", "c"), [("x", "31 %", "1,024", "3.5 ± 0.2 %"), ("9 lives", "–", "-7", "12 s")])
    assert table.numeric == [False, True, True, True]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="row 2 has 1 cells, but there are 2"):
        Table(("a", "b"), [("1", "2"), ("1",)])


def test_write_makes_the_folder(tmp_path: Path):
    full_page().write(tmp_path / "new" / "index.html")
    assert (tmp_path / "new" / "index.html").read_text("utf-8").startswith("<!doctype html>")


def test_only_a_page_is_written_over(tmp_path: Path):
    page = Page("A run")
    weights, notes, own = (tmp_path / name for name in ("model.safetensors", "notes.html", "report.html"))
    for path in (weights, notes):
        path.write_bytes(b"mine")
        with pytest.raises(UserError, match=path.name):
            Page.check_can_be_written(path)
        assert path.read_bytes() == b"mine"
    with pytest.raises(UserError, match="is a folder"):
        Page.check_can_be_written(tmp_path)
    Page.check_can_be_written(own)
    page.write(own)
    Page.check_can_be_written(own)


def test_the_page_is_for_phones_and_dark_mode():
    html = full_page().render()
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
