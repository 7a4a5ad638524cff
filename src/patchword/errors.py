"""The one kind of error a person using patchword is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Notice(UserWarning):
    """What a person should know of the data, while the work goes on."""


class UserError(Exception):
    """Something in the input can not be used as it is.

    The message says what was wrong, where (file, row, key) and what to do about it. The command line prints it
    without a traceback and exits with code 2; in Python it is an ordinary exception.
    """


class NotFinite(UserError):
    """What a model computes is NaN or infinite."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: `"; did you mean 'label'?"` when a known name is near, else `"."`."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else "."
