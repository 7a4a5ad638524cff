"""The demo's folder: its own earlier output is replaced, and never anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchword.demo.run import MARKER, claim
from patchword.errors import UserError


def test_a_new_folder_is_made_and_marked(tmp_path: Path):
    out = tmp_path / "runs" / "demo"
    claim(out)
    assert json.loads((out / MARKER).read_text())["written_by"] == "patchword demo"


def test_an_earlier_demo_is_replaced_and_what_is_a_person_s_own_stays(tmp_path: Path):
    claim(tmp_path)
    (tmp_path / "base" / "checkpoints").mkdir(parents=True)
    (tmp_path / "base" / "run.json").write_text("{}")
    (tmp_path / "index.html").write_text("old")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (tmp_path / "text").symlink_to(outside)
    claim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes"]
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    assert (outside / "kept").read_text() == "kept"


@pytest.mark.parametrize("marker", [None, "", "[]", "{}", '{"written_by": "someone else"}', "\x00"])
def test_anything_else_is_left_alone(tmp_path: Path, marker: str | None):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "precious").write_text("precious")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    with pytest.raises(UserError, match="was not written by the demo"):
        claim(tmp_path)
    assert (tmp_path / "base" / "precious").read_text() == "precious"


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        claim(tmp_path / "file")
