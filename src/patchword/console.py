r"""Output for a person: what a user wrote is shown as it is.

Texts, labels, names of files and generated text can hold anything: `[/usr/bin]` looks like markup of rich, `$` like a
formula of matplotlib, and an escape sequence moves the cursor of a terminal. Whatever is printed or drawn goes through
one of the functions here.
"""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Text without characters that control a terminal or the direction of writing: an escape becomes `\x1b`.

    Line breaks and tabs stay.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plain(text: object, style: str = "") -> Text:
    """Text for a console, a table or a progress bar, exactly as it is."""
    return Text(printable(str(text)), style)


def drawable(text: str) -> str:
    """A text for matplotlib, in which `$` begins no formula."""
    return printable(text).replace("$", r"\$")


class PlainConsole(Console):
    """A console that reads no markup, no emoji names and no control characters in strings.

    Bold words are `rich.text.Text` objects with a style (`plain`).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it is; rich calls this for each string that is printed, or in a table."""
        return super().render_str(printable(text), **options)
