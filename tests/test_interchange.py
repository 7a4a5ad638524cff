"""The promise: what stage 1 and stage 2 write, transformers opens with its own classes, and predicts the same."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patchword as pw
from patchword.models.folder import read_model, tensors_of

transformers = pytest.importorskip("transformers")

WORDS = {"billing": "invoice refund price paid card money", "bug": "crash stops error freezes broken screen"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 and stage 2 on a little text: a folder with `base` and `tickets`."""
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    rows = []
    for i in range(300):
        label = sorted(WORDS)[i % 2]
        text = " ".join(random.choice([*WORDS[label].split(), "the", "my", "it", "was"], random.integers(4, 12)))
        rows.append({"text": f"{text}.", "label": label})
    (folder / "notes.txt").write_text("\n".join(row["text"] for row in rows))
    (folder / "tickets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pw.pretrain(
        folder / "notes.txt", model="bert-tiny", out=folder / "base", steps=20, max_length=32, lines=True, quiet=True
    )
    pw.finetune(
        folder / "base",
        folder / "tickets.jsonl",
        out=folder / "tickets",
        epochs=6,
        lr=1e-3,
        precision="fp32",
        seeds=1,
        quiet=True,
    )
    return folder


def test_stage_two_starts_from_what_stage_one_learnt(runs: Path) -> None:
    """Every trunk tensor of stage 1's folder, compared as tensors."""
    loaded = read_model(runs / "base", way_out="class", labels=("billing", "bug"))
    theirs = tensors_of(read_model(runs / "base").model)
    ours = tensors_of(loaded.model)
    shared = [name for name in ours if name.startswith("bert.") and "pooler" not in name]
    assert len(shared) == 16 * 2 + 5  # tensors of two layers and of the way in
    assert all(torch.equal(ours[name], theirs[name]) for name in shared)


def test_transformers_predicts_the_same(runs: Path) -> None:
    texts = ["The invoice was paid.", "my screen freezes, it was broken", "card"]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(runs / "tickets").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(runs / "tickets")
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    ours = pw.load(runs / "tickets", device="cpu").predict(texts)
    assert [model.config.id2label[i] for i in logits.argmax(-1).tolist()] == [row["label"] for row in ours]
    theirs = logits.softmax(-1).numpy()
    mine = np.array([[row["probabilities"][label] for label in ("billing", "bug")] for row in ours])
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert [row["label"] for row in ours[:2]] == ["billing", "bug"]


def test_the_masked_language_model_opens_too(runs: Path) -> None:
    fill = transformers.pipeline("fill-mask", model=str(runs / "base"), tokenizer=str(runs / "base"))
    assert len(fill("the [MASK] was")) == 5


def test_scores_have_floors_and_intervals(runs: Path) -> None:
    card = json.loads((runs / "tickets" / "patchword.json").read_text())
    report = card["report"]
    assert report["validation"]["accuracy"] > report["floors"]["majority"]["accuracy"]
    assert report["validation"]["accuracy_low"] <= report["validation"]["accuracy"]
    assert {"majority", "tf-idf", "linear probe", "nearest neighbours"} == set(report["floors"])
    for name in ("run.json", "metrics.jsonl", "curves.png", "tokenizer.json", "config.json", "model.safetensors"):
        assert (runs / "tickets" / name).stat().st_size > 0


def test_the_order_of_rows_changes_no_label(runs: Path, tmp_path: Path) -> None:
    lines = (runs / "tickets.jsonl").read_text().splitlines()
    (tmp_path / "reversed.jsonl").write_text("\n".join(reversed(lines)))
    pw.finetune(runs / "base", tmp_path / "reversed.jsonl", out=tmp_path / "out", steps=1, seeds=1, quiet=True)
    ids = [
        json.loads((folder / "config.json").read_text())["id2label"] for folder in (runs / "tickets", tmp_path / "out")
    ]
    assert ids[0] == ids[1] == {"0": "billing", "1": "bug"}


def test_finetune_starts_from_a_folder_of_transformers(runs: Path, tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=400, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "theirs")
    transformers.AutoTokenizer.from_pretrained(runs / "base").save_pretrained(tmp_path / "theirs")
    result = pw.finetune(
        tmp_path / "theirs", runs / "tickets.jsonl", out=tmp_path / "out", steps=2, seeds=1, quiet=True
    )
    back = transformers.AutoModelForSequenceClassification.from_pretrained(result.folder)
    assert back.config.id2label == {0: "billing", 1: "bug"}


