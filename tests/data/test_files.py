"""Which files are read, and what is said of those that are not."""

from __future__ import annotations

import codecs
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from patchword.data.files import Found, find
from patchword.data.names import class_name, encodable, escape_in_output, shown_path
from patchword.data.row_stream import RowStream
from patchword.data.sources import read_labelled
from patchword.data.split_names import split_named
from patchword.data.tagged import read_tagged
from patchword.errors import Notice, UserError
from patchword.tasks.checking import check
from tests.data.test_sources import message, write_csv, write_image


def found(data: object) -> tuple[Found, list[str]]:
    """What `find` finds, and its Notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = find(data)  # type: ignore[arg-type]
    return result, [str(warning.message) for warning in caught if issubclass(warning.category, Notice)]


def write_png(path: Path, colour: str = "red") -> Path:
    """A PNG, whatever the name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), colour).save(path, "PNG")
    return path


class TestImages:
    @pytest.mark.parametrize(
        "name",
        ["a.jfif", "a.jpe", "a.avif", "a.PNG", "a.Tiff", "a.ppm", "a.jp2", "a.tga", "a", "a.dat", "a.png.bak", "a.txt"],
    )
    def test_images_whatever_they_are_called(self, name: str, tmp_path: Path) -> None:
        write_png(tmp_path / "b.png")
        path = write_png(tmp_path / name)
        result, notices = found(tmp_path)
        assert list(result) == sorted([path, tmp_path / "b.png"])
        assert result.are_images
        assert not notices
        assert list(found(f"{tmp_path}/*")[0]) == list(result)

    def test_an_image_without_an_ending_by_itself(self, tmp_path: Path) -> None:
        path = write_png(tmp_path / "photo")
        assert list(find(path)) == [path]
        assert list(RowStream(path)) == list(RowStream(tmp_path))
        (tmp_path / "letters").write_text("words")
        assert "letters can not be read" in message(lambda: find(tmp_path / "letters"))

    LEFT_OUT: ClassVar[dict[str, Callable[[Path], object]]] = {
        "broken links": lambda at: (at / "x.png").symlink_to("/nowhere.png"),
        "empty files": lambda at: (at / "x.png").touch(),
        "files with the ending '.db'": lambda at: (at / "x.db").write_bytes(b"\xd0\xcf\x11\xe0"),
        "files with the ending '.mp4'": lambda at: (at / "x.mp4").write_bytes(b"\0\0\0 ftypisom\0\0\2\0"),
        "files without an ending": lambda at: (at / "LICENSE").write_text("all rights"),
        ".heic files": lambda at: (at / "x.HEIC").write_bytes(b"\0\0\0 ftypheic\0\0\0\0mif1"),
        "hidden files": lambda at: (at / ".x.png").write_bytes(b"x"),
        "hidden folders": lambda at: write_png(at / ".x" / "a.png"),
        "folders that macOS adds": lambda at: write_png(at / "__MACOSX" / "a.png"),
        "pipes or devices": lambda at: os.mkfifo(at / "x.png"),
        ".json files beside": lambda at: (at / "x.json").write_text("{}"),
    }

    @pytest.mark.parametrize("kind", LEFT_OUT)
    def test_what_is_left_out_is_counted_with_an_example(self, kind: str, tmp_path: Path) -> None:
        write_png(tmp_path / "cats" / "a.png")
        write_png(tmp_path / "dogs" / "a.png")
        self.LEFT_OUT[kind](tmp_path / "cats")
        result, notices = found(tmp_path)
        assert len(result) == 2
        (notice,) = notices
        assert "1 file or folder is not read (2 are)" in notice
        assert kind in notice
        assert str(tmp_path / "cats") in notice.partition("such as")[2]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `check` has a finding instead
            report = check(tmp_path)
        assert any(kind in finding.title + "".join(finding.places) for finding in report.findings)

    def test_texts_too(self, tmp_path: Path) -> None:
        for name in ("a.txt", "b.md", "c.docx", "d.docx"):
            (tmp_path / name).write_text("words")
        (notice,) = found(tmp_path)[1]
        assert "3 files and folders are not read (1 are)" in notice
        assert "'.docx': 2" in notice
        assert "b.md" in notice

    def test_one_note_a_process(self, tmp_path: Path) -> None:
        write_png(tmp_path / "a.png")
        (tmp_path / "b.md").write_text("words")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(3):
                find(tmp_path)
        assert len(caught) == 1

    def test_nothing_but_what_is_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "a.docx").write_text("words")
        said = message(lambda: find(tmp_path))
        assert "nothing to read" in said
        assert "a.docx" in said


