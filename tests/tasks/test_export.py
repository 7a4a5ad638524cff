"""Files for other programs: equal to transformers with padding on either side, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

import patchword as pw
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.bert import FAMILY as BERT
from patchword.models.family import Model
from patchword.models.folder import write_model
from patchword.tasks.export import export
from patchword.tasks.padded import PaddedLayout
from patchword.tasks.predictor import load
from tests.models.parity import all_cases, pad, scrambled

LABELS = ("left", "none", "right")


def write_folder(folder: Path, tokenizer: Tokenizer, way_out: str = "class") -> Path:
    """A model with weights far from those of a new one, and its tokenizer."""
    sizes = {"depth": 1, "width": 32, "heads": 2, "hidden": 48, "max_length": 24, "vocab_size": tokenizer.vocab_size}
    config = BERT.config(**sizes)
    model = Model(BERT, config, way_out, LABELS if way_out == "class" else ())
    scrambled(model)
    write_model(model, folder)
    tokenizer.save(folder, config.max_length)
    return folder


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> tuple[Path, Path, pw.Exported]:
    """A classifier of texts, its file, and what was said of it."""
    folder = write_folder(tmp_path_factory.mktemp("texts"), tokenizer)
    path = folder / "model.onnx"
    return folder, path, export(folder, path)


def test_a_classifier_of_texts_gives_what_transformers_gives_with_padding_on_the_right(texts: Any) -> None:
    folder, path, _ = texts
    theirs = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    opened = session(path)
    assert [(one.name, one.shape) for one in opened.get_inputs()] == [
        (name, ["batch_size", "sequence_length"]) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert [(one.name, one.shape) for one in opened.get_outputs()] == [("logits", ["batch_size", 3])]
    assert json.loads(opened.get_modelmeta().custom_metadata_map["id2label"]) == {
        str(i): label for i, label in enumerate(LABELS)
    }
    torch.manual_seed(0)
    for lengths in ([1], [24], [1, 1], [3, 9, 24, 1], [5] * 7):
        ids = pad([torch.randint(0, 30, (length,)) for length in lengths])
        mask = pad([torch.ones(length, dtype=torch.long) for length in lengths])
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": (ids % 2) * mask}
        (logits,) = opened.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, theirs(**given).logits.numpy(), atol=1e-5)


def test_padding_on_the_left_changes_nothing(texts: Any) -> None:
    _, path, _ = texts
    opened = session(path)
    right, left = ([[5, 9, 4, 0, 0, 0], [7, 8, 9, 6, 1, 2]], [[0, 0, 0, 5, 9, 4], [7, 8, 9, 6, 1, 2]])
    on_the_right, on_the_left = (
        opened.run(
            None,
            {
                "input_ids": np.array(rows),
                "attention_mask": (np.array(rows) > 0).astype(np.int64),
                "token_type_ids": np.zeros((2, 6), np.int64),
            },
        )
        for rows in (right, left)
    )
    np.testing.assert_allclose(on_the_right[0], on_the_left[0], atol=1e-5)


def test_what_is_said_of_a_file_is_so(texts: Any) -> None:
    _, path, said = texts
    assert said.bytes == path.stat().st_size
    assert said.difference <= 1e-5
    assert said.agreement == 1.0
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("RobertaForTokenClassification", {"num_hidden_layers": 1}),
        # Two layers, of which one looks at near tokens only; the class is the mean of all tokens.
        ("ModernBertForSequenceClassification (mean)", {"num_hidden_layers": 2}),
        ("GPT2ForSequenceClassification", {"n_layer": 1}),
        ("BertForQuestionAnswering", {"num_hidden_layers": 1}),
        ("ViTForImageClassification", {"num_hidden_layers": 1}),
        ("ResNetForImageClassification", {}),
    ],
)
def test_other_families_and_heads_give_what_transformers_gives(
    name: str, smaller: dict[str, Any], tmp_path: Path, tokenizer: Tokenizer
) -> None:
    case = next(case for case in all_cases() if case.name == name)
    pictures = case.reads == "pixels"
    words = {} if pictures else {"vocab_size": tokenizer.vocab_size}
    theirs = replace(case, config={**case.config, **smaller, **words}).model()
    theirs.save_pretrained(tmp_path)
    if not pictures:
        tokenizer.save(tmp_path, 20)
        if name.startswith("GPT2"):  # transformers would add the words of token types
            settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
            settings["model_input_names"] = ["input_ids", "attention_mask"]
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    said = export(tmp_path, tmp_path / "model.onnx")
    assert said.difference <= 1e-5 * max(1.0, said.largest)
    opened = session(tmp_path / "model.onnx")
    torch.manual_seed(0)
    if pictures:
        given = {"pixel_values": torch.randn(3, *opened.get_inputs()[0].shape[1:])}
        there = np.ones(3, bool)
    else:
        if theirs.config.pad_token_id is None:
            theirs.config.pad_token_id = 0
        lengths = [7, 12, 2, 1]
        ids = pad([torch.randint(5, 30, (length,)) for length in lengths], theirs.config.pad_token_id)
        mask = pad([torch.ones(length, dtype=torch.long) for length in lengths])
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        given = {one.name: given[one.name] for one in opened.get_inputs()}
        per_token = case.way_out in ("token_class", "span")
        there = mask.bool().numpy() if per_token else np.ones(4, bool)
    found = opened.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    with torch.no_grad():
        answer = theirs(**given)
    for output, ours in zip(said.outputs, found, strict=True):
        np.testing.assert_allclose(ours[there], getattr(answer, output).numpy()[there], atol=2e-5)


def test_vectors_of_a_model_that_has_learnt_no_task(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = write_folder(tmp_path, tokenizer, "features")
    with pytest.raises(UserError, match=r"(?s)no task"):
        export(folder, tmp_path / "model.onnx")
    assert export(folder, tmp_path / "model.onnx", features=True).outputs == ("last_hidden_state",)
    model = load(folder, "cpu")
    (ids,) = (torch.tensor([[3, 8, 9, 4]]),)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    (vectors,) = session(tmp_path / "model.onnx").run(None, {name: tensor.numpy() for name, tensor in given.items()})
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        np.testing.assert_allclose(vectors, theirs(**given).last_hidden_state.numpy(), atol=1e-5)
    assert model.model.way_out == "features"


def test_int8_is_smaller_and_told_on_labelled_data(texts: Any, tmp_path: Path) -> None:
    folder, _, whole = texts
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"word {i} of it,{LABELS[i % 3]}\n" for i in range(30)))
    said = export(folder, tmp_path / "small.onnx", int8=True, data=str(data))
    assert said.bytes < whole.bytes
    assert whole.difference < said.difference < 0.2 * said.largest
    assert said.model_metrics == pw.evaluate(folder, str(data))
    assert said.metrics.keys() == said.model_metrics.keys()
    assert said.metrics["loss"] == pytest.approx(said.model_metrics["loss"], rel=0.2)
    assert said.metrics["loss"] != said.model_metrics["loss"]


def test_a_file_that_differs_from_the_model_is_not_written(
    texts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PaddedLayout, "positions", property(lambda layout: layout.mask.cumsum(1).flatten() * 0))
    with pytest.raises(UserError, match="was not written"):
        export(texts[0], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.bin", "must end in .onnx"),
        ("there.onnx", "--overwrite"),
        ("folder.onnx", "is a folder"),
        ("nowhere/model.onnx", "there is no folder"),
        ("file/model.onnx", "there is no folder"),
    ],
)
def test_paths_that_can_not_be_written(texts: Any, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.onnx").write_text("kept")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match=message):
        export(texts[0], tmp_path / name)
    assert (tmp_path / "there.onnx").read_text() == "kept"


def test_models_of_language_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = write_folder(tmp_path, tokenizer, "masked_token")
    with pytest.raises(UserError, match="masked-lm, which is not exported"):
        export(folder, tmp_path / "model.onnx")


def test_what_has_no_graph_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    case = next(case for case in all_cases() if case.theirs == "MixtralForSequenceClassification")
    case = replace(case, config={**case.config, "num_hidden_layers": 1, "vocab_size": tokenizer.vocab_size})
    case.model().save_pretrained(tmp_path)
    tokenizer.save(tmp_path, 20)
    with pytest.raises(UserError, match="mixtral models can not be exported"):
        export(tmp_path, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*model.onnx*"))


def test_without_onnxruntime_it_is_said_what_to_install(
    texts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'patchword\[export\]'"):
        export(texts[0], tmp_path / "model.onnx")


def test_int8_of_torch_is_near_to_fp32_and_smaller_errors_are_told_by_evaluate(texts: Any) -> None:
    inputs = ["one two three", "four", "five six"]
    exact, rounded = load(texts[0], "cpu"), load(texts[0], "cpu", "int8")
    both = [
        np.array([list(row["probabilities"].values()) for row in model.predict(inputs)]) for model in (exact, rounded)
    ]
    assert 0 < np.abs(both[0] - both[1]).max() < 0.1
    assert rounded.precision == "int8"


def test_vectors_of_a_masked_autoencoder_are_those_of_all_patches(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = next(case for case in all_cases() if case.name == "ViTMAEForPreTraining")
    theirs = case.model().eval()
    theirs.save_pretrained(tmp_path)
    capfd.readouterr()
    with pytest.raises(UserError, match="not exported"):
        export(tmp_path, tmp_path / "model.onnx")
    export(tmp_path, tmp_path / "model.onnx", features=True)
    assert capfd.readouterr().err == ""
    opened = session(tmp_path / "model.onnx")
    torch.manual_seed(0)
    pixels = torch.randn(3, *opened.get_inputs()[0].shape[1:])
    (found,) = opened.run(None, {"pixel_values": pixels.numpy()})
    theirs.config.mask_ratio = theirs.vit.embeddings.config.mask_ratio = 0.0
    patches = (found.shape[1] - 1,)
    with torch.no_grad():
        order = torch.arange(*patches, dtype=torch.float32).expand(3, -1)
        expected = theirs.vit(pixels, noise=order).last_hidden_state
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)
