"""A third of the sweep over tokenizer folders; `tests/data/tokenizer_parity.py` runs all of it for its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.tokenizer_parity import KINDS, cases, exception, outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_read_as_transformers_reads_it_or_refused(kind: str, tmp_path: Path) -> None:
    wrong = []
    for number, (_, change) in enumerate(case for case in cases() if case[0] == kind):
        if number % 3 and number:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        found, said = outcome(kind, change, folder)
        if found not in ("equal", "refused", "both fail") and exception(kind, change, found) is None:
            wrong.append((change, found, said))
    assert not wrong
