"""Token classification: places in the original text, every word once, and the same entities as transformers."""

from __future__ import annotations

import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

import patchword as pw
from patchword.data.spans import Span
from patchword.data.tagged import TaggedText
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.errors import UserError
from patchword.models.bert import FAMILY as BERT
from patchword.models.family import Model, preset
from patchword.models.folder import read_model
from patchword.models.gpt2 import FAMILY as GPT2
from patchword.models.xlm_roberta import FAMILY as XLM_ROBERTA
from patchword.tasks.predictor import Predictor
from patchword.tasks.tagged_examples import TaggedExamples, shared_out
from patchword.tasks.task import Ask, Compute
from patchword.tasks.token_classification import TokenClassification
from patchword.tasks.windows import windows

LABELS = ("O", "B-NAME", "B-NUM", "I-NAME", "I-NUM")
ODD = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \t\u00a0\u2003\n👍🏽👨‍👩‍👧e\u0301a\u0308ﬁßΣ.,-")),
    max_size=60,
)


@pytest.fixture(scope="module")
def bytewise(corpus: list[str]) -> Tokenizer:
    """Byte-level pieces, of which an emoji has several."""
    return train_tokenizer(corpus, GPT2.tokenizer, 400)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny tagger that transformers wrote, with weights that give every label."""
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tagger")
    transformers.BertForTokenClassification(config).save_pretrained(path)
    tokenizer.save(path, 32)
    return path


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return pw.load(folder, device="cpu")


@given(st.integers(0, 200), st.integers(6, 40))
def test_every_piece_is_answered_for_once_where_it_has_most_context(pieces: int, room: int) -> None:
    spans = windows(pieces, room, room - room // 4)
    parts = shared_out(spans)
    owner = [i for i, (first, last) in enumerate(parts) for _ in range(first, last)]
    assert [place for first, last in parts for place in range(first, last)] == list(range(pieces))

    def context(window: int, place: int) -> float:
        start, end = spans[window]
        left = np.inf if start == 0 else place - start
        right = np.inf if end == pieces else end - 1 - place
        return float(min(left, right)) if start <= place < end else -1.0

    for place, window in enumerate(owner):
        assert context(window, place) >= max(context(other, place) for other in range(len(spans))) - 1


@given(ODD)
def test_entities_are_parts_of_the_text(predictor: Predictor, text: str) -> None:
    last = 0
    for entity in predictor.predict([text])[0]["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"] != ""
        assert entity["start"] >= last
        assert 0 < entity["confidence"] <= 1
        assert entity["label"] in ("NAME", "NUM")
        last = entity["end"]


@given(st.lists(ODD, min_size=1, max_size=3))
def test_pieces_know_their_words(tokenizer: Tokenizer, bytewise: Tokenizer, texts: list[str]) -> None:
    """Each word is answered for at most once, at a piece that stands for some of it."""
    for one in (tokenizer, bytewise):
        examples = TaggedExamples([TaggedText(text) for text in texts], one, 12)
        batch = examples.batch(np.arange(len(examples)), (0, 0))
        numbers = examples.word_numbers(np.arange(len(examples)))
        assert batch.at is not None
        assert len(batch.at) == len(numbers) == len(set(numbers.tolist()))
        assert (batch.at.diff() > 0).all()
        words = [(document.text, *word) for document in examples.documents for word in document.words]
        if one is bytewise:  # nothing is lost in bytes
            assert len(numbers) == len(words)
        for place, number in zip(batch.at.tolist(), numbers, strict=True):
            text, start, end = words[number]
            piece = one.decode([int(batch.inputs[0].values[place])]).strip().strip("#")
            if piece.isascii() and text.isascii() and "[" not in piece:
                assert text[start:end].lower().startswith(piece.lower()[: end - start])


def test_the_first_piece_stands_for_the_word(tokenizer: Tokenizer) -> None:
    text = TaggedText.of_words(["bafer", "zanzil", "."], ["B-NAME", "I-NAME", "O"])
    number = {name: i for i, name in enumerate(LABELS)}
    batch = TaggedExamples([text], tokenizer, 32, number).batch(np.array([0]), (0, 0))
    pieces = [len(ids) for ids in tokenizer.encode(["bafer", "zanzil"])]
    assert batch.at is not None
    assert batch.at.tolist() == [1, 1 + pieces[0], 1 + sum(pieces)]
    assert batch.targets.tolist() == [1, 3, 0]


def test_predictions_are_those_of_transformers(folder: Path, predictor: Predictor, corpus: list[str]) -> None:
    """Their logits at first pieces; and, where their tags can follow one another, their pipeline's entities."""
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    ours = read_model(folder).model.eval()
    texts = [text for text in corpus if len(fast(text)["input_ids"]) <= 32][:80]
    examples = TokenClassification.inputs(texts, predictor.reader, Ask("", max_length=32))
    pipeline = transformers.pipeline("token-classification", str(folder), aggregation_strategy="simple")
    compared = 0
    for i, text in enumerate(texts):
        batch = examples.batch(np.array([i]), (0, 0))
        assert batch.at is not None
        encoded = fast(text, return_tensors="pt")
        with torch.no_grad():
            expected = theirs(**encoded).logits[0]
            logits = ours(*batch.inputs)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        words = encoded.word_ids()
        firsts = [place for place, word in enumerate(words) if word is not None and word != words[place - 1]]
        assert firsts == batch.at.tolist()
        tags = [LABELS[tag] for tag in expected.argmax(-1).tolist()]
        before = ["O", *(tags[place] for place in firsts)]
        legal = all(b[2:] == a[2:] and a != "O" for a, b in itertools.pairwise(before) if b[0] == "I")
        whole = all(tags[p] == tags[p - 1].replace("B-", "I-") for p in range(1, len(tags) - 1) if p not in firsts)
        if legal and whole:
            found = predictor.predict([text])[0]["entities"]
            mine = [(row["label"], row["start"], row["end"]) for row in found]
            assert mine == [(row["entity_group"], row["start"], row["end"]) for row in pipeline(text)]
            compared += bool(mine)
    assert compared >= 1


