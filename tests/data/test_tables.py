"""One table in every format: read alike, and written so that every reader has it again.

What is expected comes from other libraries: Python's csv and json, pandas, pyarrow.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import re
import sys
import warnings
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchword.data.arrow_cells import array_of, cells_of
from patchword.data.names import encodable
from patchword.data.row_file import Column, encode, kind_of
from patchword.data.sources import Labelled, read_labelled
from patchword.data.tables import TABLE_ENDINGS, rows
from patchword.errors import Notice, UserError
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from(
    "\n\t\"',;"
)
WORDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: bool(text.strip()) and text[0] != "=")
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, cells: Sequence[dict[str, Any]]) -> Path:
    """By the formats' own libraries."""
    match path.suffix:
        case ".jsonl" | ".ndjson":
            path.write_text("".join(json.dumps(row) + "\n" for row in cells), "utf-8")
        case ".json":
            path.write_text(json.dumps(cells), "utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(list(cells)), path)
        case ".xlsx":
            book = openpyxl.Workbook()
            for line in ([*cells[0]], *(row.values() for row in cells)):
                book.active.append(list(line))
            book.save(path)
        case ending:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(cells[0]), delimiter="\t" if ending == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(cells)
    return path


def found_in(path: Path, problem: str | None = None) -> tuple[Any, ...]:
    """All that a model would be given."""
    with warnings.catch_warnings(action="ignore"):
        labelled = read_labelled(path, text_column="text", label_column="label")
    assert labelled.labels is not None
    labels = LabelSet.find(labelled.labels, "label", problem)
    return labelled.inputs, labels, labels.encode(labelled.labels, labelled.origins).tolist()


class TestFormatsAgree:
    LABELS: ClassVar = {
        "words": st.sampled_from(["yes", "no", "1.1.0", "01", "TRUE", "a, b", "x;y"]),
        "whole numbers": st.integers(-3, 3),
        "decimals": st.integers(-(10**6), 10**6).map(lambda number: (2 * number + 1) / 16),
        "decimals and whole ones": st.sampled_from([0.5, 1.0, 2.25, 3.0, 1e-7]),
    }

    @pytest.mark.parametrize("kind", LABELS)
    @QUICK
    @given(data=st.data())
    def test_on_rows_labels_and_the_problem(self, kind: str, data: st.DataObject, tmp_path: Path) -> None:
        labels = data.draw(st.lists(self.LABELS[kind], min_size=4, max_size=9))
        labels[:2] = {"words": ["yes", "no"], "whole numbers": [1, 2]}.get(kind, [0.25, 1.5])
        texts = data.draw(st.lists(WORDS, min_size=len(labels), max_size=len(labels)))
        cells = [
            {"n": n, "text": text, "label": label} for n, (text, label) in enumerate(zip(texts, labels, strict=True))
        ]
        # Excel has no 1.0, so that class names of such numbers differ there.
        problem = data.draw(st.sampled_from([None, SINGLE])) if kind != "decimals and whole ones" else None
        found = {ending: found_in(write(tmp_path / f"a{ending}", cells), problem) for ending in TABLE_ENDINGS}
        for ending, one in found.items():
            assert one == found[".csv"], ending
        expected = SINGLE if problem or kind in ("words", "whole numbers") else REGRESSION
        assert found[".csv"][0] == texts
        assert found[".csv"][1].problem == expected
        if expected == SINGLE:
            assert set(found[".csv"][1].names) == set(map(str, labels))

    @pytest.mark.parametrize("numbers", [[0.5, 1, 2.25], [1, 2.0, 3], [0.5, Decimal("1.0"), 2]])
    def test_whole_numbers_among_decimals_are_decimals(self, numbers: list[Any], tmp_path: Path) -> None:
        """As JSON.stringify writes 1.0."""
        labels = LabelSet.find(numbers, "score")
        assert labels.problem == REGRESSION
        assert labels.encode(numbers, ["", "", ""]).ravel().tolist() == list(map(float, numbers))
        assert LabelSet.find([True, 0.5], "label").problem == SINGLE

    def test_a_class_is_the_text_of_its_cell(self, tmp_path: Path) -> None:
        names = ["1.1", "1.10", "1e3", "1.0", "+1.5", "01.50"]
        path = write(tmp_path / "a.csv", [{"text": "x", "label": name} for name in names])
        labels = found_in(path, SINGLE)[1]
        assert set(labels.names) == set(names)
        # In a test file without any other class the cells look like numbers; they are the model's classes all the same.
        beta = LabelSet(("1.1", "1.10", "beta"), SINGLE)
        held_out = read_labelled(
            write(tmp_path / "b.csv", [{"text": "x", "label": "1.10"}, {"text": "x", "label": "1.1"}])
        )
        assert beta.encode(held_out.labels or [], held_out.origins).tolist() == [1, 0]

    def test_a_number_of_a_typed_table_is_a_class_by_its_value(self) -> None:
        assert LabelSet(("1", "2"), SINGLE).encode([1.0, 2.0], ["", ""]).tolist() == [0, 1]
        assert LabelSet(("1.0", "2.5"), SINGLE).encode([1, 2.5], ["", ""]).tolist() == [0, 1]
        with pytest.raises(UserError, match=r"'1\.5' is not one that the model knows"):
            LabelSet(("1", "2"), SINGLE).encode([1.5], ["a.jsonl, row 1"])

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([["a", "b"], ["a"], []]).map(str),
            pd.Series([["a", "b"], ["a"], []]).map(json.dumps),
            pd.Series([("a", "b"), ("a",), ()]).map(str),
            pd.Series([["a'\"", "b"], ["a'\"", "x\\"]]).map(str),
            pd.Series([{"a", "b"}, {"a"}]).map(str),
        ],
    )
    def test_lists_in_the_text_of_a_cell_are_several_labels(self, column: pd.Series, tmp_path: Path) -> None:
        pd.DataFrame({"text": "x", "label": column}).to_csv(tmp_path / "a.csv", index=False)
        labels = found_in(tmp_path / "a.csv")[1]
        expected = {name for cell in column for name in eval(cell)}
        assert (set(labels.names), labels.problem) == (expected, MULTI)
        with pytest.raises(UserError, match="several labels a row"):
            found_in(tmp_path / "a.csv", SINGLE)

    @pytest.mark.parametrize(
        "cell", [str(np.array(["a", "b"])), "[a, b]", "{'a': 1}", "[1, 2]", "['a', b]", "[None, 'a']"]
    )
    def test_lists_that_can_not_be_read_are_refused_with_their_row(self, cell: str, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", [{"text": "x", "label": "['c']"}, {"text": "y", "label": cell}])
        with pytest.raises(UserError, match=r"a\.csv, row 3: "):
            read_labelled(path)

    def test_lists_and_words_are_not_mixed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", [{"text": "x", "label": "spam"}, {"text": "y", "label": "['spam', 'ham']"}])
        with pytest.raises(UserError, match=r"row 3: the label .* is a list, the first one, 'spam', a text"):
            read_labelled(path)
        path = write(tmp_path / "b.csv", [{"text": "x", "label": "[spam]"}, {"text": "y", "label": "(other)"}])
        assert read_labelled(path).labels == ["[spam]", "(other)"]

    def test_words_and_tags_written_as_text_are_not_classes(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"tokens": [["in", "Rome"]] * 4, "tags": [["O", "B-LOC"]] * 4})
        frame.to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(UserError, match="hold lists that are written as text"):
            read_labelled(tmp_path / "a.csv")

    @pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".xlsx"])
    def test_an_empty_cell_among_paths_of_images_is_named(self, ending: str, tmp_path: Path) -> None:
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
        cells = [{"image": "a.png", "label": "x"}, {"image": "", "label": "y"}, {"image": "a.png", "label": "y"}]
        number = 2 if ending in (".jsonl", ".parquet") else 3
        with pytest.raises(UserError, match=rf"a{ending}, row {number}: no image"):
            read_labelled(write(tmp_path / f"a{ending}", cells))


