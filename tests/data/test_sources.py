"""What comes out of each kind of file, and what is said about those that can not be read."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from patchword.data.documents import Documents
from patchword.data.files import find_files
from patchword.data.sources import modality, read_labelled
from patchword.errors import UserError

ROWS = [
    {"text": "the cat sat", "label": "animal"},
    {"text": "a fast car, red", "label": "vehicle"},
    {"text": 'he said "dog"', "label": "animal"},
    {"text": "zwei\nZeilen über Züge", "label": "vehicle"},
]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def write_csv(path: Path, rows: Sequence[dict[str, Any]], delimiter: str = ",") -> Path:
    lines = [list(rows[0])] + [list(row.values()) for row in rows]
    quoted = (delimiter.join('"' + str(cell).replace('"', '""') + '"' for cell in line) for line in lines)
    path.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    return path


def write_image(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), colour).save(path)
    return path


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


class TestFindFiles:
    def test_folders_are_read_to_the_bottom_sorted_and_without_hidden_files(self, tmp_path: Path) -> None:
        for name in ("b.txt", "a/z.TXT", "a/y.jsonl", ".hidden.txt", ".git/x.txt", "notes.md"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)]
        assert found == ["a/y.jsonl", "a/z.TXT", "b.txt"]

    def test_patterns_and_lists_and_a_file_named_twice(self, tmp_path: Path) -> None:
        for name in ("1.txt", "2.txt", "[3].txt"):
            (tmp_path / name).write_text("x")
        assert find_files(f"{tmp_path}/?.txt") == [tmp_path / "1.txt", tmp_path / "2.txt"]
        assert find_files([tmp_path / "2.txt", str(tmp_path / "1.txt"), tmp_path]) == sorted(tmp_path.iterdir())
        assert find_files(tmp_path / "[3].txt") == [tmp_path / "[3].txt"]

    def test_linked_folders_are_read_and_circles_end(self, tmp_path: Path) -> None:
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "a.txt").write_text("x")
        (tmp_path / "near").mkdir()
        (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
        (tmp_path / "far" / "back").symlink_to(tmp_path / "near")
        (tmp_path / "near" / "again").symlink_to(tmp_path / "far")
        found = [path.relative_to(tmp_path / "near").as_posix() for path in find_files(tmp_path / "near")]
        assert found == ["again/a.txt", "link/a.txt"]

    def test_nothing_found(self, tmp_path: Path) -> None:
        assert "nope.csv does not exist" in message(lambda: find_files(tmp_path / "nope.csv"))
        for data in (tmp_path, f"{tmp_path}/*.csv"):
            said = message(lambda data=data: find_files(data))
            assert str(data) in said
            assert ".parquet" in said
            assert ".png" in said
        (tmp_path / "a.docx").write_text("x")
        assert "'.docx'" in message(lambda: find_files(tmp_path / "a.docx"))
        assert "No data" in message(lambda: find_files([]))

    def test_text_and_images_together(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        (tmp_path / "b.txt").write_text("x")
        said = message(lambda: find_files(tmp_path))
        assert "a.png" in said
        assert "b.txt" in said


class TestModality:
    def test_by_ending_and_by_first_rows(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        image = write_image(tmp_path / "images" / "a.png")
        paths = write_csv(tmp_path / "paths.csv", [{"file": "images/a.png", "label": "red"}])
        cells = write_parquet(tmp_path / "cells.parquet", [{"x": image.read_bytes(), "text": "red"}])
        texts = write_jsonl(tmp_path / "texts.jsonl", [{"text": "what is a.png", "file": "a.png"}])
        assert modality(tmp_path / "a.txt") == modality(texts) == "text"
        assert modality(image) == modality(paths) == modality(cells) == "image"
        assert modality(cells, text_column="text") == "text"
        assert modality(texts, image_column="file") == "image"
        assert "not both" in message(lambda: modality(cells, text_column="text", image_column="x"))


class TestDocuments:
    def test_the_same_texts_from_every_kind_of_table(self, tmp_path: Path) -> None:
        expected = [row["text"] for row in ROWS]
        tables = [
            write_jsonl(tmp_path / "a.jsonl", ROWS),
            write_csv(tmp_path / "a.csv", ROWS),
            write_csv(tmp_path / "semicolon.csv", ROWS, ";"),
            write_csv(tmp_path / "a.tsv", ROWS, "\t"),
            write_parquet(tmp_path / "a.parquet", ROWS),
        ]
        for table in tables:
            documents = Documents(table)
            assert list(documents) == expected
            assert list(documents) == expected, "read a second time"
            assert documents.notes == ["text column: 'text' (by its name)"]
            assert documents.size_bytes() == table.stat().st_size

    def test_plain_text_whole_or_by_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\n  two \r\n".encode())
        (tmp_path / "b.txt").write_text(" \n\n")
        assert list(Documents(tmp_path)) == ["one\n\n  two \n"]
        assert list(Documents(tmp_path, lines=True)) == ["one", "two"]

    @pytest.mark.parametrize("between", ["\n\n", "\n", " ", ""])
    def test_long_plain_text_comes_in_blocks_that_are_the_text_when_joined(self, tmp_path: Path, between: str) -> None:
        text = between.join(f"paragraph {i} äß" for i in range(150_000))
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        blocks = list(Documents(tmp_path / "a.txt"))
        assert "".join(blocks) == text
        assert all(len(block) <= 2**20 for block in blocks)
        assert all(len(block) > 2**19 for block in blocks[:-1])
        if between.strip(" "):
            assert all(block.endswith(between) for block in blocks[:-1])

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        rows = [{"text": f"{i} " + "word " * 2000} for i in range(3000)]  # 30 MB, in one parquet row group
        size = 30_000_000
        (tmp_path / "a.txt").write_text("\n".join(row["text"] for row in rows))
        tables = [write_jsonl(tmp_path / "a.jsonl", rows), write_csv(tmp_path / "a.csv", rows)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", use_dictionary=False, compression="none")
        for path in (*tables, tmp_path / "a.txt", tmp_path / "a.parquet"):
            assert path.stat().st_size > size
            documents = Documents(path)
            tracemalloc.start()
            arrow = max(pa.total_allocated_bytes() for _ in documents)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            # A batch of parquet is 8 MB, once in arrow's memory (with room to grow) and once as str.
            assert peak < 12e6, path
            assert arrow < 24e6, path

    def test_where_keeps_the_rows_that_match(self, tmp_path: Path) -> None:
        rows = [{"text": f"t{i}", "split": ["train", "test"][i % 2], "year": 2020 + i} for i in range(6)]
        for table in (
            write_jsonl(tmp_path / "a.jsonl", rows),
            write_csv(tmp_path / "a.csv", rows),
            write_parquet(tmp_path / "a.parquet", rows),
        ):
            assert list(Documents(table, where="split=train")) == ["t0", "t2", "t4"]
            assert list(Documents(table, where="year=2023")) == ["t3"]
            said = message(lambda table=table: Documents(table, where="split=dev"))
            assert "split = 'dev'" in said
            assert "'train'" in said
            assert "'splt'" in message(lambda table=table: Documents(table, where="splt=train"))
        assert "column=value" in message(lambda: Documents(tmp_path / "a.csv", where="train"))
        (tmp_path / "a.txt").write_text("x")
        assert "a.txt is not a table" in message(lambda: Documents(tmp_path / "a.txt", where="split=train"))

    def test_fingerprint_follows_content_and_options_not_names(self, tmp_path: Path) -> None:
        for folder in ("one", "two", "three"):
            (tmp_path / folder).mkdir()
        a = write_jsonl(tmp_path / "one" / "a.jsonl", [{"text": "x", "title": "z"}, {"text": "y", "title": "z"}])
        b = write_jsonl(tmp_path / "two" / "b.jsonl", [{"text": "x", "title": "z"}, {"text": "y", "title": "z"}])
        c = write_jsonl(tmp_path / "three" / "a.jsonl", [{"text": "x", "title": "z"}, {"text": "z", "title": "z"}])
        mark = Documents(a).fingerprint()
        assert len(bytes.fromhex(mark)) >= 16
        assert mark == Documents(b).fingerprint() == Documents(a, text_column="text").fingerprint()
        others = [
            Documents(c),
            Documents(a, text_column="title"),
            Documents(a, where="text=x"),
            Documents(a, lines=True),
            Documents([a, c]),
        ]
        assert len({mark, *(other.fingerprint() for other in others)}) == 6

    def test_empty_texts_are_left_out_and_nothing_but_empty_is_an_error(self, tmp_path: Path) -> None:
        a = write_jsonl(tmp_path / "a.jsonl", [{"text": " "}, {"text": None}, {"text": "x"}, {"other": 1}])
        assert list(Documents(a)) == ["x"]
        (tmp_path / "b.txt").write_text(" \n")
        assert "no text" in message(lambda: Documents(tmp_path / "b.txt"))

    def test_what_is_not_text_has_its_row_named(self, tmp_path: Path) -> None:
        a = write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 300 + [{"text": 5}])
        assert "a.jsonl, row 301: '5' is of type int" in message(lambda: list(Documents(a)))
        (tmp_path / "b.jsonl").write_text('{"text": "x"}\n{"text": "\\ud83d"}\n')
        assert "b.jsonl, row 2" in message(lambda: list(Documents(tmp_path / "b.jsonl")))
        assert "image" in message(lambda: Documents(write_image(tmp_path / "a.png")))

    def test_a_table_without_the_column_of_the_others(self, tmp_path: Path) -> None:
        a = write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 300)
        for write in (write_jsonl, write_csv, write_parquet):
            b = write(tmp_path / f"b.{write.__name__[6:]}", [{"body": "y", "n": 1}])
            said = message(lambda b=b: list(Documents([a, b])))
            assert f"{b} has no column 'text'; its columns are: body, n" in said

    def test_a_cell_may_be_very_long(self, tmp_path: Path) -> None:
        long = "word " * 1_000_000
        assert list(Documents(write_csv(tmp_path / "a.csv", [{"text": long}]))) == [long]


class TestLabelled:
    @pytest.mark.parametrize("write", [write_jsonl, write_csv, write_parquet], ids=["jsonl", "csv", "parquet"])
    def test_texts_labels_and_where_they_came_from(self, tmp_path: Path, write: Any) -> None:
        path = write(tmp_path / f"tickets.{write.__name__[6:]}", ROWS)
        labelled = read_labelled(path)
        assert labelled.modality == "text"
        assert list(labelled.inputs) == [row["text"] for row in ROWS]
        assert labelled.labels == [row["label"] for row in ROWS]
        assert labelled.columns == {"text": "text", "label": "label"}
        first = 2 if path.suffix == ".csv" else 1
        assert list(labelled.origins) == [f"{path.name}, row {first + i}" for i in range(4)]
        part = labelled.subset([3, 1])
        assert (part.inputs, part.labels) == ([ROWS[3]["text"], ROWS[1]["text"]], ["vehicle", "vehicle"])
        assert part.origins[1] == f"{path.name}, row {first + 1}"
        assert part.fingerprint not in (labelled.fingerprint, labelled.subset([1, 3]).fingerprint)

    def test_csv_rows_are_numbered_by_the_line_they_begin_on(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text('text,label\n"one\ntwo",a\n\nthree,b\n')
        assert list(read_labelled(tmp_path / "a.csv").origins) == ["a.csv, row 2", "a.csv, row 5"]

    def test_files_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        for name in ("x", "y"):
            (tmp_path / name).mkdir()
            write_jsonl(tmp_path / name / "a.jsonl", ROWS)
        assert read_labelled(tmp_path).origins[5] == f"{tmp_path / 'y' / 'a.jsonl'}, row 2"

    def test_columns_by_content_where_no_name_is_known(self, tmp_path: Path) -> None:
        rows = [{"id": f"x{i}", "complaint": f"it is broken {i}", "team": "ab"[i % 2]} for i in range(20)]
        labelled = read_labelled(write_csv(tmp_path / "a.csv", rows))
        assert labelled.columns == {"text": "complaint", "label": "team"}
        assert "longest" in labelled.notes[0]
        assert "'team'" in labelled.notes[1]

    def test_columns_by_name_before_content(self, tmp_path: Path) -> None:
        rows = [{"Text": "short", "url": "https://long.example/" * 5, "rating": 1, "Label": "a"}] * 3
        labelled = read_labelled(write_jsonl(tmp_path / "a.jsonl", rows))
        assert labelled.columns == {"text": "Text", "label": "Label"}
        assert "'rating'" in labelled.notes[1], "what is not used is told"

    def test_a_dict_is_an_image_only_with_bytes_or_a_path(self, tmp_path: Path) -> None:
        rows = [{"story": f"it is {i}", "answers": {"text": ["it"], "start": [0]}} for i in range(5)]
        labelled = read_labelled(write_jsonl(tmp_path / "a.jsonl", rows), need_labels=False)
        assert (labelled.modality, labelled.columns) == ("text", {"text": "story"})

    def test_ambiguous_labels(self, tmp_path: Path) -> None:
        rows = [{"text": f"t{i}", "team": "ab"[i % 2], "urgent": "yn"[i % 2]} for i in range(20)]
        path = write_csv(tmp_path / "a.csv", rows)
        said = message(lambda: read_labelled(path))
        assert "text, team, urgent" in said
        assert "--label-column" in said
        assert read_labelled(path, label_column="team").labels == list("ab" * 10)
        assert read_labelled(path, need_labels=False).labels is None

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "a.csv", ROWS)
        said = message(lambda: read_labelled(path, label_column="lable"))
        assert "a.csv" in said
        assert "text, label" in said
        assert "did you mean 'label'" in said
        assert "'body'" in message(lambda: read_labelled(path, text_column="body"))
        assert "both" in message(lambda: read_labelled(path, text_column="label", label_column="label"))
        other = write_csv(tmp_path / "b.csv", [{"text": "x", "topic": "y"}])
        assert f"{other} has no column 'label'" in message(lambda: read_labelled([path, other]))

    def test_labels_keep_their_type(self, tmp_path: Path) -> None:
        for values in ([1, 2], [1.5, 2.0], [True, False], [["a", "b"], []], [3, 3.5]):
            rows = [{"text": "x", "label": value} for value in values]
            labels = read_labelled(write_jsonl(tmp_path / "a.jsonl", rows)).labels
            assert labels == values
            assert list(map(type, labels or [])) == list(map(type, values))
        lists = [{"text": "x", "label": ["a"]}, {"text": "y", "label": ["a", "b"]}]
        assert read_labelled(write_parquet(tmp_path / "a.parquet", lists)).labels == [["a"], ["a", "b"]]

    def test_csv_labels_are_texts_unless_all_are_decimals(self, tmp_path: Path) -> None:
        def labels(*cells: str) -> tuple[list[Any] | None, str]:
            path = write_csv(tmp_path / "a.csv", [{"text": "x", "score": cell} for cell in cells])
            labelled = read_labelled(path)
            return labelled.labels, " ".join(labelled.notes)

        assert labels("1", "0")[0] == ["1", "0"]
        assert labels("1.5", "2", "-1e3") == ([1.5, 2.0, -1000.0], labels("1.5")[1])
        assert "decimal" in labels("1.5")[1]
        assert labels("1.5", "high")[0] == ["1.5", "high"]
        assert labels("nine", "one")[0] == ["nine", "one"]
        decimals, said = labels("1,5", "2", "-0,25")
        assert decimals == [1.5, 2.0, -0.25]
        assert "with a comma" in said
        assert "comma" not in labels("1.5")[1]
        assert labels("1,250", "2,000")[0] == ["1,250", "2,000"]  # thousands, or not: nobody knows
        assert labels("1,5", "a,b")[0] == ["1,5", "a,b"]

    @pytest.mark.parametrize("first", ["", "sep=;\r\n"])
    def test_a_table_as_a_spreadsheet_saves_it(self, first: str, tmp_path: Path) -> None:
        """Semicolons, a byte order mark, line ends of Windows, decimal commas; rows keep the numbers that it shows."""
        lines = ["Text;Score", '"So, ""übel""; really";1,5', "fine;2", "none;"]
        (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + (first + "\r\n".join(lines) + "\r\n").encode())
        row = 5 if first else 4
        assert f"a.csv, row {row}: nothing in the column 'Score'" in message(lambda: read_labelled(tmp_path / "a.csv"))
        whole = (tmp_path / "a.csv").read_bytes().replace(b"none;\r\n", b"")
        (tmp_path / "a.csv").write_bytes(whole)
        labelled = read_labelled(tmp_path / "a.csv")
        assert labelled.inputs == ['So, "übel"; really', "fine"]
        assert labelled.labels == [1.5, 2.0]
        assert labelled.columns == {"text": "Text", "label": "Score"}

    def test_class_numbers_of_datasets_have_their_names(self, tmp_path: Path) -> None:
        features = {"label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}
        table = pa.Table.from_pylist([{"text": "x", "label": 1}, {"text": "y", "label": 0}])
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / "a.parquet")
        assert read_labelled(tmp_path / "a.parquet").labels == ["spam", "ham"]

    @pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
    def test_missing_labels(self, tmp_path: Path, missing: Any) -> None:
        rows = [{"text": "x", "label": "a"}, {"text": "y", "label": missing}, {"text": "z", "label": missing}]
        path = write_jsonl(tmp_path / "a.jsonl", rows)
        said = message(lambda: read_labelled(path))
        assert "a.jsonl, row 2: nothing in the column 'label'" in said
        assert "a.jsonl, row 3: nothing in the column 'label'" in said
        unlabelled = read_labelled(path, need_labels=False)
        assert unlabelled.labels is None
        assert "2 rows" in unlabelled.notes[1]

    def test_many_bad_rows_make_one_message(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "label": "a"}] + [{"text": "y"}] * 12)
        said = message(lambda: read_labelled(path))
        assert "12 rows" in said
        assert "row 6" in said
        assert "row 7" not in said
        assert "and 7 more" in said

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ({"text": "", "label": "a"}, "the text is empty"),
            ({"text": 5, "label": "a"}, "'5' is of type int"),
            ({"label": "a"}, "no text"),
            ({"text": "x", "label": {"a": 1}}, "a dict is not a label"),
            ({"text": "x", "label": [1, 0]}, "[1, 0]"),
            ({"text": "x", "label": 3}, "is a number, the first one, 'a', a text"),
        ],
    )
    def test_rows_that_can_not_be_used(self, tmp_path: Path, row: dict[str, Any], problem: str) -> None:
        path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "label": "a"}] * 250 + [row])
        said = message(lambda: read_labelled(path))
        assert "a.jsonl, row 251" in said
        assert problem in said

    def test_plain_text_is_for_prediction(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one\n\n two\n")
        labelled = read_labelled(tmp_path / "a.txt", need_labels=False)
        assert (labelled.inputs, labelled.labels) == (["one", "two"], None)
        assert list(labelled.origins) == ["a.txt, row 1", "a.txt, row 3"]
        assert "a.txt is plain text" in message(lambda: read_labelled(tmp_path / "a.txt"))
        said = message(lambda: read_labelled(tmp_path / "a.txt", need_labels=False, text_column="body"))
        assert "'body'" in said

    def test_where(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "a.csv", [{**row, "split": "ab"[i % 2]} for i, row in enumerate(ROWS)])
        labelled = read_labelled(path, where="split=b")
        assert labelled.labels == ["vehicle", "vehicle"]
        assert labelled.origins[0] == "a.csv, row 3"
        assert labelled.fingerprint != read_labelled(path, where="split=a").fingerprint


class TestLabelledImages:
    def test_one_folder_a_class(self, tmp_path: Path) -> None:
        for name in ("dogs/1.png", "cats/b.png", "cats/more/a.jpg"):
            write_image(tmp_path / name)
        for data in (tmp_path, f"{tmp_path}/**/*.*g"):
            labelled = read_labelled(data)
            assert labelled.modality == "image"
            assert list(labelled.origins) == ["cats/b.png", "cats/more/a.jpg", "dogs/1.png"]
            assert labelled.labels == ["cats", "cats", "dogs"]
            assert labelled.inputs[2] == tmp_path / "dogs" / "1.png"
        before = labelled.fingerprint
        (tmp_path / "dogs").rename(tmp_path / "wolves")
        assert read_labelled(tmp_path).fingerprint != before, "a class with another name is other data"

    def test_an_empty_class_folder_is_named(self, tmp_path: Path) -> None:
        write_image(tmp_path / "cats" / "1.png")
        (tmp_path / "dogs").mkdir()
        assert str(tmp_path / "dogs") in message(lambda: read_labelled(tmp_path))
        assert read_labelled(tmp_path, need_labels=False).labels == ["cats"]

    def test_images_without_class_folders(self, tmp_path: Path) -> None:
        write_image(tmp_path / "1.png")
        assert "1.png is in no class folder" in message(lambda: read_labelled(tmp_path))
        assert read_labelled(tmp_path, need_labels=False).labels is None
        write_image(tmp_path / "cats" / "2.png")
        assert "1.png is in no class folder" in message(lambda: read_labelled(tmp_path))

    def test_splits_are_not_classes(self, tmp_path: Path) -> None:
        for name in ("train/cats/1.png", "test/dogs/1.png"):
            write_image(tmp_path / name)
        assert "test, train" in message(lambda: read_labelled(tmp_path))
        assert read_labelled(tmp_path / "train").labels == ["cats"]

    def test_tables_of_paths_and_of_bytes(self, tmp_path: Path) -> None:
        image = write_image(tmp_path / "images" / "a.png")
        data = image.read_bytes()
        for table, expected in (
            (write_csv(tmp_path / "a.csv", [{"path": "images/a.png", "label": "x"}]), image),
            (write_parquet(tmp_path / "a.parquet", [{"image": data, "label": "x", "name": "red"}]), data),
            (
                write_parquet(tmp_path / "b.parquet", [{"i": {"bytes": data, "path": None}, "label": "x"}]),
                data,
            ),
        ):
            labelled = read_labelled(table)
            assert (labelled.modality, labelled.inputs, labelled.labels) == ("image", [expected], ["x"])

    def test_images_that_are_not_there(self, tmp_path: Path) -> None:
        rows = [
            {"image": "a.png", "label": "x"},
            {"image": "b.png", "label": "x"},
            {"image": "", "label": "x"},
        ]
        write_image(tmp_path / "a.png")
        said = message(lambda: read_labelled(write_csv(tmp_path / "a.csv", rows), image_column="image"))
        assert f"row 3: there is no image file {tmp_path / 'b.png'}" in said
        assert "row 4: no image" in said


class TestBadFiles:
    """Each with what was wrong and where; read both ways."""

    CASES = (
        ("empty.jsonl", b"", ["empty.jsonl", "is empty"]),
        ("rows.csv", b"text,label\n", ["rows.csv has no rows"]),
        ("blank.jsonl", b"\n\n", ["blank.jsonl has no rows"]),
        ("mixed.csv", "text,label\nx,ä\n".encode() + b"\xfcbel,b\n", ["1 wrong bytes", "line 3", "0xfc", "offset 16"]),
        ("cyrillic.csv", "text,label\nпривет всем,a\n".encode("cp1251"), ["line 2", "0xef", '"CSV UTF-8"']),
        (
            "polish.jsonl",
            '{"text": "zażółć gęślą jaźń"}'.encode("cp1250"),
            ["line 1", "neither UTF-8 nor Windows-1252"],
        ),
        ("odd.csv", "text,label\nx,a\n".encode("utf-16")[:-1], ["can not be decoded", "utf-16"]),
        ("ragged.csv", b"text,label\nx,a\none, two,b\n", ["ragged.csv, row 3", "3 cells", "2", "comma"]),
        ("short.csv", b"a,text,label\n1,x,a\n\n2,y\n", ["short.csv, row 4", "2 cells", "3"]),
        ("open.csv", b'text,label\nx,a\n"y,b\nz,c\n', ["open.csv, row 3", "quotes"]),
        ("twice.csv", b"text,text,label\nx,y,a\n", ["twice.csv", "two columns named 'text'"]),
        ("numbers.csv", b"3,Wall St. Bears\n4,Oil\n", ["numbers.csv", "name the columns", "Wall St."]),
        ("unnamed.csv", b"text,,label\nx,y,a\n", ["column 2 of 3 has no name"]),
        ("broken.jsonl", b'{"text": "x", "label": "a"}\n{"text": \n', ["broken.jsonl, row 2", "JSON"]),
        ("list.jsonl", b'["x", "a"]\n', ["list.jsonl, row 1", "list, not an object"]),
        ("array.jsonl", b'[\n{"text": "x"}\n]\n', ["array.jsonl, row 1", "one object on each line"]),
        ("broken.parquet", b"PAR1 and then nothing PAR1", ["broken.parquet", "parquet"]),
    )

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
    def test_message(self, tmp_path: Path, case: tuple[str, bytes, list[str]]) -> None:
        name, content, expected = case
        path = tmp_path / name
        path.write_bytes(content)
        for call in (lambda: read_labelled(path), lambda: list(Documents(path)), lambda: modality(path)):
            said = message(call)
            assert str(path) in said
            for part in expected:
                assert part in said

    def test_a_header_that_is_a_row(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("good,I loved this\nbad,I hated that\ngood,what a film\n" * 5)
        assert "first line" in message(lambda: read_labelled(tmp_path / "a.csv"))

    def test_a_csv_of_pandas_with_its_index(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf,text,label\r\n0,x,a\r\n1,y,b\r\n")
        labelled = read_labelled(tmp_path / "a.csv")
        assert (labelled.inputs, labelled.labels) == (["x", "y"], ["a", "b"])
        assert labelled.origins[1] == "a.csv, row 3"

    def test_parquet_without_rows_or_with_a_broken_page(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.parquet"
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), empty)
        assert "has no rows" in message(lambda: Documents(empty))
        rows = [{"text": f"text {i}", "label": "a"} for i in range(5000)]
        path = write_parquet(tmp_path / "a.parquet", rows)
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)
        assert "a.parquet can not be read" in message(lambda: read_labelled(path))


@pytest.fixture
def real_data() -> Path:
    if "PATCHWORD_DATA" not in os.environ:
        pytest.skip("PATCHWORD_DATA does not name the folder with the real data sets")
    return Path(os.environ["PATCHWORD_DATA"])


class TestRealData:
    def test_row_counts_and_columns_are_those_of_its_readme(self, real_data: Path) -> None:
        topics = read_labelled(real_data / "topics-train.jsonl")
        assert (len(topics), len(set(topics.labels or []))) == (6303, 17)
        sentiment = read_labelled(real_data / "sentiment-test.jsonl")
        assert (len(sentiment), set(sentiment.labels or [])) == (1029, {"positive", "negative"})
        emoji = read_labelled(real_data / "emoji-train.parquet")
        assert (emoji.modality, len(emoji), len(set(emoji.labels or []))) == ("image", 2699, 9)
        corpus = Documents(real_data / "corpus_software.parquet", where="split=train")
        assert sum(1 for _ in corpus) == 53810