def test_a_regression_is_learnt_in_its_own_unit(runs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (runs / "tickets.jsonl").read_text().splitlines()]
    prices = [{"text": row["text"], "price": 20000.5 if row["label"] == "bug" else 10000.5} for row in rows]
    (tmp_path / "prices.jsonl").write_text("\n".join(map(json.dumps, prices)))
    result = pw.finetune(
        runs / "base",
        tmp_path / "prices.jsonl",
        label_column="price",
        out=tmp_path / "out",
        epochs=8,
        lr=1e-3,
        seeds=1,
        quiet=True,
    )
    assert result.report["validation"]["rmse"] < 0.5 * result.report["floors"]["mean"]["rmse"]
    value = pw.load(result.folder, device="cpu").predict(["crash error broken screen"])[0]["value"]
    assert 15000 < value < 25000
    model = transformers.AutoModelForSequenceClassification.from_pretrained(result.folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(result.folder)
    with torch.no_grad():
        theirs = model(**tokenizer(["crash error broken screen"], return_tensors="pt")).logits.item()
    assert abs(theirs - value) <= 1e-5 * 20000  # relative to the unit


def test_multi_label(runs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (runs / "tickets.jsonl").read_text().splitlines()]
    tagged = [
        {"text": r["text"], "tags": [r["label"]] + (["urgent"] if i % 3 == 0 else [])} for i, r in enumerate(rows)
    ]
    (tmp_path / "tags.jsonl").write_text("\n".join(map(json.dumps, tagged)))
    result = pw.finetune(
        runs / "base",
        tmp_path / "tags.jsonl",
        label_column="tags",
        out=tmp_path / "out",
        epochs=6,
        lr=1e-3,
        seeds=1,
        quiet=True,
    )
    assert result.model.labels == ("billing", "bug", "urgent")
    assert "bug" in pw.load(result.folder, device="cpu").predict(["crash error broken screen"])[0]["labels"]
    assert transformers.AutoConfig.from_pretrained(result.folder).problem_type == "multi_label_classification"


def test_images(tmp_path: Path) -> None:
    """Stage 1 and 2 on pictures; transformers' own image processor and model agree with our predictions."""
    random = np.random.default_rng(0)
    for split, names in (("one", ("stripes", "dots")), ("two", ("dark", "light"))):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(24):
                picture = random.integers(0, 120, (20, 24, 3)).astype(np.uint8)
                if name == "stripes":
                    picture[::4] += 120
                if name == "light":
                    picture += 120
                Image.fromarray(picture).save(tmp_path / split / name / f"{i}.png")
    pw.pretrain(
        tmp_path / "one", model="vit-tiny-16", image_size=32, patch_size=8, out=tmp_path / "vit", epochs=1, quiet=True
    )
    result = pw.finetune(
        tmp_path / "vit", tmp_path / "two", out=tmp_path / "light", epochs=3, precision="fp32", seeds=1, quiet=True
    )
    assert set(result.report["floors"]) == {"majority", "pixels", "linear probe", "nearest neighbours"}
    paths = [tmp_path / "two" / "dark" / "0.png", tmp_path / "two" / "light" / "0.png"]
    processor = transformers.AutoImageProcessor.from_pretrained(result.folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(result.folder).eval()
    pictures = [Image.open(path).convert("RGB") for path in paths]
    with torch.no_grad():
        theirs = model(**processor(pictures, return_tensors="pt")).logits.softmax(-1).numpy()
    predictor = pw.load(result.folder, device="cpu")
    ours = predictor.predict(paths)
    np.testing.assert_allclose(
        [[row["probabilities"][label] for label in ("dark", "light")] for row in ours], theirs, atol=1e-5
    )
    pipe = transformers.pipeline("image-classification", model=str(result.folder), device="cpu")
    for found, mine in zip(pipe(pictures), ours, strict=True):
        assert found[0]["label"] == mine["label"]
        for row in found:
            assert row["score"] == pytest.approx(mine["probabilities"][row["label"]], abs=1e-5)
    buffer = io.BytesIO()
    pictures[0].save(buffer, "png")
    assert predictor.predict([buffer.getvalue()])[0]["label"] == ours[0]["label"]
    assert predictor.features(paths, pool="class").shape == (2, 192)


def test_another_resolution(tmp_path: Path, runs: Path) -> None:
    """A ViT goes on at another size: its positions are resized, the rest is the same."""
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    theirs.save_pretrained(tmp_path / "vit")
    ours = read_model(tmp_path / "vit", image_size=(48, 48)).model.eval()
    pixels = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected = theirs(pixels, interpolate_pos_encoding=True).last_hidden_state
        got = ours.features(pixels).values.view(expected.shape)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
