"""docs/families.md says what the families are, and each begins with a task that it can learn."""

from __future__ import annotations

import re

import pytest

from patchword.models.family import Family, families, presets
from patchword.tasks.task import task_named
from tests.models.family_table import PAGE, page


def test_every_family_and_every_preset_is_on_the_page() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line]
    of_families = {row[0].split("`")[1]: row for row in rows if len(row) == 9 and "`" in row[0]}
    assert set(of_families) == set(families())
    for name, family in families().items():
        assert of_families[name][-2:] == [family.objective, ", ".join(family.ways_out)]
    assert [re.sub("`", "", row[0]) for row in rows if len(row) == 6 and "`" in row[0]] == list(presets())


def test_the_page_is_what_the_modules_are() -> None:
    assert PAGE.read_text() == page(), "python -m tests.models.family_table writes it again"


@pytest.mark.parametrize("family", [pytest.param(family, id=name) for name, family in families().items()])
def test_a_family_can_learn_what_it_is_pretrained_with(family: Family) -> None:
    assert task_named(family.objective, family).way_out in family.ways_out