def test_long_texts_are_read_whole(predictor: Predictor) -> None:
    """Words of every window are answered for, and a text longer than the model is not cut."""
    words = ["bafer"] * 300
    said = predictor.predict([" ".join(words), words])
    assert said[0]["entities"] == said[1]["entities"]
    assert len(said[1]["tags"]) == 300
    assert {tag[2:] for tag in said[1]["tags"]} - {""} == {row["label"] for row in said[1]["entities"]}
    examples = TokenClassification.inputs([words], predictor.reader, Ask("", max_length=32))
    assert len(examples) > 300 // 30
    assert sorted(number for numbers in examples.numbers for number in numbers) == list(range(300))


NAMES = ["Ada", "Bo", "Cy"]


def sentences(count: int) -> list[list[tuple[str, str, str]]]:
    random = np.random.default_rng(0)
    out = []
    for _ in range(count):
        name = [(str(random.choice(NAMES)), "N", "B-NAME"), ("Ray", "N", "I-NAME")][: random.integers(1, 3)]
        number = (str(random.integers(1, 9)), "D", "B-NUM")
        out.append([("the", "T", "O"), *name, ("saw", "V", "O"), number, ("cats", "N", "O"), (".", ".", "O")])
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learnt names and numbers."""
    path = tmp_path_factory.mktemp("runs")
    rows = sentences(160)
    blocks = ["\n".join("\t".join(word) for word in row) + "\n" for row in rows]
    (path / "a.conll").write_text("\n".join(blocks))
    tokenizer = train_tokenizer([" ".join(word for word, *_ in row) for row in rows], BERT.tokenizer, 300)
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(path / "base")
    tokenizer.save(path / "base", 32)
    pw.finetune(path / "base", path / "a.conll", out=path / "names", epochs=12, lr=3e-3, seeds=1, quiet=True)
    return path


def test_entities_are_learnt(runs: Path) -> None:
    report = json.loads((runs / "names" / "patchword.json").read_text())["report"]
    assert report["validation"]["f1"] > 0.9
    assert report["floors"]["all O"]["f1"] == 0
    assert report["floors"]["commonest tag"]["f1"] > 0.9
    for kind in report["review"]["classes"]:
        assert kind["f1"] == pytest.approx(report["validation"][f"f1 {kind['label']}"])
    text = "the  Ada Ray saw\t7 cats."
    found = pw.load(runs / "names", device="cpu").predict([text])[0]["entities"]
    assert [(row["text"], row["label"]) for row in found] == [("Ada Ray", "NAME"), ("7", "NUM")]
    pipeline = transformers.pipeline("token-classification", str(runs / "names"), aggregation_strategy="simple")
    assert [(row["start"], row["end"], row["entity_group"]) for row in pipeline(text)] == [
        (row["start"], row["end"], row["label"]) for row in found
    ]


def test_characters_and_words_give_the_same_scores(runs: Path, tmp_path: Path) -> None:
    """The same sentences as words with tags, and as texts with spans."""
    rows = []
    for row in sentences(20):
        text, spans = "", []
        for word, _, tag in row:
            start = len(text)
            text += f"{word} "
            if tag[0] == "B":
                spans.append([start, start + len(word), tag[2:]])
            elif tag[0] == "I":
                spans[-1][1] = start + len(word)
        rows.append({"text": text, "spans": spans})
    (tmp_path / "spans.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [{"tokens": [w for w, *_ in row], "tags": [tag for *_, tag in row]} for row in sentences(20)]
    (tmp_path / "words.jsonl").write_text("\n".join(map(json.dumps, words)))
    model = pw.load(runs / "names", device="cpu")
    one, two = (model.evaluate(tmp_path / f"{name}.jsonl") for name in ("spans", "words"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-6)


def test_unknown_labels_are_told(runs: Path, tmp_path: Path) -> None:
    model = pw.load(runs / "names", device="cpu")
    (tmp_path / "a.conll").write_text("x\tO\n\nthe\tO\nAda\tB-NAM\n")
    with pytest.raises(UserError, match=r"a\.conll, row 3, word 2: the tag 'B-NAM'.*NAME"):
        model.evaluate(tmp_path / "a.conll")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada", "spans": [[0, 3, "PERSON"]]}))
    with pytest.raises(UserError, match=r"a\.jsonl, row 1: the label 'PERSON'"):
        model.evaluate(tmp_path / "a.jsonl")


def test_plain_tags(runs: Path, tokenizer: Tokenizer) -> None:
    """Another column of the same file: no entities, one tag a word; labels stand by name."""
    ask = Ask(runs / "a.conll", label_column="2", test=runs / "a.conll")
    prepared = TokenClassification.prepare(ask, tokenizer, lambda n: None)
    assert prepared.task.labels == (".", "D", "N", "T", "V")
    floors = prepared.task.floors(prepared.train, prepared.validation)
    assert floors["commonest tag"]["accuracy"] == 1.0
    assert set(floors) == {"commonest tag", "all N"}
    config = preset("bert-tiny")[1].model_copy(update={"vocab_size": tokenizer.vocab_size})
    model = Model(BERT, config, "token_class", prepared.task.labels).eval()
    said = prepared.task.predict(model, prepared.validation, Compute())
    assert all(len(row["tokens"]) == len(row["tags"]) for row in said)
    metrics = prepared.task.evaluate(model, prepared.validation, Compute())
    right = [
        prepared.task.labels[target] == tag
        for target, tag in zip(prepared.validation.targets, (tag for row in said for tag in row["tags"]), strict=True)
    ]
    assert metrics["accuracy"] == pytest.approx(np.mean(right))
    report = prepared.task.report(model, prepared, Compute())
    assert sum(kind["rows"] for kind in report["review"]["classes"]) == report["test"]["words"]
    assert 0 < len(report["samples"]) <= 5
    for sample in report["samples"]:  # the same words, each with another tag
        told = [sample[name].split(", ") for name in ("written", "expected")]
        assert [word.split(" (")[0] for word in told[0]] == [word.split(" (")[0] for word in told[1]]
        assert not set(told[0]) & set(told[1])
        assert all(word.split(" (")[0] in sample["before"] for word in told[0])


def test_files_of_words_are_predicted_sentence_by_sentence(runs: Path, tmp_path: Path) -> None:
    """A CoNLL file, with or without tags, and lists of words in a table."""
    model = pw.load(runs / "names", device="cpu")
    words = [["the", "Ada", "Ray", "saw", "7", "cats"], ["the", "Bo"]]
    expected = model.predict(words)
    assert expected[0]["tags"] == ["O", "B-NAME", "I-NAME", "O", "B-NUM", "O"]
    (tmp_path / "bare.conll").write_text("\n\n".join("\n".join(sentence) for sentence in words))
    (tmp_path / "tagged.conll").write_text("\n\n".join("\n".join(f"{w}\tO" for w in row) for row in words))
    (tmp_path / "words.jsonl").write_text("\n".join(json.dumps({"tokens": row}) for row in words))
    for name, column in (("bare.conll", "tags"), ("tagged.conll", "predicted_tags"), ("words.jsonl", "tags")):
        model.predict_file(tmp_path / name, tmp_path / "out.jsonl", overwrite=True)
        said = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [row["tokens"] for row in said] == words
        assert [row[column] for row in said] == [row["tags"] for row in expected]
    (tmp_path / "bad.jsonl").write_text(json.dumps({"tokens": ["a", ""]}))
    with pytest.raises(UserError, match=r"row 1: a word: the text is empty"):
        model.predict_file(tmp_path / "bad.jsonl", tmp_path / "out.jsonl", overwrite=True)
    (tmp_path / "rows.csv").write_text("sentence,word\n1,Ada\n1,saw\n")
    with pytest.raises(UserError, match="a word in each row"):
        model.predict_file(tmp_path / "rows.csv", tmp_path / "out.jsonl", overwrite=True)


def test_a_table_of_words_alone_is_learnt_from(runs: Path, tmp_path: Path) -> None:
    """No column of texts beside the lists: the form that `datasets` writes; or a word in each row of a spreadsheet."""
    rows = [{"tokens": [w for w, *_ in row], "ner_tags": [tag for *_, tag in row]} for row in sentences(20)]
    (tmp_path / "words.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"{n};{w};{tag}\r\n" for n, row in enumerate(sentences(20)) for w, _, tag in row]
    (tmp_path / "sheet.csv").write_bytes("".join(["\ufeffsentence;word;tag\r\n", *lines]).encode())
    fingers = []
    for name in ("words.jsonl", "sheet.csv"):
        out = tmp_path / name.partition(".")[0]
        pw.finetune(runs / "base", tmp_path / name, out=out, steps=1, seeds=1, precision="fp32", quiet=True)
        card = json.loads((out / "patchword.json").read_text())
        assert card["task"] == "token_classification"
        fingers.append((card["data"]["words"], card["data"]["tokens"], card["labels"]))
    assert fingers[0] == fingers[1]


def test_a_model_with_other_spelling_is_measured_in_its_own(tokenizer: Tokenizer) -> None:
    """BIOES: single words are S-X, last words E-X, so that a perfect model has a perfect accuracy."""
    labels = ("O", "B-NAME", "I-NAME", "E-NAME", "S-NAME")
    task = TokenClassification(labels)
    words = TaggedText.of_words(["Ada", "saw", "Bo", "de", "Ray"], ["B-NAME", "O", "B-NAME", "I-NAME", "I-NAME"])
    number = {name: i for i, name in enumerate(labels)}
    examples = TaggedExamples([words], tokenizer, 32, number)
    assert [labels[tag] for tag in examples.targets] == ["S-NAME", "O", "B-NAME", "I-NAME", "E-NAME"]
    metrics = task._measured(examples, [examples.targets])
    assert metrics["f1"] == metrics["accuracy"] == 1.0


def conll(path: Path, rows: list[str]) -> Path:
    """The first word of each row is none of a name."""
    tagged = [[f"{word}\t{'B-NAME' if n else 'O'}\n" for n, word in enumerate(row.split())] for row in rows]
    path.write_text("\n".join(map("".join, tagged)))
    return path


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_sentences_that_are_learnt_from_are_told(part: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [f"bada {word} folgen" for word in ("one", "two", "three", "four", "five")]
    data = conll(tmp_path / "a.conll", rows)
    apart = conll(tmp_path / "apart.conll", ["never seen", "Bada THREE folgen ."])
    prepared = TokenClassification.prepare(Ask(data, **{part: apart}), tokenizer, lambda n: None)
    told = f"{part} rows that are in the training data: 1 of 2 (apart.conll, row 4)"
    assert any(note.startswith(told) for note in prepared.notes)
    assert [finding["severity"] for finding in prepared.facts["findings"]] == ["problem"]
    clean = TokenClassification.prepare(Ask(data), tokenizer, lambda n: None)
    assert not clean.facts["findings"]


@pytest.mark.parametrize("seed", range(5))
def test_sentences_that_are_the_same_are_on_one_side(tokenizer: Tokenizer, tmp_path: Path, seed: int) -> None:
    path = conll(tmp_path / "a.conll", [f"number {i // 2} b{i // 2}" for i in range(80)])
    prepared = TokenClassification.prepare(Ask(path, seed=seed), tokenizer, lambda n: None)
    train, held = ({text.text for text in part.documents} for part in (prepared.train, prepared.validation))
    assert held
    assert not train & held
    assert any("80 rows that are the same as others are on the same side" in note for note in prepared.notes)


def test_two_sentences_are_enough_to_hold_one_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for rows in (["bada x", "fol y"], ["bada x", "bada x"], ["bada x", "bada x", "fol y"]):
        path = conll(tmp_path / "a.conll", rows)
        facts = TokenClassification.prepare(Ask(path), tokenizer, lambda n: None).facts
        assert facts["rows"] >= 1
        assert facts["validation_rows"] >= 1


def test_spans_inside_words_are_reported_with_their_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A few: words stay the units, and the scores count those spans as missed."""
    rows = [{"text": "bada fol", "spans": [[0, 4, "A"]]}] * 150 + [{"text": "bada fol", "spans": [[1, 3, "A"]]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "gen tim", "spans": [[0, 3, "A"], [4, 6, "A"]]}))
    ask = Ask(tmp_path / "a.jsonl", validation=tmp_path / "b.jsonl")
    prepared = TokenClassification.prepare(ask, tokenizer, lambda n: None)
    assert any("inside a word: 1 of 151 (a.jsonl, row 151); widened" in note for note in prepared.notes)
    assert prepared.task.facts() == {"word_pieces": False}
    held = prepared.validation
    assert isinstance(held, TaggedExamples)
    assert isinstance(prepared.task, TokenClassification)
    scores = prepared.task._measured(held, [held.targets])
    assert (scores["accuracy"], scores["precision"], scores["recall"]) == (1.0, 0.5, 0.5)