def as_written(cells: Sequence[dict[str, Any]], ending: str) -> bytes:
    """As `predict --out` writes rows."""
    kinds = {name: frozenset(kind_of(row[name]) for row in cells if row[name] is not None) for name in cells[0]}
    return encode(ending, [Column(name, kind) for name, kind in kinds.items()], cells, header=True)


class TestOwnOutput:
    CELLS = st.builds(lambda text, more: {"text": text, "more": more}, TEXTS | st.just(""), TEXTS | st.none())

    @QUICK
    @given(st.lists(CELLS, min_size=1, max_size=6))
    def test_csv_for_every_reader(self, cells: list[dict[str, Any]]) -> None:
        expected = [[cell or "" for cell in row.values()] for row in cells]
        for ending, delimiter in ((".csv", ","), (".tsv", "\t")):
            written = as_written(cells, ending)
            header, *read = csv.reader(io.StringIO(written.decode(), newline=""), delimiter=delimiter, strict=True)
            assert (header, read) == (["text", "more"], expected)
            options = {"sep": delimiter, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
            assert pd.read_csv(io.BytesIO(written), **options).to_numpy().tolist() == expected
            parsing = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False)
            converting = pa.csv.ConvertOptions(column_types={"text": pa.string(), "more": pa.string()})
            table = pa.csv.read_csv(io.BytesIO(written), parse_options=parsing, convert_options=converting)
            assert [list(row.values()) for row in table.to_pylist()] == expected

    @QUICK
    @given(cells=st.lists(CELLS, min_size=1, max_size=6))
    def test_every_format_for_ourselves(self, cells: list[dict[str, Any]], tmp_path: Path) -> None:
        for ending in (".csv", ".tsv", ".jsonl", ".parquet"):
            path = tmp_path / f"a{ending}"
            path.write_bytes(as_written(cells, ending))
            with warnings.catch_warnings(action="ignore"):
                read = [row for _, row in rows(path)]
            as_text = ending in (".csv", ".tsv")
            assert read == ([{k: v or "" for k, v in row.items()} for row in cells] if as_text else cells)

    @QUICK
    @given(
        st.lists(
            st.fixed_dictionaries(
                {
                    "text": st.text(max_size=5),  # with halves of surrogate pairs
                    "n": st.integers(-(2**70), 2**70),
                    "x": st.floats(allow_nan=True),
                    "list": st.lists(st.floats(allow_nan=True), max_size=2),
                }
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_jsonl_holds_nothing_that_json_has_not(self, cells: list[dict[str, Any]]) -> None:
        def refused(constant: str) -> Any:
            raise ValueError(constant)

        def finite(number: float) -> float | None:
            return number if math.isfinite(number) else None

        written = as_written(cells, ".jsonl").decode()
        lines = written.splitlines()  # of Unicode: U+2028 among them
        assert len(lines) == len(cells)
        for line, row in zip(lines, cells, strict=True):
            read = json.loads(line, parse_constant=refused)
            assert read["n"] == row["n"]
            assert read["x"] == finite(row["x"])
            assert read["list"] == list(map(finite, row["list"]))
            assert read["text"] == "".join(map(encodable, row["text"]))
        small = [row | {"n": 0} for row in cells]
        assert pa.json.read_json(io.BytesIO(as_written(small, ".jsonl"))).num_rows == len(cells)
        assert len(pd.read_json(io.BytesIO(as_written(small, ".jsonl")), lines=True)) == len(cells)

    def test_names_of_columns_may_be_anything_in_json(self) -> None:
        written = as_written([{"n\ud800": 1, "\u2028": 2}], ".parquet")
        assert pq.read_table(io.BytesIO(written)).column_names == [r"n\ud800", "\u2028"]

    def test_numbers_of_any_size_keep_their_digits(self) -> None:
        def column(*numbers: Any) -> pa.ChunkedArray:
            return pq.read_table(io.BytesIO(as_written([{"n": number} for number in numbers], ".parquet")))["n"]

        assert column(1, 2**62).to_pylist() == [1, 2**62]
        assert column(1, 2**64).to_pylist() == ["1", str(2**64)]
        assert column(2**53 + 1, 0.5).to_pylist() == [str(2**53 + 1), "0.5"]
        assert column(1, 0.5).to_pylist() == [1.0, 0.5]

    def test_one_column_with_an_empty_cell_has_as_many_rows(self, tmp_path: Path) -> None:
        written = as_written([{"text": "a"}, {"text": ""}, {"text": "b"}], ".csv")
        assert len(pd.read_csv(io.BytesIO(written))) == 3
        (tmp_path / "a.csv").write_bytes(b"text\na\n\nb\n")
        expected = pd.read_csv(tmp_path / "a.csv", skip_blank_lines=False, keep_default_na=False).text.tolist()
        assert [row["text"] for _, row in rows(tmp_path / "a.csv")] == expected == ["a", "", "b"]


class TestParquet:
    def table(self) -> pa.Table:
        """A column of every kind that makes Python, or pandas' absence, stumble."""
        odd = {
            "year 10000": pa.array([2932897, None], pa.int32()).cast(pa.date32()),
            "year 300000": pa.array([10**8, 0], pa.int32()).cast(pa.date32()),
            "late": pa.array([253402300800000000, 0], pa.timestamp("us")),
            "ns": pa.array([1700000000123456789, 1], pa.timestamp("ns")),
            "zone": pa.array([1, 2], pa.timestamp("us", "Europe/Paris")),
            "time": pa.array([123456789, 0], pa.time64("ns")),
            "span": pa.array([5, None], pa.duration("ns")),
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            "dates": pa.array([[datetime.date(2020, 1, 1)], None]),
            "struct": pa.array([{"a": datetime.datetime(2020, 1, 1), "b": 1}, None]),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "large": pa.array(["x", None], pa.large_string()),
            "decimal": pa.array([Decimal("1.10"), None]),
            "float": pa.array([0.1, math.nan], pa.float32()),
            "big": pa.array([2**64 - 1, 0], pa.uint64()),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16))),
        }
        return pa.table({"text": ["a b", "c d"], **odd, "label": ["x", "y"]})

    def test_columns_that_nobody_reads_disturb_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
        pq.write_table(self.table(), tmp_path / "a.parquet")
        labelled = read_labelled(tmp_path / "a.parquet")
        assert (labelled.inputs, labelled.labels) == (["a b", "c d"], ["x", "y"])

    def test_a_copy_has_every_value_to_the_bit(self) -> None:
        table = self.table()
        for name in table.column_names:
            column = table[name].combine_chunks()
            copy = array_of([*cells_of(column)], column.type)
            assert copy.type == column.type
            assert copy.is_valid().equals(column.is_valid())
            assert copy.equals(column) or str(copy) == str(column), name  # of NaN there is no equal

    def test_times_have_all_digits_as_text(self) -> None:
        cells = {name: cells_of(self.table()[name].combine_chunks())[0] for name in self.table().column_names}
        line = json.loads(encode(".jsonl", [], [cells], header=False))
        assert line["year 10000"] == "10000-01-01"
        assert line["ns"] == "2023-11-14 22:13:20.123456789"
        assert line["time"] == "00:00:00.123456789"
        assert line["zone"] == "1970-01-01 01:00:00.000001+0100"
        assert line["span"] == "5 ns"
        assert line["map"] == {"k": 1}
        assert line["dates"] == ["2020-01-01"]
        assert line["struct"] == {"a": "2020-01-01 00:00:00", "b": 1}
        assert line["big"] == 2**64 - 1
        assert line["float"] == 0.1

    @pytest.mark.parametrize("column", ["ns", "year 10000", "map"])
    def test_one_that_is_read_is_a_message_with_row_and_column(self, column: str, tmp_path: Path) -> None:
        pq.write_table(self.table(), tmp_path / "a.parquet")
        for role in ("text_column", "label_column"):
            with pytest.raises(UserError, match=rf"a\.parquet, row 1: .*'{column}'"):
                read_labelled(tmp_path / "a.parquet", **{role: column})

    def test_a_text_that_is_not_utf8_is_a_message_where_it_is_read(self, tmp_path: Path) -> None:
        bad = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
        pq.write_table(pa.table({"text": ["a b", "c d"], "label": ["x", "y"], "bad": bad}), tmp_path / "a.parquet")
        assert read_labelled(tmp_path / "a.parquet").labels == ["x", "y"]
        with pytest.raises(UserError, match=r"a\.parquet, row 2: the text 'caf.*e9' is not UTF-8"):
            read_labelled(tmp_path / "a.parquet", text_column="bad")
        (_, _), (_, cells) = rows(tmp_path / "a.parquet")
        assert json.loads(encode(".jsonl", [], [cells], header=False))["bad"] == r"caf\xe9"

    @pytest.mark.parametrize(
        "info", ['{"info": null}', "no json", "[]", '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}']
    )
    def test_what_another_program_wrote_under_the_key_of_datasets_is_left_alone(
        self, info: str, tmp_path: Path
    ) -> None:
        table = pa.table({"text": ["a", "b"], "label": ["x", "y"]}).replace_schema_metadata({"huggingface": info})
        pq.write_table(table, tmp_path / "a.parquet")
        assert read_labelled(tmp_path / "a.parquet").labels == ["x", "y"]


