"""Every family, every head, both directions: the same outputs and the same tensors as transformers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from patchword.models.family import families
from patchword.models.folder import describe, read_model, write_model
from tests.models.parity import TOLERANCE, Case, all_cases, into_ours, into_theirs

every_case = pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """By the names that the family's tables have."""
    respelled = describe(folder).family.respelled
    loaded = load_file(folder / "model.safetensors")
    for theirs, ours in respelled.items():
        loaded = {ours + n.removeprefix(theirs) if n.startswith(theirs) else n: t for n, t in loaded.items()}
    return loaded


def assert_equal_tensors(*folders: Path) -> None:
    one, other = map(tensors, folders)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@every_case
def test_what_transformers_writes_we_open(case: Case, tmp_path: Path) -> None:
    difference, loaded = into_ours(case, tmp_path)
    assert loaded.new == loaded.unused == ()
    assert loaded.model.way_out == case.way_out
    assert difference <= TOLERANCE


@every_case
def test_what_we_write_transformers_opens(case: Case, tmp_path: Path) -> None:
    difference, theirs, info = into_theirs(case, tmp_path / "theirs", tmp_path / "ours")
    assert not any(info.values()), info
    assert difference <= TOLERANCE
    # Inside it may name them otherwise; what it writes has the names of files again.
    theirs.save_pretrained(tmp_path / "again")
    assert_equal_tensors(tmp_path / "ours", tmp_path / "again")


@every_case
def test_a_round_trip_changes_no_tensor(case: Case, tmp_path: Path) -> None:
    case.model().save_pretrained(tmp_path / "theirs")
    write_model(read_model(tmp_path / "theirs").model, tmp_path / "ours")
    assert_equal_tensors(tmp_path / "theirs", tmp_path / "ours")


def test_every_head_of_every_family_has_a_case_and_a_row_in_the_documentation() -> None:
    heads = {
        (family.model_type, way.architecture) for family in families().values() for way in family.ways_out.values()
    }
    assert {(case.family, case.theirs) for case in all_cases()} == heads
    rows = re.findall(r"^\| (\S+) \| (\S+)", Path("docs/parity.md").read_text(), re.M)
    assert heads <= set(rows)
