"""`patchword predict`, as a person runs it."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from patchword.cli.main import main
from patchword.console import PlainConsole
from patchword.data.tokenizers import Tokenizer
from patchword.models.family import Model, preset
from patchword.models.folder import write_model
from patchword.tasks import file_prediction
from patchword.tasks.predictor import Predictor
from patchword.training import tracking


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    family, config = preset("bert-tiny")
    config = config.model_copy(update={"vocab_size": tokenizer.vocab_size, "max_length": 64})
    write_model(Model(family, config, "class", ("no", "yes")), path)
    tokenizer.save(path, 64)
    return path


@pytest.fixture
def data(tmp_path: Path, corpus: list[str]) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(corpus[:300])), "utf-8")
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["patchword", "predict", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_sentences(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, folder, "one, two", "") == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["text"], second["text"]) == ("one, two", "")
    assert float(first["p(no)"]) + float(first["p(yes)"]) == pytest.approx(1, abs=1e-5)
    assert run(monkeypatch, folder, "really?") == 0  # a question, no pattern of files
    assert capsys.readouterr().out.count("really?") == 1
    assert run(monkeypatch, folder, "one two", "--no-probabilities") == 0
    assert capsys.readouterr().out.startswith("text,label,confidence\n")
    assert run(monkeypatch, folder, "one two", "--out", "x.csv") == 2


def test_standard_output_is_what_a_file_holds(
    folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_prediction, "CHUNK", 64)
    assert run(monkeypatch, folder, data) == 0
    said = capsys.readouterr()
    assert run(monkeypatch, folder, data, "--out", tmp_path / "out.csv") == 0
    assert (tmp_path / "out.csv").read_text("utf-8") == said.out
    assert "Read from 'text'." in said.err
    assert "300 rows" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_prediction, "CHUNK", 64)
    real = file_prediction.FilePrediction._predict
    calls = 0

    def interrupted(self: file_prediction.FilePrediction, rows: list[file_prediction.StreamedRow]) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(self, rows)

    monkeypatch.setattr(file_prediction.FilePrediction, "_predict", interrupted)
    command = (folder, data, "--out", tmp_path / "out.csv")
    assert run(monkeypatch, *command) == 130
    assert "The same command goes on" in capsys.readouterr().err
    assert run(monkeypatch, *command) == 0
    assert "128 of them written before" in capsys.readouterr().err


def test_progress_lines_where_the_output_is_no_terminal(
    folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line every so often, of this command's rows; none with --quiet."""
    monkeypatch.setattr(file_prediction, "CHUNK", 64)
    monkeypatch.setattr(tracking, "LINE_SECONDS", 0.02)
    real = file_prediction.FilePrediction._predict

    def slow(self: file_prediction.FilePrediction, rows: list[file_prediction.StreamedRow]) -> object:
        time.sleep(0.1)
        return real(self, rows)

    monkeypatch.setattr(file_prediction.FilePrediction, "_predict", slow)
    shown = io.StringIO()
    monkeypatch.setattr(tracking, "console", PlainConsole(file=shown, width=200))
    assert run(monkeypatch, folder, data, "--out", tmp_path / "out.csv", "--quiet") == 0
    assert shown.getvalue() == ""
    assert run(monkeypatch, folder, data, "--out", tmp_path / "again.csv") == 0
    first, *lines = shown.getvalue().splitlines()
    assert first == "Predicting ..."
    assert any("128 of 300 rows" in line for line in lines)


def test_a_process_that_is_killed_goes_on(
    folder: Path, corpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the system, as soon as a part of the rows is on the disk."""
    data, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    data.write_text("\n".join(corpus * 4), "utf-8")
    command = [sys.executable, "-m", "patchword", "predict", folder, data, "--device", "cpu", "--out"]
    process = subprocess.Popen([*map(str, command), str(out)], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".out.jsonl.part/*.rows")) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    whole = tmp_path / "whole.jsonl"
    for path in (out, whole):
        subprocess.run([*map(str, command), str(path)], check=True, stderr=subprocess.DEVNULL)
    assert out.read_bytes() == whole.read_bytes()
    assert len(out.read_bytes().splitlines()) == 4 * len(corpus)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "out.xls"], ".csv, .tsv, .jsonl, .parquet"),
        (["--precision", "fp8"], "no precision 'fp8'"),
        (["--text-column", "body"], "no column 'body'"),
        (["--where", "id=none"], "No row has id"),
    ],
)
def test_wrong_options(
    folder: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert run(monkeypatch, folder, data, *words) == 2
    err = capsys.readouterr().err
    assert said in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [["--text-column", "body"], ["--where", "a=b"], ["--skip-bad"], ["--overwrite"], ["--out", "a.csv"]]
)
def test_options_without_effect_on_sentences_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, folder, "a sentence", *words) == 2
    assert f"{words[0]} is for files; 'a sentence' is a sentence" in " ".join(capsys.readouterr().err.split())


def test_memory_does_not_grow_with_the_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are taken from the file as chunks are written, never more than a chunk ahead."""
    import patchword as pw

    monkeypatch.setattr(file_prediction, "CHUNK", 10)
    data = tmp_path / "in.txt"
    data.write_text("\n".join(f"line {i}" for i in range(95)), "utf-8")
    model: Predictor = pw.load(folder, "cpu")
    prediction = model.file_prediction(data)
    taken = 0

    class Counted:
        def __iter__(self) -> object:
            nonlocal taken
            for row in stream:
                taken += 1
                yield row

        def __getattr__(self, name: str) -> object:
            return getattr(stream, name)

    stream = prediction.stream
    monkeypatch.setattr(prediction, "stream", Counted())
    for number, (rows, _) in enumerate(prediction.chunks(0, ".csv")):
        assert taken == min(95, 10 * (number + 1))
        assert len(rows) == min(10, 95 - 10 * number)
