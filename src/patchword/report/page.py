"""One self-contained HTML page: words, tables, figures and commands; nothing is loaded from elsewhere.

page = Page("A run", lead="What it is about.")
page.add(Paragraph("..."), Table(("labels", "accuracy"), [("25", "31 %")]), Figure.of(figure, "What it shows."))
page.write(Path("index.html"))
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from patchword.console import printable
from patchword.data.atomic import write_file
from patchword.data.names import encodable
from patchword.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_UNIT = re.compile(r"(?<=\d) (?=%)|(?<=\d) (?=± )|(?<=\d ±) (?=\d)")
_NUMBER = re.compile(r"[-+±]?\d[\d,.]*\s?(%|s|ms|points)?(\s?[±(–-].*)?|[–-]")


@dataclass(frozen=True)
class Heading:
    """Begins a part of the page."""

    text: str
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Paragraph:
    """Sentences. `strong` ones are what the reader should take home."""

    text: str
    strong: bool = False
    kind: str = field(default="paragraph", init=False)


@dataclass(frozen=True)
class Table:
    """Rows of cells; columns that hold numbers only are set to the right.

    Args:
        columns: their names.
        rows: as many cells each as there are columns; `Markup` stays as it is, all else is escaped.
        caption: a sentence under it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    kind: str = field(default="table", init=False)

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells, but there are {len(self.columns)} columns")

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether all its cells are numbers."""
        return [all(_NUMBER.fullmatch(str(row[i])) for row in self.rows) for i in range(len(self.columns))]


@dataclass(frozen=True)
class Code:
    """Lines as one would type them."""

    lines: Sequence[str]
    kind: str = field(default="code", init=False)


@dataclass(frozen=True)
class Figure:
    """A picture in the page itself.

    Args:
        markup: an <svg> or an <img> with its data.
        caption: a sentence under it.
    """

    markup: Markup
    caption: str = ""
    kind: str = field(default="figure", init=False)

    @classmethod
    def of(cls, drawing: Drawing, caption: str, alt: str = "") -> Figure:
        """A matplotlib figure as inline SVG. Black becomes the page's text colour, so that it reads on a dark page."""
        import matplotlib

        drawing.patch.set_alpha(0.0)
        for axes in drawing.axes:
            axes.patch.set_alpha(0.0)
        file = io.StringIO()
        with matplotlib.rc_context({"svg.hashsalt": "patchword"}):  # the same figure gives the same file
            drawing.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return cls(Markup(_inline(file.getvalue(), alt or caption)), caption)

    @classmethod
    def png(cls, data: bytes, caption: str, alt: str = "") -> Figure:
        """A PNG file's bytes."""
        source = "data:image/png;base64," + base64.b64encode(data).decode()
        return cls(Markup('<img src="{}" alt="{}">').format(source, alt or caption), caption)


Block = Heading | Paragraph | Table | Code | Figure


class Page:
    """A page in the making.

    Args:
        title: of the page.
        lead: a sentence under it.
        foot: a line at the end: versions, how it was made.
    """

    MARK = Markup('<meta name="generator" content="patchword">')
    """What a page that patchword wrote is recognised by."""

    def __init__(self, title: str, lead: str = "", foot: str = "") -> None:
        self.title, self.lead, self.foot = title, lead, foot
        self.blocks: list[Block] = []

    def add(self, *blocks: Block) -> None:
        """Put blocks at the end."""
        self.blocks += blocks

    def render(self) -> str:
        """The page as HTML."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("patchword", "report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["tight"] = _tight
        return environment.get_template("page.html.j2").render(page=self)

    @classmethod
    def check_can_be_written(cls, path: Path) -> None:
        """Refuse, before the work for it, a place for a page where there is something that patchword did not write."""
        if path.is_dir():
            raise UserError(f"{path} is a folder; --out names the page to write, such as {path / 'report.html'}.")
        if path.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"--out {path}: the page is an HTML file; its name must end in .html.")
        if not path.exists():
            return
        if path.is_file():
            with path.open("rb") as file:
                if cls.MARK.encode() in file.read(4096):
                    return
        raise UserError(f"{path} is there already, and is no page of patchword's. Choose another --out.")

    def write(self, path: Path) -> None:
        """Write the page into a file, whole: where the disk is full, an older page stays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, encodable(printable(self.render())).encode())


def _tight(text: Any) -> Any:
    """A number and its unit stay on one line."""
    return text if isinstance(text, Markup) else _UNIT.sub("\u00a0", str(text))


def _inline(svg: str, alt: str) -> str:
    """An SVG file's root element: ids of its own within the page, no fixed size, black as the text's colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    names = set(re.findall(r'\bid="([^"]+)"', svg))
    prefix = "f" + hashlib.blake2b((svg + alt).encode(), digest_size=3).hexdigest() + "-"

    def renamed(match: re.Match[str]) -> str:
        return match[1] + prefix + match[2] if match[2] in names else match[0]

    svg = re.sub(r'(\bid=")([^"]+)', renamed, svg)
    svg = re.sub(r'(href="#)([^"]+)', renamed, svg)
    svg = re.sub(r"(url\(#)([^)]+)", renamed, svg)
    svg = svg.replace("#000000", "currentColor")
    head, rest = svg.split(">", 1)
    size = re.search(r'viewBox="[^"]*"', head)
    assert size
    width = float(size[0].split()[2])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size[0]} role="img" '
        f'aria-label="{escape(alt)}" style="max-width:{width * 4 / 3:.0f}px">{rest.strip()}'
    )