class TestJson:
    @pytest.mark.parametrize("ending", [".jsonl", ".json"])
    def test_a_deeply_nested_cell_is_kept_as_it_is(self, ending: str, tmp_path: Path) -> None:
        deep = "[" * 3000 + '"a, ]\\""' + "]" * 3000
        first, second = f'{{"text": "a b", "m": {deep}, "label":"x"}}', '{"text": "c", "label": "y", "m": {}}'
        (tmp_path / f"a{ending}").write_text(f"{first}\n{second}\n" if ending == ".jsonl" else f"[{first},\n {second}]")
        labelled = read_labelled(tmp_path / f"a{ending}")
        assert (labelled.inputs, labelled.labels) == (["a b", "c"], ["x", "y"])
        (_, one), _ = rows(tmp_path / f"a{ending}")
        assert encode(".jsonl", [], [one], header=False).decode().strip() == first.replace('":"', '": "')

    @pytest.mark.parametrize(
        "text", ['{"a": ' + "[" * 3000, "[" * 3000 + "]" * 3000, '{"a" ' + "[" * 300 + "]" * 300 + "}"]
    )
    def test_deep_nonsense_is_one_message(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(UserError, match=r"a\.jsonl, row 1"):
            list(rows(tmp_path / "a.jsonl"))


class TestQuotes:
    def read(self, path: Path, content: str) -> list[list[Any]]:
        path.write_bytes(content.encode())
        return [list(cells.values()) for _, cells in rows(path)]

    def test_of_a_tsv_without_quoting_are_text(self, tmp_path: Path) -> None:
        content = 'text\tlabel\n"It was late\tneg\nplain row\tpos\nand cold"\tneg\n"so"\tpos\n'
        with pytest.warns(Notice, match="2 rows|1 rows"):
            read = self.read(tmp_path / "a.tsv", content)
        expected = pd.read_csv(io.StringIO(content), sep="\t", quoting=csv.QUOTE_NONE).to_numpy().tolist()
        assert [row[0].strip('"') for row in read] == [row[0].strip('"') for row in expected]
        assert [row[1] for row in read] == [row[1] for row in expected]
        assert read[0][0] == '"It was late'

    def test_of_a_tsv_with_quoting_are_none(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"text": ['he said "no"', "two\nlines\tand a tab", "plain", '"'], "label": list("abcd")})
        content = frame.to_csv(sep="\t", index=False)
        assert self.read(tmp_path / "a.tsv", content) == frame.to_numpy().tolist()

    def test_a_cell_that_swallows_rows_is_reported(self, tmp_path: Path) -> None:
        with pytest.warns(Notice, match="row 2: a cell in quotes spans lines 2 to 4"):
            self.read(tmp_path / "a.csv", 'text,label\n"It was late,neg\nplain,pos\nand cold",neg\n')
        with pytest.warns(Notice, match="row 2: a cell in quotes spans lines 2 to 4"):
            self.read(tmp_path / "a.tsv", 'text\tlabel\n"It was late\tneg\nbroken line\nand cold"\tneg\n')
        with warnings.catch_warnings(action="error"):
            self.read(tmp_path / "b.csv", 'text,label\n"It was late,\n\nso late",neg\n')

    def test_a_tsv_of_one_column_may_hold_commas(self, tmp_path: Path) -> None:
        assert self.read(tmp_path / "a.tsv", "text\na, b\nc; d, e\n") == [["a, b"], ["c; d, e"]]


