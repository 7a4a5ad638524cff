"""The rows of a .json: a list of objects, or SQuAD's nested form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


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
