"""Pictures to learn from are changed, pictures to be judged by are not; classes, several classes and numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

import patchword as pw
from patchword.data.atomic import write_json
from patchword.data.augment import augmentation
from patchword.data.image_processor import ImageProcessor
from patchword.data.loader import Batch
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import make_config, write_model
from patchword.tasks.image_classification import ImageClassification, ImageExamples
from patchword.tasks.labels import MULTI, SINGLE, LabelSet
from patchword.tasks.task import Ask, Prepared


def _examples() -> ImageExamples:
    items = []
    for seed in range(4):
        file = io.BytesIO()
        values = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(values).save(file, "PNG")
        items.append(file.getvalue())
    processor = ImageProcessor(size=(16, 16))
    return ImageExamples(items, [f"image {i}" for i in range(4)], processor, 4, np.array([0, 2, 1, 2]))


def test_without_being_told_pictures_stay_as_they_are() -> None:
    examples, ids = _examples(), np.arange(4)
    (pixels,), targets = examples.batch(ids, (0, 0)).inputs, examples.batch(ids, (0, 0)).targets
    assert isinstance(pixels, torch.Tensor)
    assert torch.equal(pixels, torch.from_numpy(examples.images.fetch(ids)))
    assert targets.tolist() == [0, 2, 1, 2]


def test_mixed_pictures_have_a_chance_for_every_class() -> None:
    examples, ids = _examples(), np.arange(4)
    examples.augment(augmentation("strong"), 3)
    batch, again = examples.batch(ids, (0, 1)), examples.batch(ids, (0, 1))
    assert torch.equal(batch.targets, again.targets)
    assert batch.targets.shape == (4, 3)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(4))
    first, second = batch.inputs[0], again.inputs[0]
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert torch.equal(first, second)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image model with random weights."""
    folder = tmp_path_factory.mktemp("start")
    family = families()["vit"]
    sizes = {"depth": 1, "width": 32, "heads": 2, "hidden": 64, "image_size": (16, 16), "patch_size": 8}
    torch.manual_seed(0)
    write_model(Model(family, make_config(family.config, sizes, "test"), "class", ("a", "b")), folder)
    write_json(folder / "preprocessor_config.json", ImageProcessor(size=(16, 16)).to_dict())
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """Pictures that are red, blue, both or neither: path and labels."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for i in range(60):
        values, labels = random.integers(0, 100, (16, 16, 3)).astype(np.uint8), []
        if i % 2:
            values[..., 0] += 150
            labels.append("red")
        if i % 3 == 0:
            values[..., 2] += 150
            labels.append("blue")
        Image.fromarray(values).save(folder / f"{i}.png")
        rows.append((str(folder / f"{i}.png"), labels))
    return rows


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_several_classes_of_one_picture(
    start: Path, pictures: list[tuple[str, list[str]]], kind: str, tmp_path: Path
) -> None:
    data = tmp_path / f"data.{kind}"
    if kind == "jsonl":
        data.write_text("\n".join(json.dumps({"image": path, "labels": labels}) for path, labels in pictures))
    else:
        lines = [f"{path},{'|'.join(labels)}" for path, labels in pictures if labels]
        data.write_text("\n".join(["image,labels", *lines]))
    problem = MULTI if kind == "csv" else None
    result = pw.finetune(
        start, data, problem=problem, out=tmp_path / "out", augment="mixup", steps=40, lr=3e-3, seeds=1, quiet=True
    )
    assert result.model.problem == MULTI
    predictor = pw.load(result.folder, device="cpu")
    found = predictor.predict([path for path, _ in pictures])
    right = sum(set(row["labels"]) == set(labels) for row, (_, labels) in zip(found, pictures, strict=True))
    assert right >= (55 if kind == "jsonl" else 38)
    metrics = predictor.evaluate(data)
    assert metrics["micro_f1"] > 0.9


def _prepare(pictures: list[tuple[str, list[str]]], folder: Path, augment: str, numbers: bool = False) -> Prepared:
    labels = [f"{i}.5" if numbers else "ab"[i % 2] for i in range(len(pictures))]
    lines = [f"{path},{label}" for (path, _), label in zip(pictures, labels, strict=True)]
    (folder / "data.csv").write_text("\n".join(["image,label", *lines]))
    ask = Ask(folder / "data.csv", augment=augment, tokens_per_image=5)
    return ImageClassification.prepare(ask, ImageProcessor(size=(16, 16)), lambda done: None)


def test_numbers_are_not_mixed(pictures: list[tuple[str, list[str]]], tmp_path: Path) -> None:
    prepared = _prepare(pictures, tmp_path, "strong", numbers=True)
    train = prepared.train
    assert isinstance(train, ImageExamples)
    assert any("not mixed" in note for note in prepared.notes)
    ids = np.arange(10)
    assert torch.equal(train.batch(ids, (0, 0)).targets, torch.from_numpy(train.targets[ids]))
    first, second = (train.batch(ids, (0, epoch)).inputs[0] for epoch in (0, 1))
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert not torch.equal(first, second)


def test_what_was_chosen_is_told_and_only_the_pictures_to_learn_from_are_changed(
    pictures: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    prepared = _prepare(pictures, tmp_path, "auto+flip")
    assert prepared.facts["augment"].endswith("+flip")
    assert prepared.facts["augment"] in prepared.notes[-1]
    ids = np.arange(5)
    for examples, same in ((prepared.train, False), (prepared.validation, True)):
        first, second = (examples.batch(ids, (0, epoch)).inputs[0] for epoch in (0, 1))
        assert isinstance(first, torch.Tensor)
        assert isinstance(second, torch.Tensor)
        assert torch.equal(first, second) == same
    with pytest.raises(UserError, match="standard"):
        _prepare(pictures, tmp_path, "standrad")


def test_smoothed_labels_have_the_loss_of_torch(start: Path) -> None:
    model = pw.load(start, device="cpu").model
    pixels, targets = torch.randn(6, 3, 16, 16), torch.tensor([0, 1, 1, 0, 1, 0])
    task = ImageClassification(LabelSet(("a", "b"), SINGLE), smoothing=0.2)
    chances = torch.full((6, 2), 0.1) + 0.8 * torch.eye(2)[targets]
    with torch.no_grad():
        expected = -(chances * model(pixels).log_softmax(1)).sum()
        torch.testing.assert_close(task.loss(model, Batch((pixels,), targets, (5,) * 6)), expected)
        expected = nn.CrossEntropyLoss(reduction="sum")(model(pixels), targets)
        task = ImageClassification(LabelSet(("a", "b"), SINGLE))
        torch.testing.assert_close(task.loss(model, Batch((pixels,), targets, (5,) * 6)), expected)


def test_labels_of_several_classes_are_not_smoothed(pictures: list[tuple[str, list[str]]], tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"image": path, "labels": labels}) for path, labels in pictures))
    with pytest.raises(UserError, match="--label-smoothing"):
        ImageClassification.prepare(Ask(data, label_smoothing=0.1), ImageProcessor(size=(16, 16)), lambda done: None)


def test_another_size_than_it_has_learnt_from(start: Path, pictures: list[tuple[str, list[str]]]) -> None:
    paths = [Path(path) for path, _ in pictures[:3]]
    larger = pw.load(start, device="cpu", image_size=32)
    theirs = transformers.ViTForImageClassification.from_pretrained(start).eval()
    pixels = torch.from_numpy(
        ImageExamples(paths, ["x"] * 3, ImageProcessor(size=(32, 32)), 17).images.fetch(np.arange(3))
    )
    with torch.no_grad():
        chances = theirs(pixels, interpolate_pos_encoding=True).logits.softmax(-1).numpy()
    ours = [[row["probabilities"][label] for label in ("a", "b")] for row in larger.predict(paths)]
    np.testing.assert_allclose(ours, chances, atol=1e-5)
    with pytest.raises(UserError, match="20"):
        pw.load(start, device="cpu", image_size=20)


def test_texts_have_no_pixels(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "text")
    with pytest.raises(UserError, match="--image-size 32"):
        pw.load(tmp_path / "text", device="cpu", image_size=32)
    (tmp_path / "rows.csv").write_text("text,label\none,a\ntwo,b\n")
    with pytest.raises(UserError, match="augment"):
        pw.finetune(tmp_path / "text", tmp_path / "rows.csv", out=tmp_path / "out", augment="light", quiet=True)
