"""How documents and summaries are put to a model, and what is said of wrong data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer
from patchword.errors import UserError
from patchword.tasks.summaries import Form, SummaryExamples
from patchword.tasks.summarization import Summarization, lead_of
from patchword.tasks.task import Ask

STYLE = TokenizerStyle(
    "bpe", {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, before=("bos",), after=("eos",)
)


@pytest.fixture(scope="module")
def tokenizer(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, STYLE, 400)


def table(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_decoder_says_the_summary_and_its_end_only(corpus: list[str], tokenizer: Tokenizer) -> None:
    form = Form("Read: ", "\nTL;DR: ", 64, 16)
    long = " ".join(corpus[:20])
    examples = SummaryExamples([long, "short"], ["a small one", "two"], tokenizer, form, None)
    batch = examples.batch(np.array([0, 1]), (0, 0))
    ends = tokenizer.id("eos")
    gold = [*tokenizer.encode(["a small one"])[0], ends, *tokenizer.encode(["two"])[0], ends]
    assert batch.targets.tolist() == gold
    first = next(iter(batch.inputs[0].sequences())).tolist()
    prompt = tokenizer.encode(["\nTL;DR: "])[0].tolist()
    context = first[: len(first) - len(tokenizer.encode(["a small one"])[0]) - 1]
    assert context[-len(prompt) :] == prompt
    assert len(context) == 64 - 16
    assert examples.dropped == len(tokenizer.encode(["Read: " + long])[0]) - (64 - 16 - 1 - len(prompt))


def test_encoder_decoder_is_given_the_summary_shifted(tokenizer: Tokenizer) -> None:
    examples = SummaryExamples(["a text"], ["one"], tokenizer, Form("", "", 64, 16), 1)
    batch = examples.batch(np.array([0]), (0, 0))
    assert batch.inputs[1].values.tolist() == [1, *batch.targets.tolist()[:-1]]
    assert batch.targets.tolist() == [*tokenizer.before, *tokenizer.encode(["one"])[0], *tokenizer.after]


def test_no_room_is_told(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="no room"):
        SummaryExamples(["a"], ["b"], tokenizer, Form("", "\nTL;DR: ", 20, 16), None)


def test_recognises_by_names(tmp_path: Path) -> None:
    assert Summarization.recognises(table(tmp_path / "a.jsonl", [{"article": "a", "highlights": "b"}]))
    assert not Summarization.recognises(table(tmp_path / "b.jsonl", [{"text": "a", "label": "b"}]))


@pytest.mark.parametrize("row", [{"document": " ", "summary": "b"}, {"document": "a", "summary": ""}])
def test_an_empty_cell_is_told_with_its_row(tmp_path: Path, row: dict[str, object]) -> None:
    data = table(tmp_path / "a.jsonl", [{"document": "a", "summary": "b"}, row])
    with pytest.raises(UserError, match="row 2"):
        Summarization.rows(Ask(data))


def test_lead_is_the_first_sentence_cut() -> None:
    assert lead_of("One two three. Four.", 12) == "One two three."
    assert lead_of("One two three. Four.", 2) == "One two"
