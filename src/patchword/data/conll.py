"""CoNLL files: a word and its tags on each line, an empty line after each sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from patchword.data.columns import Problems
from patchword.data.text_files import reading_text
from patchword.errors import UserError


def conll_sentences(
    path: Path, column: str | None = None, need_tags: bool = True
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each sentence: (line of its first word, words, tags). The word is the first column, columns are cut at tabs, in
    a line without tabs at white space; `-DOCSTART-` lines and comments (# before a sentence) are left out.

    Args:
        path: of the file.
        column: number of the column with the tags, 1 for the first; the last one where not given.
        need_tags: if not, a file of words alone is read too; they have no tags.

    Raises:
        UserError: a line has fewer columns than the first one, there is no such column, or there are no words.
    """
    wrong = Problems()
    width = place = number = 0
    words: list[str] = []
    tags: list[str] = []
    with reading_text(path) as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            if not any(cell.strip() for cell in cells) or cells[0] == "-DOCSTART-":
                if words:
                    yield number - len(words), words, tags
                    words, tags = [], []
                continue
            if line.startswith("#") and "\t" not in line and not words and len(cells) != width:
                continue
            if not width:
                width = len(cells)
                place = _place(column, width, path) if width > 1 or need_tags else 0
            if len(cells) < width:
                wrong.note(f"{len(cells)} columns, but the first line has {width}", path, number)
                cells = [*cells, *[""] * (width - len(cells))]
            elif not cells[0].strip() or not cells[place].strip():
                wrong.note("the word or its tag is empty", path, number)
            words.append(cells[0].strip())
            if place:
                tags.append(cells[place].strip())
    if words:
        yield number + 1 - len(words), words, tags
    if not width:
        raise UserError(f"{path} has no words.")
    wrong.stop()


def _place(column: str | None, width: int, path: Path) -> int:
    if width < 2:
        raise UserError(f"{path}: the lines have one column; a word and its tag are wanted, with a tab between them.")
    if column is None:
        return width - 1
    if not column.isdecimal() or not 2 <= int(column) <= width:
        raise UserError(
            f"{path}: the columns of a CoNLL file have no names; the one with the tags is given by its number, "
            f"2 to {width} here, not '{column}'."
        )
    return int(column) - 1
