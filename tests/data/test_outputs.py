"""An output never replaces an input: equal, inside, by links and by patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchword.data.outputs import refuse_output_over_inputs
from patchword.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "1.png").write_text("x")
    (folder / "rows.csv").write_text("x")
    return folder


def link(path: Path, to: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to, target_is_directory=to.is_dir())
    return path


def refused(out: Path, data: object, folder: bool) -> str:
    with pytest.raises(UserError) as error:
        refuse_output_over_inputs(out, {"the data": data}, folder=folder, read_whole=("the data",))  # type: ignore[dict-item]
    assert "the data" in str(error.value)
    assert "another --out" in str(error.value) or "elsewhere" in str(error.value)
    return str(error.value)


def test_a_file_that_is_an_input(data: Path, tmp_path: Path) -> None:
    rows = data / "rows.csv"
    for given in (rows, [rows], data, f"{data}/*.csv", link(tmp_path / "same.csv", rows), link(tmp_path / "d", data)):
        assert "is an input" in refused(rows, given, folder=False)
    assert "is an input" in refused(link(tmp_path / "other.csv", rows), data, folder=False)
    assert "is an input" in refused(tmp_path / "data" / "cats" / ".." / "rows.csv", rows, folder=False)


def test_an_input_that_a_link_in_a_folder_leads_to(tmp_path: Path, data: Path) -> None:
    (tmp_path / "out.csv").write_text("x")
    link(data / "more" / "linked.csv", tmp_path / "out.csv")
    assert "is an input" in refused(tmp_path / "out.csv", data, folder=False)


def test_a_folder_that_is_or_contains_an_input(data: Path, tmp_path: Path) -> None:
    linked, out_linked = link(tmp_path / "l" / "d", data / "cats"), link(tmp_path / "out", data)
    for given in (data, data / "rows.csv", data / "cats", f"{data}/c*/*.png", linked):
        for out in (data, out_linked):
            assert "input of this command" in refused(out, given, folder=True)
    outside = tmp_path / "outside"
    link(outside / "cats" / "linked", data / "cats")
    assert "contains" in refused(data, outside, folder=True)


def test_a_folder_inside_one_that_is_read_whole(data: Path, tmp_path: Path) -> None:
    assert "would read its files" in refused(data / "run", data, folder=True)
    circle = link(data / "cats" / "circle", data)
    assert "would read its files" in refused(circle / "run", data, folder=True)
    link(tmp_path / "photos" / "linked", data)
    assert "would read its files" in refused(data / "run", tmp_path / "photos", folder=True)
    refuse_output_over_inputs(data / "run", {"--from": data}, folder=True)  # its files are read by name


def test_what_is_allowed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = {"a": data / "rows.csv", "b": None, "c": ["a sentence" * 400, "google-bert/bert-base-uncased"], "d": data}
    refuse_output_over_inputs(tmp_path / "out.csv", inputs)
    refuse_output_over_inputs(data / "new.csv", inputs)
    refuse_output_over_inputs(tmp_path / "data2", inputs, folder=True, read_whole=("a", "d"))
    refuse_output_over_inputs(tmp_path, {"c": inputs["c"]}, folder=True)
