"""Question answering: SQuAD's own counting, windows that lose nothing, and the logits and loss of transformers."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from patchword.data.squad import Questions
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.folder import read_model
from patchword.tasks.answers import Found, best_spans, nearest_sentence, null_threshold
from patchword.tasks.question_answering import QuestionAnswering, _mistakes
from patchword.tasks.question_windows import QuestionWindows, token_span
from patchword.tasks.squad_metrics import f1, normalise, row_scores, summary
from patchword.tasks.task import Ask, Compute, Prepared

WORDS = st.lists(st.sampled_from(["the", "a", "An", "cat", "Cat.", "sat", "(sat)", "theatre", "-", "it's"]), max_size=8)


def official_normalise(s: str) -> str:
    """`normalize_answer` of evaluate-v1.1.py."""
    lowered = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


def official_f1(gold: str, answer: str) -> float:
    """`compute_f1` of evaluate-v2.0.py."""
    gold_tokens, answer_tokens = official_normalise(gold).split(), official_normalise(answer).split()
    same = sum((Counter(gold_tokens) & Counter(answer_tokens)).values())
    if len(gold_tokens) == 0 or len(answer_tokens) == 0:
        return float(gold_tokens == answer_tokens)
    if same == 0:
        return 0.0
    precision, recall = same / len(answer_tokens), same / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


@given(WORDS, WORDS)
def test_words_are_counted_as_the_official_script_does(one: list[str], other: list[str]) -> None:
    answer, gold = "  ".join(one), " ".join(other)
    assert normalise(answer) == official_normalise(answer)
    assert f1(answer, gold) == pytest.approx(official_f1(gold, answer))


def test_the_best_gold_counts_and_no_answer_is_right_where_there_is_none() -> None:
    golds = [["a dog", "The cat!"], [], [], ["cat"]]
    scores = row_scores(["cat", "", "cat", ""], golds)
    assert scores.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    metrics = summary(scores, np.array([bool(gold) for gold in golds]))
    assert metrics["f1"] == metrics["has_answer_f1"] == metrics["no_answer_exact_match"] == 0.5
    assert metrics["f1_low"] <= 0.5 <= metrics["f1_high"]
    assert metrics["rows"] == 4


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.data())
def test_an_answer_of_whole_words_comes_back_to_the_letter(
    tokenizer: Tokenizer, around: str, data: st.DataObject
) -> None:
    words = ["bada", "Fol", "gen", "tim", "--p"]
    context = f"{around} {' '.join(words)} {around}"
    first = data.draw(st.integers(0, 4))
    last = data.draw(st.integers(first, 4))
    text = " ".join(words[first : last + 1])
    start = len(around) + 1 + len(" ".join(words[:first])) + (first > 0)
    assert context[start : start + len(text)] == text
    questions = Questions(["bo?"], [context], [[(text, start)]], {})
    examples = QuestionWindows(questions, tokenizer, 4096)
    span = token_span(examples.read[0][1], [(text, start)])
    assert span is not None
    begin, end = examples.characters(0, *span)
    assert context[begin:end] == text


@pytest.fixture
def questions(corpus: list[str]) -> Questions:
    """Some with an answer, each third without; contexts longer than a window."""
    contexts = [" ".join(corpus[i : i + 4]) for i in range(12)]
    words = [context.split()[5] for context in contexts]
    golds = [[] if i % 3 == 2 else [(w, c.index(w))] for i, (w, c) in enumerate(zip(words, contexts, strict=True))]
    return Questions([corpus[-i - 1][:30] for i in range(12)], contexts, golds, {})


@pytest.fixture
def pair(tokenizer: Tokenizer, tmp_path: Path) -> tuple[Model, nn.Module]:
    """The same weights as ours and as theirs."""
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    theirs = transformers.BertForQuestionAnswering(config).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path, 64)
    return read_model(tmp_path).model.eval(), theirs


def test_windows_and_loss_are_those_of_transformers(
    pair: tuple[Model, nn.Module], questions: Questions, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    ours, theirs = pair
    examples = QuestionWindows(questions, tokenizer, 48, 16)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    total, count = 0.0, 0
    for number in range(12):
        mine = np.flatnonzero(examples.owners == number)
        room = int(examples.ends[mine[0]] - examples.begins[mine[0]])
        encoded = their_tokenizer(
            questions.questions[number],
            questions.contexts[number],
            max_length=48,
            truncation="only_second",
            stride=room - 16 if room > 16 else room - room // 2,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        encoded.pop("overflow_to_sample_mapping")
        batch = examples.batch(mine, (0, 0))
        parts = batch.inputs[0].sequences()
        assert len(parts) == len(encoded["input_ids"]) > 1
        for part, row, mask in zip(parts, encoded["input_ids"], encoded["attention_mask"], strict=True):
            assert part.tolist() == row[mask.bool()].tolist()
        with torch.no_grad():
            expected = theirs(**encoded, start_positions=batch.targets[:, 0], end_positions=batch.targets[:, 1])
            logits = torch.split(ours(*batch.inputs), list(batch.lengths))
            for n, part in enumerate(logits):
                assert (part[:, 0] - expected.start_logits[n, : len(part)]).abs().max() <= 1e-5
                assert (part[:, 1] - expected.end_logits[n, : len(part)]).abs().max() <= 1e-5
        held = (batch.targets[:, 1] > 0).any()
        assert bool(held) == bool(questions.answers[number])
        with torch.no_grad():
            # Their loss knows the padding as tokens, so it is compared where there is none.
            one = examples.batch(mine[:1], (0, 0))
            row = {name: values[:1] for name, values in encoded.items()}
            expected = theirs(**row, start_positions=one.targets[:, 0], end_positions=one.targets[:, 1]).loss
            total += abs(float(QuestionAnswering().loss(ours, one)) - float(expected))
            count += 1
    assert count == 12
    assert total <= 1e-4


def test_a_batch_has_the_loss_of_its_windows_and_can_be_split(
    pair: tuple[Model, nn.Module], questions: Questions, tokenizer: Tokenizer
) -> None:
    ours, _ = pair
    examples = QuestionWindows(questions, tokenizer, 48, 16)
    task = QuestionAnswering()
    batch = examples.batch(np.arange(len(examples)), (0, 0))
    with torch.no_grad():
        whole = float(task.loss(ours, batch))
        parts = sum(float(task.loss(ours, part)) for part in batch.split(100))
        alone = sum(float(task.loss(ours, examples.batch(np.array([i]), (0, 0)))) for i in range(len(examples)))
    assert whole == pytest.approx(parts, rel=1e-5)
    assert whole == pytest.approx(alone, rel=1e-5)
    metrics = task.evaluate(ours, examples, Compute(batch_tokens=100))
    assert metrics["loss"] == pytest.approx(whole / len(examples), rel=1e-5)
    assert metrics["rows"] == 12


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_best_span_is_that_of_all_pairs(length: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(length, 2)).astype(np.float32)
    possible = [(scores[i, 0] + scores[j, 1], i, j) for i in range(length) for j in range(i, min(i + 30, length))]
    found = best_spans(scores)
    if length <= 20:
        assert found[0][1:] == max(possible)[1:]
    assert all(0 <= j - i < 30 for _, i, j in found)
    assert all(score == pytest.approx(float(scores[i, 0] + scores[j, 1])) for score, i, j in found)


def test_a_prediction_is_a_piece_of_its_context(
    pair: tuple[Model, nn.Module], questions: Questions, tokenizer: Tokenizer
) -> None:
    ours, _ = pair
    items = [*zip(questions.questions, questions.contexts, strict=True)]
    ask = Ask("", max_length=48, doc_stride=16)
    task = QuestionAnswering()
    predictions = task.predict(ours, task.inputs(items, tokenizer, ask), Compute())
    for (_, context), one in zip(items, predictions, strict=True):
        assert one["answer"] == context[one["start"] : one["end"]] != ""
        assert 0 < one["confidence"] <= 1
    as_dicts = [{"question": question, "context": context} for question, context in items]
    assert task.predict(ours, task.inputs(as_dicts, tokenizer, ask), Compute()) == predictions
    json.dumps(predictions)
    silent = QuestionAnswering(unanswerable=True, threshold=-1e9)
    assert {one["answer"] for one in silent.predict(ours, task.inputs(items, tokenizer, ask), Compute())} == {""}
    with pytest.raises(UserError, match="a question and a context"):
        task.inputs(["only a text"], tokenizer, ask)


def test_the_threshold_has_the_best_f1_of_all(corpus: list[str]) -> None:
    random = np.random.default_rng(1)
    golds = [[("ab", 0)] if random.random() < 0.6 else [] for _ in range(60)]
    rows = Questions(["q"] * 60, ["ab cd"] * 60, golds, {})
    found = [
        Found(0, 2 if random.random() < 0.8 else 5, 0.0, float(random.normal() - 0.8 * bool(gold)), 0.5)
        for gold in golds
    ]
    task = QuestionAnswering(unanswerable=True)

    def reached(threshold: float) -> float:
        task.threshold = threshold
        answers = ["" if task.is_null(one) else "ab cd"[one.start : one.end] for one in found]
        return float(row_scores(answers, [[text for text, _ in gold] for gold in golds])[:, 1].mean())

    best = max(map(reached, np.linspace(-6, 6, 4001)))
    chosen = null_threshold(found, rows)
    assert reached(chosen) == pytest.approx(best)
    assert best > max(reached(-1e9), reached(1e9))
    task.threshold = chosen
    assert task.facts()["null_threshold"] == chosen


def test_few_unanswerable_questions_give_no_threshold() -> None:
    """One question without an answer among twenty, with the highest lead, must not make all others silent."""
    rows = Questions(["q"] * 39, ["ab cd"] * 39, [[("x", 0)]] * 20 + [[]] * 19, {})
    found = [Found(3, 5, 0.0, -5.0, 0.5)] * 20 + [Found(0, 2, 0.0, -3.0, 0.5)] * 19
    assert null_threshold(found, rows) == 0.0
    more = Questions([*rows.questions, "q"], [*rows.contexts, "ab cd"], [*rows.answers, []], {})
    assert null_threshold([*found, found[-1]], more) < -3.0


def test_the_floor_is_the_line_of_most_shared_words() -> None:
    context = "-a: all files. Also hidden ones.\n-b: print the size of blocks."
    assert nearest_sentence("Which prints the size?", context) == "-b: print the size of blocks."


def test_no_context_stands_on_both_sides(questions: Questions, tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [
        {
            "question": f"{q} {n}?",
            "context": c,
            "answers": {"text": [t for t, _ in a], "answer_start": [s for _, s in a]},
        }
        for q, c, a in zip(questions.questions, questions.contexts, questions.answers, strict=True)
        for n in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert QuestionAnswering.recognises(path)
    ask = Ask(path, max_length=48, doc_stride=16)
    prepared = QuestionAnswering.prepare(ask, tokenizer, lambda n: None)
    assert isinstance(prepared.train, QuestionWindows)
    assert isinstance(prepared.validation, QuestionWindows)
    train, held = (set(part.questions.contexts) for part in (prepared.train, prepared.validation))
    assert train
    assert held
    assert not train & held
    assert prepared.facts["rows"] + prepared.facts["validation_rows"] == 36 == len(QuestionAnswering.rows(ask))
    facts = prepared.task.facts()
    assert facts == {"unanswerable": True, "null_threshold": 0.0, "doc_stride": 16}


def asked(path: Path, *rows: tuple[str, str]) -> Path:
    answers: dict[str, list[str]] = {"text": [], "answer_start": []}
    cells = [{"question": question, "context": context, "answers": answers} for question, context in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in cells), "utf-8")
    return path


def test_contexts_that_are_the_same_but_for_case_and_signs_are_on_one_side(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    rows = [(f"bo {i}?", f"{'bada' if i % 2 else 'Bada,'} fol {i // 2}") for i in range(40)]
    path = asked(tmp_path / "q.jsonl", *rows)
    prints = set()
    for seed in range(5):
        prepared = QuestionAnswering.prepare(Ask(path, seed=seed), tokenizer, lambda n: None)
        train, held = (
            {context.split()[-1] for context in part.questions.contexts}
            for part in (prepared.train, prepared.validation)
        )
        assert len(held) == 2
        assert not train & held
        prints.add((prepared.facts["fingerprint"], prepared.facts["validation_fingerprint"]))
    assert len({whole for whole, _ in prints}) == 1
    assert len({held for _, held in prints} | {whole for whole, _ in prints}) == len(prints) + 1 > 2


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_questions_that_are_learnt_from_are_told(part: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = asked(tmp_path / "q.jsonl", *((f"bo {i}?", f"bada fol {i}") for i in range(20)))
    apart = asked(tmp_path / "apart.jsonl", ("bo 1?", "bada fol 2"), ("Bo 3", "Bada fol 3."))
    prepared = QuestionAnswering.prepare(Ask(path, **{part: apart}), tokenizer, lambda n: None)
    told = f"{part} rows that are in the training data: 1 of 2"
    (finding,) = prepared.facts["findings"]
    assert (finding["title"], finding["places"]) == (told, ["apart.jsonl, row 2"])
    assert any(note.startswith(told) for note in prepared.notes)


def test_no_mistakes_are_told_as_such() -> None:
    rows = Questions(["q"], ["ab cd"], [[("ab", 0)]], {})
    found = [Found(0, 2, 1.0, 0.0, 0.5)]
    assert _mistakes(found, ["ab"], rows)["samples_are"] == "Every answer is exactly the expected one."
    assert ": 1 of 1 are shown" in _mistakes(found, ["cd"], rows)["samples_are"]


def test_the_surest_mistakes_are_shown(
    pair: tuple[Model, nn.Module], questions: Questions, tokenizer: Tokenizer
) -> None:
    ours, _ = pair
    rows = QuestionWindows(questions, tokenizer, 48, 16)
    task = QuestionAnswering(unanswerable=True)
    report = task.report(ours, Prepared(task, rows, rows, test=rows), Compute())
    assert report["test"] == report["validation"] == task.evaluate(ours, rows, Compute())
    said = dict(zip(questions.questions, task.predict(ours, rows, Compute()), strict=True))
    golds = dict(zip(questions.questions, questions.answers, strict=True))
    assert len(report["samples"]) == 5
    for sample in report["samples"]:
        assert sample["written"] == (said[sample["before"]]["answer"] or "(no answer)")
        gold = [text for text, _ in golds[sample["before"]]] or ["(no answer)"]
        assert sample["expected"] == gold[0]
        assert not row_scores([sample["written"]], [gold])[0, 0]