SPANS = {  # text, spans: each entity is inside of what has no space
    "chinese": ("王明昨天去了北京开会。", ["王明", "北京"]),
    "japanese": ("田中さんは昨日ロンドンへ行きました。", ["田中", "ロンドン"]),
    "korean": ("김철수는 어제 서울에서 회의를 했다.", ["김철수", "서울"]),
    "thai": ("เมื่อวานสมชายไปที่น่านเพื่อประชุม", ["สมชาย", "น่าน"]),
    "hindi": ("सुनीता दिल्ली में रहती है ।", ["सुनीता", "दिल्ली"]),
    "tamil": ("முருகன் நேற்று மதுரை சென்றார்.", ["முருகன்", "மதுரை"]),
    "hebrew": ("שָׂרָה גרה בירושלים מאז אתמול.", ["שָׂרָה", "ירושלים"]),
    "arabic": ("سافر أَحْمَد من بيروت والقاهرة أمس.", ["أَحْمَد", "القاهرة"]),
    "decomposed": ("Zoe\u0308 and Rene\u0301e-Ann saw A\u030alesund.", ["Zoe\u0308", "Rene\u0301e", "A\u030alesund"]),
    "emoji": ("so 👩‍👩‍👧❤️ nice 🇩🇪🇫🇷 1️⃣", ["👩‍👩‍👧", "❤️", "🇫🇷", "1️⃣"]),
    "units": ("it took 10km of 3kg", ["10", "km", "kg"]),
}


