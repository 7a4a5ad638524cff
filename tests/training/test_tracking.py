"""Who watches a run sees that something goes on; who does not is not bothered."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from patchword.training import tracking


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_what_takes_long_is_seen_on_a_terminal(
    terminal: bool, quiet: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(tracking, "console", Console(file=screen, force_terminal=terminal))
    with tracking.working("Judging it ...", quiet):
        pass
    assert ("Judging it ..." in screen.getvalue()) == shown