class TestEncodings:
    TEXT = "text,label\nUn café à la crème, s’il vous plaît,drink\n10 € für Österreich – größer,money\n"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt"])
    def test_what_spreadsheets_write(self, encoding: str, ending: str, tmp_path: Path) -> None:
        content = self.TEXT.replace(", s", " s").replace(",", "\t" if ending == ".tsv" else ",")
        path = tmp_path / f"a{ending}"
        path.write_bytes(content.encode(encoding))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read: Labelled = read_labelled(path, need_labels=ending != ".txt")
        assert [text.split("\t")[0].split(",")[0] for text in read.inputs if not text.startswith("text,")] == [
            line.split("\t")[0].split(",")[0] for line in content.splitlines()[1:]
        ]
        reported = " ".join(str(w.message) for w in caught if w.category is Notice)
        assert ("surely Windows-1252" in reported) == (encoding == "cp1252")
        assert ("UTF" in reported) == (encoding[4:6] in ("16", "32") or encoding == "cp1252")

    @pytest.mark.parametrize("text", ["niño", "price £5", "Übel", "Ça va très bien, merci à vous", "“quoted” – yes"])
    def test_few_characters_are_probably_western(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
        with pytest.warns(Notice, match="probably Windows-1252"):
            assert read_labelled(tmp_path / "a.txt", need_labels=False).inputs == [text]

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("Привет, как дела", "cp1251"),
            ("Привет, как дела", "koi8-r"),
            ("Zażółć gęślą jaźń", "cp1250"),
            ("Příliš žluťoučký kůň", "cp1250"),
            ("café à la crème", "cp850"),
            ("café à la crème", "mac_roman"),
            ("今日はいい天気です", "shift_jis"),
            ("今天天气很好", "gbk"),
            ("Καλημέρα σε όλους", "cp1253"),
            ("Şişli çok güzel bir yer", "cp1254"),
        ],
    )
    def test_others_are_refused(self, text: str, encoding: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"a line of ASCII\n" + text.encode(encoding))
        with pytest.raises(UserError, match=r"neither UTF-8 nor Windows-1252.*line 2"):
            read_labelled(tmp_path / "a.txt", need_labels=False)

    def test_utf8_with_a_wrong_byte_is_not_read_as_another_encoding(self, tmp_path: Path) -> None:
        lines = [f"Zeile {i} ist länger als üblich\n".encode() for i in range(5_000)]
        lines[4_000] = b"bad \xfc\n"
        (tmp_path / "a.txt").write_bytes(b"".join(lines))
        with pytest.raises(UserError, match=r"UTF-8 with 1 wrong bytes: line 4001 has the byte 0xfc"):
            read_labelled(tmp_path / "a.txt", need_labels=False)