@pytest.mark.parametrize("kind", ["wordpiece", "bytes", "unigram"])
@pytest.mark.parametrize("script", SPANS)
def test_spans_of_every_script_are_units_of_the_text(script: str, kind: str, tmp_path: Path) -> None:
    """What the targets say, decoded as predictions are, is each span to the character."""
    text, marked = SPANS[script]
    style = {"wordpiece": BERT, "bytes": GPT2, "unigram": XLM_ROBERTA}[kind].tokenizer
    letters = [" ".join(text)]
    # BERT's normalizer takes letters apart (Hangul into its parts), and each may begin a word or go on with one.
    parts = set(unicodedata.normalize("NFD", text))
    size = 262 + 2 * len(set(text)) if kind != "wordpiece" else 2 * len(parts) + 5
    tokenizer = train_tokenizer(letters, style, size)
    places = [(text.rindex(part), text.rindex(part) + len(part)) for part in marked]
    row = {"text": text, "spans": [[*place, f"E{n % 2}"] for n, place in enumerate(places)]}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({"text": "x", "spans": []}))
    prepared = TokenClassification.prepare(Ask(path, validation=path), tokenizer, lambda n: None)
    task, held = prepared.task, prepared.validation
    assert isinstance(task, TokenClassification)
    assert isinstance(held, TaggedExamples)
    assert task._measured(held, held.by_document(held.targets))["f1"] == 1.0
    bare = task.inputs([text], tokenizer, Ask("", word_pieces=task.word_pieces))
    assert bare.documents[0].words == held.documents[0].words  # labels do not change the units
    np.testing.assert_array_equal(bare.sequences.gather(np.array([0]))[0], held.sequences.gather(np.array([0]))[0])


