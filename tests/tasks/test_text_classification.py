"""Texts and pairs of texts as transformers reads them, and what a person gives and is told."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from patchword import finetune, load
from patchword.data.columns import Sample
from patchword.data.sources import read_labelled
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.errors import Notice, UserError
from patchword.models.family import Model, families
from patchword.models.folder import read_model
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, class_weights
from patchword.tasks.task import Ask, Compute, Windows
from patchword.tasks.text_classification import TextClassification, TextExamples
from tests.conftest import SYLLABLES

CLASSES = {"bert": transformers.BertForSequenceClassification, "roberta": transformers.RobertaForSequenceClassification}


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def tiny(folder: Path, tokenizer: Tokenizer, family: str = "bert", length: int = 40) -> nn.Module:
    """A model of transformers with a tokenizer beside it."""
    torch.manual_seed(0)
    theirs = CLASSES[family](
        CLASSES[family].config_class(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=length + (2 if family == "roberta" else 0),
            type_vocab_size=2,
            initializer_range=0.2,
            id2label={0: "a", 1: "b", 2: "c"},
        )
    )
    theirs.eval().save_pretrained(folder)
    tokenizer.save(folder, length)
    return theirs


@pytest.fixture(scope="module")
def pairs(corpus: list[str]) -> list[tuple[str, str]]:
    return [*zip(corpus[:30], corpus[30:60], strict=True), ("one", "two"), (corpus[0] * 3, "x"), ("x", corpus[0] * 3)]


@pytest.fixture(scope="module")
def reader(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer as transformers opens it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder, 64)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(params=CLASSES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestPairs:
    def test_logits_are_those_of_transformers(
        self, family: str, corpus: list[str], pairs: list[tuple[str, str]], tmp_path: Path
    ) -> None:
        style = families()[family].tokenizer
        assert style is not None
        theirs = tiny(tmp_path, train_tokenizer(corpus, style, 400), family)
        reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
        firsts, seconds = zip(*pairs, strict=True)
        given = reader(list(firsts), list(seconds), padding=True, truncation=True, max_length=40, return_tensors="pt")
        with torch.no_grad():
            expected = theirs(**given).logits
        examples = TextExamples(pairs, Tokenizer.load(tmp_path), 40)
        assert examples.lengths(np.arange(len(pairs))).tolist() == given["attention_mask"].sum(1).tolist()
        task = TextClassification(LabelSet(("a", "b", "c"), SINGLE))
        logits = task.logits(read_model(tmp_path).model.eval(), examples, Compute(batch_tokens=200))
        assert np.abs(logits - expected.numpy()).max() <= 1e-5
        if family == "bert":  # the second text's segment is not the first's
            with torch.no_grad():
                other = theirs(**{**given, "token_type_ids": torch.zeros_like(given["token_type_ids"])}).logits
            assert (other - expected).abs().max() > 0.1

    @given(data=st.data())
    def test_the_longer_text_is_cut_first(
        self, data: st.DataObject, tokenizer: Tokenizer, reader: transformers.PreTrainedTokenizerFast
    ) -> None:
        words = st.integers(1, 30)
        texts = [" ".join(["b"] * data.draw(words)), " ".join(["d"] * data.draw(words))]
        room = data.draw(st.integers(8, 50))
        expected = reader(*texts, truncation="longest_first", max_length=room)
        examples = TextExamples([(texts[0], texts[1])], tokenizer, room)
        packed = examples.batch(np.array([0]), (0, 0)).inputs[0]
        assert packed.values.tolist() == expected["input_ids"]
        assert packed.segments.tolist() == expected["token_type_ids"]
        full = len(reader(*texts)["input_ids"])
        assert examples.facts["dropped_tokens"] == max(0, full - room)
        assert examples.cut == (full > room)

    def test_a_batch_is_cut_along_with_its_segments(self, pairs: list[tuple[str, str]], tokenizer: Tokenizer) -> None:
        batch = TextExamples(pairs, tokenizer, 40).batch(np.arange(20), (0, 0))
        parts = batch.split(100)
        assert len(parts) > 3
        assert batch.tokens == len(batch.inputs[0].values)
        for name in ("values", "segments"):
            together = torch.cat([getattr(part.inputs[0], name) for part in parts])
            assert torch.equal(together, getattr(batch.inputs[0], name))

    @pytest.mark.parametrize(
        ("columns", "asked", "expected"),
        [
            ("id premise Hypothesis label", {}, ("premise", "Hypothesis")),
            ("question2 question1 label", {}, ("question1", "question2")),
            ("text_a text_b label", {"text_column": "text_b"}, "text_b"),
            ("text summary label", {}, "text"),
            ("text summary label", {"pair_column": "summary"}, ("text", "summary")),
            ("text1 text2 label", {"pair_column": "text1"}, ("text2", "text1")),
            ("text1 text2 label", {"text_column": "text2", "pair_column": "text1"}, ("text2", "text1")),
        ],
    )
    def test_columns_are_found(
        self, columns: str, asked: dict[str, str], expected: str | tuple[str, str], tmp_path: Path
    ) -> None:
        names = columns.split()
        rows = [{name: f"{name} {i}" if name != "label" else "ab"[i % 2] for name in names} for i in range(8)]
        read = read_labelled(write(tmp_path / "a.jsonl", rows), pairs=True, **asked)
        texts = (expected,) if isinstance(expected, str) else expected
        first = tuple(f"{name} 0" for name in texts)
        assert read.inputs[0] == (first if isinstance(expected, tuple) else first[0])
        assert read.labels == list("ab" * 4)
        assert read.columns == dict(zip(("text", "pair"), texts, strict=False)) | {"label": "label"}
        single = read_labelled(tmp_path / "a.jsonl", text_column=texts[0])
        assert single.inputs[0] == first[0]
        assert single.fingerprint != read.fingerprint or isinstance(expected, str)

    def test_what_is_wrong_with_the_columns_is_told(self, tmp_path: Path) -> None:
        rows = [{"premise": "a b", "hypothesis": "c" if i else "", "label": i % 2} for i in range(4)]
        path = write(tmp_path / "a.jsonl", rows)
        assert "row 1: the text is empty" in message(lambda: read_labelled(path, pairs=True))
        assert "no column 'hypotesis'" in message(lambda: read_labelled(path, pair_column="hypotesis"))
        assert "both texts" in message(lambda: read_labelled(path, text_column="premise", pair_column="premise"))
        assert "the label" in message(lambda: read_labelled(path, pair_column="premise", label_column="premise"))

    def test_a_tiny_model_learns_whether_two_texts_agree(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """And its folder remembers the columns: single texts are refused."""
        random = np.random.default_rng(0)
        words = ["ba", "de", "fi", "go"]
        rows = []
        for i in range(240):
            one = random.choice(words)
            other = one if i % 2 else random.choice([word for word in words if word != one])
            rows.append({"left": one, "right": other, "same": "yes" if i % 2 else "no"})
        tiny(tmp_path / "start", tokenizer)
        data = write(tmp_path / "a.jsonl", rows)
        result = finetune(
            tmp_path / "start",
            data,
            out=tmp_path / "out",
            text_column="left",
            pair_column="right",
            label_column="same",
            seeds=1,
            quiet=True,
            steps=150,
            lr=3e-3,
            batch_size=32,
            evaluations=3,
            precision="fp32",
        )
        assert result.report["validation"]["accuracy"] > 0.9
        assert result.report["floors"]["tf-idf"]["accuracy"] > 0.9  # of the words that both have
        model = load(tmp_path / "out")
        assert model.evaluate(data)["accuracy"] > 0.9
        answers = model.predict([("ba", "ba"), ("ba", "go")])
        assert [answer["label"] for answer in answers] == ["yes", "no"]
        assert "pairs" in message(lambda: model.predict(["ba"]))
        assert "two texts, not 3" in message(lambda: model.predict([("ba", "ba", "ba")]))
        assert "mixed" in message(lambda: model.predict([("ba", "ba"), "ba"]))
        assert model.features(["ba"]).shape == (1, 32)
        renamed = write(tmp_path / "b.jsonl", [{"text": row["left"], "same": row["same"]} for row in rows])
        assert "--pair-column" in message(lambda: model.evaluate(renamed, label_column="same"))

    def test_the_columns_of_an_input_are_two(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", [{"premise": "a", "hypothesis": "b"}])
        sample, find = Sample.of([path]), TextClassification.input_columns
        assert find(sample, Ask(data=path)) == ("premise", "hypothesis")
        assert find(sample, Ask(data=path, text_column="premise")) == ("premise",)


class TestClassWeights:
    def test_one_label_a_row_is_balanced_as_scikit_learn_does(self) -> None:
        targets = np.random.default_rng(0).choice(3, 200, p=[0.7, 0.25, 0.05])
        weights = class_weights(LabelSet(("a", "b", "c"), SINGLE), targets)
        assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=targets))
        assert weights[targets].mean() == pytest.approx(1)
        assert class_weights(LabelSet(("a", "b", "c", "d"), SINGLE), targets) == pytest.approx([*weights, 1])

    def test_several_labels_count_as_much_with_as_without(self) -> None:
        targets = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0]], np.float32)
        weights = class_weights(LabelSet(("a", "b", "c", "d"), MULTI), targets)
        assert weights == pytest.approx([3, 3, 0.25, 1])

    @pytest.mark.parametrize("problem", [SINGLE, MULTI])
    def test_they_are_in_the_loss_and_not_in_the_metrics(self, problem: str, tokenizer: Tokenizer) -> None:
        targets = np.array([0, 0, 0, 1]) if problem == SINGLE else np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
        examples = TextExamples(["ba", "de", "fi", "go"], tokenizer, 20, targets)
        labels = LabelSet(("a", "b"), problem)
        config = families()["bert"].config(width=32, depth=1, heads=2, hidden=32, vocab_size=tokenizer.vocab_size)
        model = Model(families()["bert"], config, "class", labels.names, problem).eval()
        nn.init.normal_(model.head.scores.weight)
        weights = torch.from_numpy(class_weights(labels, targets))
        plain, weighted = TextClassification(labels), TextClassification(labels, weights=weights)
        batch = examples.batch(np.arange(4), (0, 0))
        with torch.no_grad():
            logits = model(*batch.inputs)
            if problem == SINGLE:
                expected = nn.CrossEntropyLoss(weights)(logits, batch.targets)
            else:
                expected = nn.BCEWithLogitsLoss(pos_weight=weights)(logits, batch.targets)
            assert weighted.loss(model, batch).item() / 4 == pytest.approx(expected.item(), rel=1e-5)
            assert weighted.loss(model, batch).item() != pytest.approx(plain.loss(model, batch).item(), rel=1e-3)
        assert weighted.evaluate(model, examples, Compute()) == plain.evaluate(model, examples, Compute())

    def test_a_rare_class_is_found(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """Twice as many rows of the common class have its word, so only classes that count alike make it the answer."""
        texts = ["ba" if i % 10 < 3 else "de" for i in range(300)]
        rows = [{"text": text, "label": "no" if i % 10 else "yes"} for i, text in enumerate(texts)]
        tiny(tmp_path / "start", tokenizer)
        data, found = write(tmp_path / "a.jsonl", rows), {}
        for weights in ("none", "auto"):
            settings = {"seeds": 1, "quiet": True, "steps": 60, "lr": 3e-3, "batch_size": 32, "evaluations": 2}
            finetune(tmp_path / "start", data, out=tmp_path / weights, class_weights=weights, **settings)
            found[weights] = load(tmp_path / weights).predict(["ba"])[0]["label"]
        assert found == {"none": "no", "auto": "yes"}

    def test_a_number_has_no_classes(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        data = write(tmp_path / "a.jsonl", [{"text": "ba", "label": i / 7} for i in range(30)])
        said = message(lambda: TextClassification.prepare(Ask(data, class_weights="auto"), tokenizer, lambda n: None))
        assert "--class-weights" in said


class TestWindows:
    @given(data=st.data())
    def test_windows_cover_a_text_and_overlap_by_a_quarter(self, data: st.DataObject, tokenizer: Tokenizer) -> None:
        words = data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=4))
        most = data.draw(st.integers(8, 40))
        texts = [" ".join(random_words(number, seed)) for seed, number in enumerate(words)]
        examples = TextExamples(texts, tokenizer, most, windows="always")
        assert (examples.cut, examples.facts["dropped_tokens"]) == (0, 0)
        parts, owners = examples.parts()
        for text, ids in enumerate(tokenizer.encode(texts)):
            chosen = np.flatnonzero(owners == text)
            batch = parts.batch(chosen, (0, 0))
            windows = [list(window[1:-1]) for window in batch.inputs[0].sequences()]
            assert parts.lengths(chosen).tolist() == [len(window) + 2 for window in windows] == list(batch.lengths)
            assert {len(window) for window in windows} == {min(len(ids), most - 2)}
            room, place, ends = most - 2, 0, []
            for window in windows:  # each is found where or after the one before begins
                place = next(i for i in range(place, len(ids)) if ids[i : i + len(window)].tolist() == window)
                ends.append((place, place + len(window)))
            assert (ends[0][0], ends[-1][1]) == (0, len(ids))
            assert all(end - start >= room // 4 for (_, end), (start, _) in pairwise(ends))
            fewest = 1 if len(ids) <= room else 1 + -(-(len(ids) - room) // (room - room // 4))
            assert len(windows) == fewest

    def test_to_learn_each_epoch_draws_a_window(self, tokenizer: Tokenizer) -> None:
        examples = TextExamples([" ".join(random_words(150, 0)), "ba"], tokenizer, 20, windows="always")
        parts, owners = examples.parts()
        every = parts.batch(np.arange(len(owners)), (0, 0)).inputs[0].sequences()
        all_windows = {tuple(window.tolist()) for window in every}
        drawn = [tuple(examples.batch(np.array([0]), (7, epoch)).inputs[0].values.tolist()) for epoch in range(200)]
        assert {*drawn} | {tuple(tokenizer_framed(tokenizer, "ba"))} == all_windows
        again = examples.batch(np.array([1, 0]), (7, 3)).inputs[0].sequences()[1]
        assert tuple(again.tolist()) == drawn[3]  # the key and the number alone decide
        assert examples.batch(np.array([0, 1]), (7, 0)).lengths == tuple(examples.lengths(np.arange(2)))

    @pytest.mark.parametrize(("tokens", "said", "expected"), [(21, "auto", "never"), (40, "auto", "always")])
    def test_auto_is_windows_where_over_a_twentieth_would_be_cut_off(
        self, tokens: int, said: Windows, expected: str, tokenizer: Tokenizer
    ) -> None:
        word = next(word for word in ("ba", "de", "the") if len(tokenizer.encode([word])[0]) == 1)
        examples = TextExamples([word, " ".join([word] * tokens)], tokenizer, 22, windows=said)
        assert examples.settings == {"windows": expected}
        assert examples.facts["dropped_tokens"] == (1 if expected == "never" else 0)

    def test_a_prediction_is_the_mean_over_the_windows(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        theirs = tiny(tmp_path, tokenizer)
        texts = [" ".join(random_words(number, number)) for number in (90, 3, 60)]
        examples = TextExamples(texts, tokenizer, 20, windows="always")
        task = TextClassification(LabelSet(("a", "b", "c"), SINGLE))
        logits = task.logits(read_model(tmp_path).model.eval(), examples, Compute(batch_tokens=50))
        parts, owners = examples.parts()
        assert np.bincount(owners)[0] > 3
        with torch.no_grad():
            windows = parts.batch(np.arange(len(owners)), (0, 0)).inputs[0].sequences()
            expected = [theirs(window[None]).logits[0].numpy() for window in windows]
        for text in range(3):
            mean = np.mean([expected[i] for i in np.flatnonzero(owners == text)], axis=0)
            assert logits[text] == pytest.approx(mean, abs=1e-5)

    def test_what_is_said_late_is_learnt(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """The word that decides stands behind the first window; the folder remembers how it reads."""
        rows = []
        for i in range(200):
            words = random_words(30, i)
            rows.append({"text": " ".join([*words, *["zuzu" if i % 2 else "fifi"] * 20]), "label": "ab"[i % 2]})
        tiny(tmp_path / "start", tokenizer)
        data = write(tmp_path / "a.jsonl", rows)
        settings = {"seeds": 1, "quiet": True, "lr": 3e-3, "batch_size": 16, "evaluations": 2, "max_length": 24}
        cut = finetune(tmp_path / "start", data, out=tmp_path / "cut", windows="never", steps=4, **settings)
        assert cut.report["validation"]["accuracy"] < 0.8
        whole = finetune(tmp_path / "start", data, out=tmp_path / "whole", steps=40, **settings)
        assert whole.report["validation"]["accuracy"] > 0.9
        card = json.loads((tmp_path / "whole" / "patchword.json").read_text())
        assert card["settings"]["windows"] == "always"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(tmp_path / "whole").evaluate(data)["accuracy"] > 0.9
        with pytest.warns(Notice, match=r"^1 of 2 texts are longer than the 24 tokens .*cut off, \d\d\.\d%"):
            load(tmp_path / "cut").predict([rows[0]["text"], "ba"])

    def test_pairs_have_none(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        long = " ".join(random_words(100, 0))
        examples = TextExamples([(long, "ba")], tokenizer, 20, windows="auto")
        assert (examples.cut, examples.settings) == (1, {"windows": "never"})
        asked = Ask("", max_length=20, windows="always")
        assert "--windows" in message(lambda: TextClassification.inputs([(long, "ba")], tokenizer, asked))


class TestOrder:
    @pytest.mark.parametrize(
        ("values", "ordinal"),
        [
            ([5, 1, 2, 4, 3], True),
            (["-1", "0", "1"], True),
            ([0, 1], False),
            (["1", "2", "4"], False),
            (["a", "b", "c"], False),
            (["01", "02", "03"], False),
            ([True, False], False),
        ],
    )
    def test_whole_numbers_in_a_row_are_in_an_order(self, values: list[Any], ordinal: bool) -> None:
        assert LabelSet.find(values, "stars").ordinal == ordinal

    def test_stars_are_told_how_far_off_they_are(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """Of the model and of its floors alike; as numbers where that is asked for."""
        rows = [{"text": " ".join(random_words(5, i)), "stars": 1 + i % 5} for i in range(60)]
        tiny(tmp_path / "start", tokenizer)
        data = write(tmp_path / "a.jsonl", rows)
        settings = {"seeds": 1, "quiet": True, "label_column": "stars", "steps": 2}
        report = finetune(tmp_path / "start", data, out=tmp_path / "classes", **settings).report
        for metrics in (report["validation"], *report["floors"].values()):
            assert {"accuracy", "mae", "quadratic_kappa"} <= metrics.keys()
        assert "quadratic_kappa" in load(tmp_path / "classes").evaluate(data)
        report = finetune(tmp_path / "start", data, out=tmp_path / "numbers", problem=REGRESSION, **settings).report
        assert "rmse" in report["validation"]


class TestSeveralLabelsInACell:
    @pytest.mark.parametrize("separator", ["|", ";", " ; "])
    def test_they_are_cut_where_several_are_asked_for(
        self, separator: str, tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.csv"
        cells = ["red", separator.join(["red", "blue"]), "green", separator.join(["blue", "green"])] * 10
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *((f"text {i}", cell) for i, cell in enumerate(cells))])
        prepared = TextClassification.prepare(Ask(path, problem=MULTI), tokenizer, lambda n: None)
        assert prepared.task.labels == ("blue", "green", "red")
        assert any("cut at | and ;" in note for note in prepared.notes)
        held = prepared.task.labelled(Ask(path), tokenizer)
        assert held.targets[:4].tolist() == [[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]]
        alone = TextClassification.prepare(Ask(path), tokenizer, lambda n: None)
        assert len(alone.task.labels) == 4
        assert any("--problem multi_label_classification" in note for note in alone.notes)

    def test_a_label_with_a_bar_in_it_is_one_where_it_is_known(self) -> None:
        labels = LabelSet(("a", "a|b", "b"), MULTI)
        assert labels.encode(["a|b", "b;a", ["a|b", "b"]], ["x"] * 3).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 1]]
        assert "row 7: the label 'c'" in message(lambda: labels.encode(["a|c"], ["x, row 7"]))


def random_words(number: int, seed: int) -> list[str]:
    """So many syllables, out of so many that hardly two windows are alike."""
    return [str(word) for word in np.random.default_rng(seed).choice(SYLLABLES, number)]


def tokenizer_framed(tokenizer: Tokenizer, text: str) -> list[int]:
    return [*tokenizer.before, *tokenizer.encode([text])[0].tolist(), *tokenizer.after]