class TestSpreadsheets:
    def book(self, path: Path, *lines: Sequence[Any]) -> openpyxl.Workbook:
        book = openpyxl.Workbook()
        for line in lines:
            book.active.append(list(line))
        book.save(path)
        return book

    def test_cells_are_what_a_person_sees(self, tmp_path: Path) -> None:
        path = tmp_path / "a.xlsx"
        head = ["text", "n", "x", "day", "time", "flag", "mixed", None, "label"]
        one = ["a b", 3.0, 2.5, datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 13, 5), True, 7, None, "yes"]
        two = ["c", 4, None, None, None, False, "seven", None, "no"]
        self.book(path, [], head, one, [], two, [None] * 9)
        found = list(rows(path))
        assert [number for number, _ in found] == [3, 4, 5]
        assert list(found[0][1]) == [name for name in head if name]
        assert list(found[0][1].values()) == ["a b", 3, 2.5, "2024-01-31", "2024-01-31 13:05:00", True, "7", "yes"]
        assert list(map(type, found[0][1].values()))[1:3] == [int, float]
        assert set(found[1][1].values()) == {None}
        assert list(found[2][1].values()) == ["c", 4, None, None, None, False, "seven", "no"]
        with pytest.raises(UserError, match=r"a\.xlsx, row 4: no text"):
            read_labelled(path)

    def test_a_merged_cell_stands_in_each_of_its_places(self, tmp_path: Path) -> None:
        book = self.book(tmp_path / "a.xlsx", ["text", "label"], ["a", "x"], ["b", None], ["c", "y"])
        book.active.merge_cells("B2:B3")
        book.save(tmp_path / "a.xlsx")
        assert read_labelled(tmp_path / "a.xlsx").labels == ["x", "x", "y"]

    def test_formulas_have_their_values_and_those_without_are_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "a.xlsx"
        self.book(path, ["text", "label"], ["a", "=1+1"], ["b", "x"])
        with pytest.warns(Notice, match=r"1 formulas of the sheet have no value, such as that in B2"):
            list(rows(path))
        with zipfile.ZipFile(path) as parts:
            content = {name: parts.read(name) for name in parts.namelist()}
        sheet = content["xl/worksheets/sheet1.xml"]
        assert b"<f>1+1</f><v" in sheet
        content["xl/worksheets/sheet1.xml"] = re.sub(rb"</f><v\s*/>|</f><v></v>", b"</f><v>2</v>", sheet)
        with zipfile.ZipFile(path, "w") as parts:
            for name, some in content.items():
                parts.writestr(name, some)
        with warnings.catch_warnings(action="error"):
            assert [cells["label"] for _, cells in rows(path)] == ["2", "x"]

    def test_the_first_sheet_with_rows_is_read_and_the_others_named(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        for title in ("Data", "Notes"):
            sheet = book.create_sheet(title)
            sheet.append(["text", "label"])
            sheet.append([title, "x"])
        book.save(tmp_path / "a.xlsx")
        with pytest.warns(Notice, match=r"2 sheets with rows \('Data', 'Notes'\); 'Data' is read"):
            assert read_labelled(tmp_path / "a.xlsx").inputs == ["Data"]

    def test_what_is_no_spreadsheet_is_one_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.xlsx"
        for content in (b"no zip", b"PK\x05\x06" + bytes(18)):
            path.write_bytes(content)
            with pytest.raises(UserError, match=r"a\.xlsx can not be read as \.xlsx"):
                list(rows(path))
        openpyxl.Workbook().save(path)
        with pytest.raises(UserError, match="has no rows"):
            list(rows(path))
        self.book(path, ["text", "label"], ["a", "#N/A"])
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(UserError, match=r"pip install 'patchword\[xlsx\]'"):
            list(rows(path))