def test_an_unknown_clause_is_read_unit_by_unit(tokenizer: Tokenizer) -> None:
    """One [UNK] for a clause without spaces would leave no entity a token of its own."""
    text = "王明去北京。"
    (pieces, _), unknown = tokenizer.encode_with_places(["去"])[0], tokenizer.id("unk")
    assert pieces.tolist() == [unknown]
    examples = TaggedExamples([TaggedText("ไปที่น่าน", spans=(Span(5, 9, "LOC"),))], tokenizer, 32)
    assert examples.inexact == 0
    assert examples.documents[0].tags == ["O"] * 3 + ["B-LOC", "I-LOC", "I-LOC"]
    assert TaggedExamples([TaggedText(text, spans=(Span(3, 5, "LOC"),))], tokenizer, 32).inexact == 0


def test_no_mistakes_are_told_as_such(tokenizer: Tokenizer) -> None:
    task = TokenClassification(LABELS)
    words = TaggedText.of_words(["bada", "saw"], ["B-NAME", "O"])
    examples = TaggedExamples([words], tokenizer, 32, {name: i for i, name in enumerate(LABELS)})
    assert task._looked_at(examples, [examples.targets])["samples_are"] == "It read every text rightly."
    assert task._looked_at(examples, [examples.targets * 0])["samples_are"].endswith(": 1 of 1 are shown.")
