"""Predictions for files: those of `predict`, in the order of the rows, whatever the format and however often killed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import patchword
from patchword.data import row_file
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, preset
from patchword.models.folder import write_model
from patchword.tasks import file_prediction
from patchword.tasks.predictor import Predictor, load

LABELS = ("a", "b", "c")
ROWS = 50


def text_model(folder: Path, tokenizer: Tokenizer, seed: int) -> Path:
    """A tiny classifier whose answers differ from text to text."""
    torch.manual_seed(seed)
    family, config = preset("bert-tiny")
    config = config.model_copy(update={"vocab_size": tokenizer.vocab_size, "max_length": 64, "depth": 1})
    model = Model(family, config, "class", LABELS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    folder.mkdir(exist_ok=True)
    write_model(model, folder)
    tokenizer.save(folder, 64)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Predictor:
    return load(text_model(tmp_path_factory.mktemp("model"), tokenizer, 0), "cpu")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_prediction, "CHUNK", 8)


@pytest.fixture
def cells(corpus: list[str]) -> list[dict[str, Any]]:
    """Rows whose other columns are awkward: a name that predictions have, a comma and a quote, no value, a number."""
    return [
        {"id": i, "text": text, "label": 'x, "y"\nz' if i % 3 else None, "weight": i / 4}
        for i, text in enumerate(corpus[:ROWS])
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """By the formats' own libraries."""
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case _:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".jsonl":
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        case ".parquet":
            return list(pq.read_table(path).to_pylist())
        case _:
            with path.open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("theirs", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("ours", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_in_and_out(
    model: Predictor, cells: list[dict[str, Any]], tmp_path: Path, theirs: str, ours: str
) -> None:
    done = model.predict_file(write(tmp_path / f"in{theirs}", cells), tmp_path / f"out{ours}")
    got = read(tmp_path / f"out{ours}")
    assert done.rows == len(got) == ROWS
    expected = model.predict([row["text"] for row in cells])
    assert len({answer["label"] for answer in expected}) > 1
    as_text = {".csv", ".tsv"} & {theirs, ours}
    for row, before, answer in zip(got, cells, expected, strict=True):
        kept = {k: "" if v is None else str(v) for k, v in before.items()} if as_text else before
        assert {name: str(row[name]) if as_text else row[name] for name in before} == kept
        assert row["predicted_label"] == answer["label"]
        assert float(row["confidence"]) == pytest.approx(answer["confidence"], abs=2e-6)
        chances = row["probabilities"] if ours == ".jsonl" else {k: row[f"p({k})"] for k in LABELS}
        assert {k: float(p) for k, p in chances.items()} == pytest.approx(answer["probabilities"], abs=2e-6)
    assert list(got[0])[:4] == list(cells[0])
    assert not list(tmp_path.glob(".*"))


def test_parquet_keeps_types(model: Predictor, corpus: list[str], tmp_path: Path) -> None:
    table = pa.table({"text": corpus[:9], "n": pa.array(range(9), pa.int16()), "tags": [["p"], []] * 4 + [None]})
    pq.write_table(table, tmp_path / "in.parquet")
    model.predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(table.column_names).equals(table)
    assert out.schema.field("confidence").type == pa.float64()
    assert out.schema.field("label").type == pa.string()


class KilledError(BaseException):
    """As good as `kill -9`: nothing between the writer and the test catches it."""


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_goes_on(
    model: Predictor,
    cells: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    seed: int,
) -> None:
    """Killed before, in the middle of and after any write, again and again, the file is the same to the byte."""
    data = write(tmp_path / "in.jsonl", cells)
    model.predict_file(data, tmp_path / f"whole{ending}")
    random = np.random.default_rng(seed)
    real: Callable[[Path, bytes], None] = row_file.write_file
    computed: list[int] = []

    def fragile(path: Path, content: bytes) -> None:
        chance = random.random()
        if chance < 0.15:
            raise KilledError
        if chance < 0.3:
            path.with_name(f".{path.name}.torn").write_bytes(content[: len(content) // 2])
            raise KilledError
        real(path, content)
        if path.suffix == ".rows":
            computed.append(int(path.stem))
        if chance > 0.85:
            raise KilledError

    monkeypatch.setattr(row_file, "write_file", fragile)
    kills = 0
    while True:
        try:
            done = model.predict_file(data, tmp_path / f"out{ending}")
            break
        except KilledError:
            kills += 1
            assert not (tmp_path / f"out{ending}").exists()
    assert kills > 1
    assert computed == list(range(7))  # none twice
    assert done.rows == ROWS
    assert (tmp_path / f"out{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


@pytest.fixture
def unfinished(
    model: Predictor, cells: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """The data, and the file that was to be written when the run was killed after 24 rows."""
    data, out = write(tmp_path / "in.jsonl", cells), tmp_path / "out.csv"

    def kill(done: int, total: int) -> None:
        assert total == ROWS
        if done == 24:
            raise KilledError

    with pytest.raises(KilledError):
        model.predict_file(data, out, progress=kill)
    return data, out


def test_what_was_written_is_told(model: Predictor, unfinished: tuple[Path, Path]) -> None:
    done = model.predict_file(*unfinished)
    assert (done.went_on_from, done.rows) == (24, ROWS)
    assert "24 of them written before" in str(done)


def test_another_model_does_not_go_on(unfinished: tuple[Path, Path], tmp_path: Path, tokenizer: Tokenizer) -> None:
    other = load(text_model(tmp_path / "other", tokenizer, 1), "cpu")
    with pytest.raises(UserError, match=r"but the model changed since.*overwrite"):
        other.predict_file(*unfinished)
    done = other.predict_file(*unfinished, overwrite=True)
    assert done.went_on_from == 0
    data, out = unfinished
    answers = [answer["label"] for answer in other.predict([row["text"] for row in read(data)])]
    assert [row["predicted_label"] for row in read(out)] == answers


def test_other_data_and_options_do_not_go_on(model: Predictor, unfinished: tuple[Path, Path]) -> None:
    data, out = unfinished
    with pytest.raises(UserError, match="but the options changed"):
        model.predict_file(data, out, probabilities=False)
    data.write_text(data.read_text("utf-8") + '{"text": "one more"}\n', "utf-8")
    with pytest.raises(UserError, match="but the data changed"):
        model.predict_file(data, out)


def test_probabilities_are_left_out_where_asked(model: Predictor, corpus_file: Path, tmp_path: Path) -> None:
    for probabilities in (True, False):
        out = tmp_path / f"{probabilities}.jsonl"
        model.predict_file(corpus_file, out, probabilities=probabilities)
        row = json.loads(out.read_text("utf-8").splitlines()[0])
        assert {"label", "confidence"} <= set(row)
        assert ("probabilities" in row) == probabilities


def test_a_finished_file_is_not_replaced(model: Predictor, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("text\nmine\n")
    with pytest.raises(UserError, match="is there already"):
        model.predict_file(corpus_file, out)
    assert out.read_text() == "text\nmine\n"
    with pytest.raises(UserError, match="is an input of this command"):
        model.predict_file(out, out, overwrite=True)


def test_bad_rows_stop_before_anything_is_computed(model: Predictor, tmp_path: Path) -> None:
    rows = [{"text": "good"}] * 20 + [{"text": " "}, {"text": 3}, {"other": 1}]
    data = write(tmp_path / "in.jsonl", rows)
    with pytest.raises(UserError) as error:
        model.predict_file(data, tmp_path / "out.csv", text_column="text")
    for said in ("row 21: the text is empty", "row 22: '3' is of type int", "row 23: no text", "--skip-bad"):
        assert said in str(error.value)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("first", [0, 20])
def test_bad_rows_are_skipped_when_asked(model: Predictor, tmp_path: Path, first: int) -> None:
    """At the beginning, where the columns are found out, a whole chunk of them, and further on."""
    good = [f"good {i}" for i in range(30)]
    rows = [{"text": text} for text in [*good[:first], *[""] * 10, *good[first:]]]
    done = model.predict_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.csv", skip_bad=True)
    got = read(tmp_path / "out.csv")
    assert done.bad == 10
    assert [row["error"] for row in got] == [""] * first + ["the text is empty"] * 10 + [""] * (30 - first)
    assert {row["label"] + row["p(a)"] for row in got[first : first + 10]} == {""}
    answers = [answer["label"] for answer in model.predict(good)]
    assert [row["label"] for row in got if not row["error"]] == answers


def test_the_columns_of_the_model_are_preferred(model: Predictor, tmp_path: Path) -> None:
    """A column that the model has learnt from is read, not the one that looks most like it; unless asked."""
    rows = [{"text": "short", "body": f"other words {i}"} for i in range(20)]
    data = write(tmp_path / "in.jsonl", rows)
    card = {"data": {"columns": {"text": "body", "label": "text"}}}
    known = Predictor(model.folder, model.model, model.reader, model.max_length, model.compute, card)
    known.predict_file(data, tmp_path / "body.jsonl")
    known.predict_file(data, tmp_path / "text.jsonl", text_column="text")
    for column in ("body", "text"):
        expected = [answer["probabilities"]["a"] for answer in model.predict([row[column] for row in rows])]
        got = [row["probabilities"]["a"] for row in read(tmp_path / f"{column}.jsonl")]
        assert got == pytest.approx(expected, abs=2e-6)


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    family, config = preset("vit-tiny-16")
    write_model(Model(family, config.model_copy(update={"image_size": (32, 32), "depth": 1}), "class", LABELS), folder)
    return load(folder, "cpu")


def picture(i: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_in_a_table_and_a_broken_one(image_model: Predictor, tmp_path: Path) -> None:
    pictures = [picture(i) for i in range(20)]
    broken = [*pictures[:12], b"no picture", *pictures[12:]]
    data = write(tmp_path / "in.parquet", [{"image": image, "n": n} for n, image in enumerate(broken)])
    with pytest.raises(UserError, match=r"in\.parquet, row 13: the image is not an image"):
        image_model.predict_file(data, tmp_path / "out.parquet")
    image_model.predict_file(data, tmp_path / "out.parquet", skip_bad=True, overwrite=True)
    got = read(tmp_path / "out.parquet")
    assert [row["image"] for row in got] == broken
    assert got[12]["label"] is None
    expected = [answer["confidence"] for answer in image_model.predict(pictures)]
    assert [row["confidence"] for row in got if row["n"] != 12] == pytest.approx(expected, abs=2e-6)
    image_model.predict_file(data, tmp_path / "out.csv", skip_bad=True)
    assert read(tmp_path / "out.csv")[3]["image"].endswith("in.parquet, row 4")


def test_a_folder_of_pictures_and_lines_of_text(
    image_model: Predictor, model: Predictor, corpus_file: Path, corpus: list[str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / "photos" / f"{i}.png").write_bytes(picture(i))
    image_model.predict_file(tmp_path / "photos", tmp_path / "photos.csv")
    assert [Path(row["image"]).name for row in read(tmp_path / "photos.csv")] == ["0.png", "1.png", "2.png"]
    model.predict_file(corpus_file, tmp_path / "lines.csv")
    assert [row["text"] for row in read(tmp_path / "lines.csv")] == corpus


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_images_that_were_replaced_do_not_go_on(image_model: Predictor, tmp_path: Path, kind: str) -> None:
    """Whatever stands behind a path, even with the size and the time that it had."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(20):
        (photos / f"{i:02}.bmp").write_bytes(bitmap(i))
    data = photos if kind == "folder" else tmp_path / "in.csv"
    if kind == "table":
        write(data, [{"image": f"photos/{i:02}.bmp"} for i in range(20)])

    def kill(done: int, total: int) -> None:
        if done == 8:
            raise KilledError

    with pytest.raises(KilledError):
        image_model.predict_file(data, tmp_path / "out.csv", progress=kill)
    replaced, before = photos / "03.bmp", (photos / "03.bmp").stat()
    replaced.write_bytes(bitmap(99))
    os.utime(replaced, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert replaced.stat().st_size == before.st_size
    with pytest.raises(UserError, match="but the data changed since"):
        image_model.predict_file(data, tmp_path / "out.csv")
    replaced.write_bytes(bitmap(3))
    assert image_model.predict_file(data, tmp_path / "out.csv").went_on_from == 8


def bitmap(i: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(i))).save(buffer, "BMP")
    return buffer.getvalue()


def test_another_version_does_not_go_on(
    model: Predictor, unfinished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patchword, "__version__", "another")
    with pytest.raises(UserError, match="but the version of patchword changed since"):
        model.predict_file(*unfinished)


def test_an_input_is_not_replaced(model: Predictor, corpus: list[str], tmp_path: Path) -> None:
    data = write(tmp_path / "in.csv", [{"text": text} for text in corpus[:9]])
    (tmp_path / "link.csv").symlink_to(data)
    for out in (data, tmp_path / "link.csv"):
        with pytest.raises(UserError, match="is an input of this command"):
            model.predict_file(data, out, overwrite=True)
    assert len(read(data)) == 9


def test_empty_lines_are_counted(model: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one text\n\n\nanother text\n\n", "utf-8")
    done = model.predict_file(tmp_path / "in.txt", tmp_path / "out.csv")
    assert done.rows == 2
    assert any("2 empty lines" in note for note in done.notes)


def test_columns_of_any_type_are_copied_to_the_bit(model: Predictor, corpus: list[str], tmp_path: Path) -> None:
    """Over several chunks; what Python has no type for, too."""
    odd = {
        "late": pa.array([253402300800000000, None] * 10, pa.timestamp("us")),
        "time": pa.array([123456789, 1] * 10, pa.time64("ns")),
        "map": pa.array([[("k", 1)], []] * 10, pa.map_(pa.string(), pa.int64())),
        "category": pa.array(["x", "y"] * 10).dictionary_encode(),
        "days": pa.array([[2932897], None] * 10, pa.list_(pa.int32())).cast(pa.list_(pa.date32())),
    }
    table = pa.table({"text": corpus[:20], **odd})
    pq.write_table(table, tmp_path / "in.parquet")
    model.predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").select(table.column_names).equals(table)
    model.predict_file(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    first = read(tmp_path / "out.jsonl")[0]
    assert (first["late"], first["time"], first["days"]) == (
        "10000-01-01 00:00:00",
        "00:00:00.123456789",
        ["10000-01-01"],
    )
