"""A long phase reports that it is going on, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from patchword.training import tracking


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"),
    [(True, False, True), (True, True, False), (False, False, True), (False, True, False)],
)
def test_a_long_phase_is_reported_unless_quiet(
    terminal: bool, quiet: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(tracking, "console", Console(file=screen, force_terminal=terminal))
    with tracking.working("Judging it ...", quiet):
        pass
    assert ("Judging it ..." in screen.getvalue()) == shown