class TestSplits:
    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("train", "train"),
            ("Training", "train"),
            ("train_set", "train"),
            ("training-images", "train"),
            ("images train", "train"),
            ("train2017", "train"),
            ("VALIDATION", "validation"),
            ("val", "validation"),
            ("dev-data", "validation"),
            ("Test", "test"),
            ("test_images_2", "test"),
            ("hold-out", None),
            ("cats", None),
            ("trainer", None),
            ("test tube", None),
            ("crash test", None),
            ("contest", None),
            ("", None),
        ],
    )
    def test_names(self, name: str, split: str | None) -> None:
        assert split_named(name) == split

    @pytest.mark.parametrize(
        "folders",
        [
            ("Train", "Test"),
            ("TRAIN", "VALIDATION"),
            ("train_set", "test_set"),
            ("training-images", "validation-images"),
            ("train", "val", "extra"),
            ("pets_train", "pets_test"),
            ("images/train", "images/test"),
            ("a/b/Training", "a/b/Testing"),
        ],
    )
    def test_never_become_classes(self, folders: tuple[str, ...], tmp_path: Path) -> None:
        for folder in folders:
            for name in ("cats", "dogs"):
                write_image(tmp_path / folder / name / "1.png")
        said = message(lambda: read_labelled(tmp_path))
        assert f"finetune START {tmp_path / folders[0]} --" in said
        assert f" {tmp_path / folders[1]} --out" in said
        assert read_labelled(tmp_path / folders[0]).labels == ["cats", "dogs"], "what the message says works"

    def test_splits_inside_of_classes(self, tmp_path: Path) -> None:
        for folder in ("cats/train", "cats/test", "dogs/train", "dogs/test"):
            write_image(tmp_path / folder / "1.png")
        said = message(lambda: read_labelled(tmp_path))
        assert f"finetune START '{tmp_path}/*/train/*' --test '{tmp_path}/*/test/*'" in said
        assert read_labelled(f"{tmp_path}/*/train/*").labels == ["cats", "dogs"]

    def test_a_class_that_is_called_test(self, tmp_path: Path) -> None:
        for folder in ("cats", "test", "dogs"):
            write_image(tmp_path / folder / "1.png")
        assert read_labelled(tmp_path).labels == ["cats", "dogs", "test"]

    def test_files_of_one_folder(self, tmp_path: Path) -> None:
        rows = [{"text": "good day", "label": "a"}, {"text": "bad day", "label": "b"}]
        one, other = (write_csv(tmp_path / name, rows) for name in ("my_train.csv", "my_test.csv"))
        for data in (tmp_path, f"{tmp_path}/*.csv"):
            assert f"finetune START {one} --test {other} --out" in message(lambda data=data: read_labelled(data))
        assert len(read_labelled([one, other])) == 4, "named one by one, they are one"
        assert len(read_labelled(tmp_path, need_labels=False)) == 4

    def test_tagged_files_of_one_folder(self, tmp_path: Path) -> None:
        for name in ("train.conll", "dev.conll"):
            (tmp_path / name).write_text("Paris B-LOC\n")
        assert "--validation" in message(lambda: read_tagged(tmp_path))
        assert len(read_tagged(tmp_path / "dev.conll").texts) == 1

    def test_a_column_of_splits(self, tmp_path: Path) -> None:
        rows = [{"text": f"day {i}", "label": "ab"[i % 2], "Split": "test" if i > 250 else "train"} for i in range(300)]
        table = write_csv(tmp_path / "a.csv", rows)
        said = message(lambda: read_labelled(table))
        assert "train 251, test 49" in said
        assert "--where Split=train" in said
        assert len(read_labelled(table, where="Split=train")) == 251
        assert len(read_labelled(table, need_labels=False)) == 300
        others = [row | {"Split": "x"} for row in rows[:2]]
        assert len(read_labelled(write_csv(tmp_path / "b.csv", rows[:9] + others))) == 11, "other values name no splits"
        assert len(read_labelled(write_csv(tmp_path / "c.csv", rows[:250]))) == 250, "one split is all there is"


class TestNames:
    def test_one_class_in_two_spellings(self, tmp_path: Path) -> None:
        nfc, nfd = "caf\u00e9", "cafe\u0301"
        for folder, name in (("one", nfc), ("other", nfd)):
            write_image(tmp_path / folder / name / "1.png")
        assert read_labelled(tmp_path / "one").labels == read_labelled(tmp_path / "other").labels == [nfc]
        table = write_csv(tmp_path / "a.csv", [{"text": "x", "label": nfc}, {"text": "y", "label": nfd}])
        assert read_labelled(table).labels == [nfc, nfc]

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (b"ch\xe9vre", "ch\\xe9vre"),
            ("chèvre 東京".encode(), "chèvre 東京"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"a\nb", "a\\nb"),
            (b"[/usr]", "[/usr]"),
            (b"-50%", "-50%"),
        ],
    )
    def test_every_name_can_be_shown(self, name: bytes, shown: str) -> None:
        path = Path(os.fsdecode(name))
        assert shown_path(path) == shown
        assert shown_path(path).encode().decode() == shown
        assert class_name(os.fsdecode(name)).encode()

    def test_other_lone_surrogates(self) -> None:
        assert encodable("a\ud83db") == "a\\ud83db"

    def test_folders_that_are_not_utf8(self, tmp_path: Path) -> None:
        for name in (b"ch\xe8vre", b"loup"):
            write_image(tmp_path / os.fsdecode(name) / os.fsdecode(b"\xe9.png"))
        rows = read_labelled(tmp_path)
        assert rows.labels == ["ch\\xe8vre", "loup"]
        assert list(rows.origins) == ["ch\\xe8vre/\\xe9.png", "loup/\\xe9.png"]
        assert all(isinstance(path, Path) and path.is_file() for path in rows.inputs)


def test_one_empty_cell_among_paths_is_named_with_its_row(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / f"{i}.png")
    rows = [{"file": f"{i}.png", "kind": "ab"[i % 2]} for i in range(4)]
    for wrong in ("", "n/a"):
        table = write_csv(tmp_path / "a.csv", [*rows, {"file": wrong, "kind": "a"}])
        assert "row 6" in message(lambda table=table: read_labelled(table))


def test_a_missing_file_in_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist") as caught:
        find(tmp_path / os.fsdecode(b"\xe9.png"))
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("ch\udce9vre", "utf-8", b"ch\\xe9vre"),
        ("東京", "cp1252", b"\\u6771\\u4eac"),
        ("a\ud83d", "utf-8", b"a\\ud83d"),
        ("🐐\udce9", "latin-1", b"\\U0001f410\\xe9"),
    ],
)
def test_what_an_encoding_lacks_is_escaped_in_output(text: str, encoding: str, written: bytes) -> None:
    codecs.register_error("patchword.escape", escape_in_output)
    assert text.encode(encoding, "patchword.escape") == written
