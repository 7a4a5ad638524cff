"""The page of a run says what was measured, marks words by their sign, and escapes what rows hold."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import patchword as pw
from patchword.errors import UserError
from patchword.report.mistakes import explained, marked_text
from patchword.report.run_page import run_page
from patchword.training.run import RunFolder
from patchword.training.verdict import headline

HOW: dict[str, Any] = {"batch_size": 8, "precision": "fp32", "device": "cpu", "quiet": True, "seeds": 1}
HOSTILE = "<script>alert(1)</script>"


class Words(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    words = ["red", "green", "blue", "late", "early", "paid", "open"]
    random = np.random.default_rng(0)
    (folder / "notes.txt").write_text("\n".join(" ".join(random.choice(words, 30)) for _ in range(60)))
    pw.pretrain(
        folder / "notes.txt", model="bert-tiny", lines=True, steps=2, max_length=32, out=folder / "base", quiet=True
    )
    rows = [{"text": f"{HOSTILE} " + " ".join(random.choice(words, 6)), "label": "ab"[i % 2]} for i in range(160)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:80]))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[80:]))
    data = {"test": folder / "test.jsonl", **HOW}
    pw.finetune(folder / "base", folder / "train.jsonl", out=folder / "run", steps=3, **data)
    pw.finetune(folder / "base", folder / "train.jsonl", out=folder / "other", steps=2, **data)
    return folder


def test_a_run_is_told_whole(runs: Path) -> None:
    html = run_page([runs / "run"]).render()
    page, card = Words(html), json.loads((runs / "run" / "patchword.json").read_text())
    report = card["report"]
    assert headline(report).replace(" %", "\u00a0%") in page.text
    for heading in ("Scores", "By class", "The most confident mistakes", "Labels to look at again", "Data"):
        assert heading in page.text
    for mistake in report["review"]["mistakes"]:
        assert mistake["origin"] in page.text
        assert mistake["text"] in page.text
    assert page.tags.count("svg") == 5  # more labels, curve, confusion, coverage, reliability
    assert report["learning_curve"]["told"].replace(" %", "\u00a0%") in page.text
    assert all(f">{method}</td>" in html for method in ("this model", *report["test_floors"]))
    assert "script" not in page.tags
    assert HOSTILE.split(">")[1].split("<")[0] in page.text
    assert len(re.findall(r"background:rgba\(\d+, \d+, \d+, 0\.\d\d\)", html)) > 6
    assert f"{report['threads']} CPU threads" in page.text


def test_without_its_data_the_page_says_so(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "run", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    gone = config | {"test": [str(tmp_path / "gone.jsonl")]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(gone))
    assert "What drove them is not shown." in run_page([tmp_path / "run"]).render()
    lines = (runs / "test.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "gone.jsonl").write_text("".join(reversed(lines)))
    mistakes = json.loads((runs / "run" / "patchword.json").read_text())["report"]["review"]["mistakes"]
    with pytest.raises(UserError, match="data have changed since the run"):
        explained(RunFolder(tmp_path / "run"), mistakes)


def test_several_runs_are_compared(runs: Path) -> None:
    page = Words(run_page([runs / "run", runs / "other"]).render())
    assert "Compared" in page.text
    for name in ("run", "other"):
        report = json.loads((runs / name / "patchword.json").read_text())["report"]
        assert headline(report).replace(" %", "\u00a0%") in page.text
    assert "not judged on the same rows" not in page.text
    page = Words(run_page([runs / "run", runs / "base"]).render())
    assert "not judged on the same rows" in page.text


def test_a_pretrained_model_shows_its_guesses(runs: Path) -> None:
    page = Words(run_page([runs / "base"]).render())
    assert "Samples" in page.text
    assert "word frequencies alone" in page.text
    assert "By class" not in page.text


def test_pictures_are_shown_with_their_maps(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(60):
        folder = tmp_path / "photos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(255, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    pw.pretrain(
        tmp_path / "photos",
        model="vit-tiny-32",
        task="image-classification",
        out=tmp_path / "run",
        steps=1,
        patch_size=8,
        batch_size=8,
        precision="fp32",
        device="cpu",
        quiet=True,
    )
    html = run_page([tmp_path / "run"]).render()
    assert "attention rollout" in html
    assert html.count("<svg") == 5
    assert "suspects" not in json.loads((tmp_path / "run" / "patchword.json").read_text())["report"]  # random weights


def test_a_run_that_is_not_finished_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "run", tmp_path / "run")
    card = json.loads((tmp_path / "run" / "patchword.json").read_text())
    del card["report"]
    (tmp_path / "run" / "patchword.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"not finished.*patchword resume"):
        run_page([tmp_path / "run"])
    with pytest.raises(UserError, match="holds no run"):
        run_page([tmp_path])


def test_words_are_marked_by_sign_and_pieces_of_one_add_up() -> None:
    text = "<b>unpaid</b> & late"
    places = np.array([[3, 5], [5, 9], [14, 15], [16, 20]])  # un, paid, &, late
    html = str(marked_text(text, places, np.array([0.25, 0.25, 0.0, -1.0]), 1.0))
    assert re.sub(r"</?span[^>]*>", "", html) == "&lt;b&gt;unpaid&lt;/b&gt; &amp; late"
    marks = re.findall(r'<span style="background:rgba\(([\d, ]+), ([\d.]+)\)">([^<]+)</span>', html)
    assert marks == [("196, 80, 27", "0.30", "unpaid"), ("31, 90, 150", "0.60", "late")]
