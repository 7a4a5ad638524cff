"""What README's commands do from a terminal, one after another, with nothing said that is not needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from patchword.cli.main import main

Run = Callable[..., str]
SHORT = ("--steps", 2, "--quiet")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; gives what it printed."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["patchword", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        assert not exit_.value.code, said.err
        return " ".join(said.out.split())

    return call


def test_texts_from_nothing_to_a_page(run: Run, corpus: list[str], corpus_file: Path, tmp_path: Path) -> None:
    rows = [{"text": text, "label": ("short", "long")[len(text) > 60]} for text in corpus[:80]]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base, more, mine, found = (tmp_path / name for name in ("base", "more", "mine", "sweep"))
    run("pretrain", corpus_file, "--lines", "--model", "bert-tiny", "--vocab-size", 400, "--out", base, *SHORT)
    run("pretrain", corpus_file, "--lines", "--from", base, "--blend", 0.5, "--out", more, *SHORT)
    said = run("finetune", more, tmp_path / "t.jsonl", "--seeds", 1, "--out", mine, *SHORT)
    assert "accuracy" in said
    assert "before the start's pretraining went on" in said
    said = run("sweep", base, tmp_path / "t.jsonl", "--trials", 2, "--out", found, *SHORT)
    assert "The default reaches accuracy" in said
    assert (found / "best" / "model.safetensors").is_file()
    assert "accuracy" in run("evaluate", mine, tmp_path / "t.jsonl")
    assert run("predict", mine, corpus[0]).startswith("text,label,confidence")
    run("report", mine)
    assert "before the start" in (mine / "report.html").read_text()
