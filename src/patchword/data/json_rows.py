"""Tables in JSON: an object on each line, a list of objects, or SQuAD's nested form.

A cell that is nested more deeply than Python's reader goes is kept as it is written (`RawJson`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from patchword.data.column_names import Row, check_columns
from patchword.data.text_files import reading_text
from patchword.errors import UserError

MOST_NESTED = 200
"""Levels of lists and objects that are read as such."""
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.S)
_ONE_OBJECT = 'A .jsonl file has one object on each line, such as {"text": "good", "label": "positive"}.'
_DECODER = json.JSONDecoder()


class RawJson:
    """A cell as it is written in JSON.

    Args:
        text: the value.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawJson) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def jsonl_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    """The rows of a .jsonl, by their lines; lines of white space alone are none."""
    absent = dict.fromkeys(wanted or ())
    names: dict[str, None] = {}
    with reading_text(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                cells = _parsed(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, row {number}: not valid JSON ({error}). {_ONE_OBJECT}") from None
            if not isinstance(cells, dict):
                raise UserError(f"{path}, row {number}: {type(cells).__name__}, not an object. {_ONE_OBJECT}")
            if absent:
                names.update(dict.fromkeys(cells))
                absent = {name: None for name in absent if name not in cells}
            yield number, cells
    if names:
        check_columns(path, list(absent), list(names))


def json_file_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    """The rows of a .json, counted from 1."""
    names: dict[str, None] = {}
    with reading_text(path) as file:
        try:
            for number, cells in enumerate(json_rows(_parsed(file.read())), 1):
                names.update(dict.fromkeys(cells))
                yield number, cells
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no table in JSON: {error}.") from None
    if names:
        check_columns(path, wanted, list(names))


def json_rows(document: Any) -> Iterator[dict[str, Any]]:
    """Each object of a list; or each question of SQuAD's articles and paragraphs, with its context and title.

    Raises:
        ValueError: it is neither, or a paragraph is not as it should be; in words.
    """
    if isinstance(document, list):
        for number, row in enumerate(document, 1):
            if not isinstance(row, dict):
                raise ValueError(f"entry {number} of the list is no object")
            yield row
        return
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise ValueError('it is no list of objects, and has no list "data" as SQuAD has')
    if not all(isinstance(article, dict) and "paragraphs" in article for article in articles):
        yield from json_rows(articles)
        return
    for number, article in enumerate(articles, 1):
        for paragraph in _objects(article, "paragraphs", f"article {number}"):
            for question in _objects(paragraph, "qas", f"a paragraph of article {number}"):
                yield {"title": article.get("title"), "context": paragraph.get("context"), **question}


def _objects(parent: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    children = parent.get(name)
    if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
        raise ValueError(f'{where} has no list "{name}" of objects')
    return children


def _parsed(text: str) -> Any:
    """A document; where it is nested too deeply, its rows with the cells that are as `RawJson`.

    Raises:
        ValueError: it is no JSON.
    """
    if text.count("[") + text.count("{") <= MOST_NESTED:
        return json.loads(text)
    start = _skip(text, 0)
    end, depth = _extent(text, start)
    if depth <= MOST_NESTED:
        return json.loads(text)
    if end < 0 or _skip(text, end) < len(text):
        raise ValueError("its brackets do not match")
    if text[start] == "{":
        return _object(text, start)
    # A list of rows, each of which may hold such a cell.
    items = (text[at:until].rstrip() for at, until in _items(text, start))
    return [_object(item, 0) if item[:1] == "{" else _cell(item) for item in items]


def _object(text: str, start: int) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for at, until in _items(text, start):
        key, after = _DECODER.raw_decode(text, at)
        after = _skip(text, after)
        if not isinstance(key, str) or text[after : after + 1] != ":":
            raise ValueError(f"an object has no name for the value at character {at}")
        cells[key] = _cell(text[_skip(text, after + 1) : until].rstrip())
    return cells


def _cell(text: str) -> Any:
    return RawJson(text) if _extent(text, 0)[1] > MOST_NESTED - 2 else json.loads(text)


def _items(text: str, start: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the items of a list or an object, whatever they hold: what stands between its commas."""
    at = _skip(text, start + 1)
    end = at
    while text[at : at + 1] not in ("]", "}", ""):
        end = _until_comma(text, at)
        yield at, end
        at = _skip(text, end + 1) if text[end] == "," else end


_STOPS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.S)


def _until_comma(text: str, at: int) -> int:
    depth = 0
    for found in _STOPS.finditer(text, at):
        sign = found[0]
        if not depth and sign in (",", "]", "}"):
            return found.start()
        depth += (sign in "[{") - (sign in "]}") if len(sign) == 1 else 0
    raise ValueError("its brackets do not match")


def _extent(text: str, start: int) -> tuple[int, int]:
    """Where the list or object ends (-1 if it does not), and how deeply it is nested."""
    depth = most = 0
    for found in _BRACKETS.finditer(text, start):
        sign = found[0]
        if sign in ("[", "{"):
            depth += 1
            most = max(most, depth)
        elif sign in ("]", "}"):
            depth -= 1
            if not depth:
                return found.end(), most
    return -1, most


def _skip(text: str, at: int) -> int:
    return WHITESPACE.match(text, at).end()
