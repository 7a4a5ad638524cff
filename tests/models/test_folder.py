"""What else a folder of transformers can be: old, in shards, in half precision, wrong; or given another head."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.folder import describe, find_folder, read_model, write_model
from patchword.nn.packing import Layout, Packed

LABELS = ("left", "none", "right")
BERT_SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}
VIT_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": [16, 24],
    "patch_size": 4,
}


@dataclass(frozen=True)
class Case:
    """A class of transformers, what it is in our words, and the Auto class that opens it."""

    theirs: str
    family: str
    way_out: str
    auto: Any

    def labels(self) -> tuple[str, ...]:
        return LABELS if self.way_out == "class" else ()

    def model(self, **sizes: Any) -> nn.Module:
        """One of theirs with weights far from those of a new one (norms of 1, biases of 0)."""
        kind = transformers.BertConfig if self.family == "bert" else transformers.ViTConfig
        labels = {"id2label": dict(enumerate(LABELS))} if self.way_out == "class" else {}
        config = kind(**{**(BERT_SIZES if self.family == "bert" else VIT_SIZES), **labels, **sizes})
        return scrambled(getattr(transformers, self.theirs)(config))


CASES = [
    Case("BertModel", "bert", "features", AutoModel),
    Case("BertForMaskedLM", "bert", "masked_token", AutoModelForMaskedLM),
    Case("BertForSequenceClassification", "bert", "class", AutoModelForSequenceClassification),
    Case("ViTModel", "vit", "features", AutoModel),
    Case("ViTForImageClassification", "vit", "class", AutoModelForImageClassification),
]
BERT_MODEL, BERT_MASKED, BERT_CLASS, VIT_MODEL, VIT_CLASS = CASES
bert_cases = pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.theirs)


def scrambled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random, so that none can be swapped for another unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(is_norm + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def outputs(case: Case, ours: Model, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The same input through both models: pairs of (ours, theirs)."""
    torch.manual_seed(1)
    ours.eval()
    with torch.no_grad():
        if case.family == "vit":
            pixels = torch.randn(3, 3, 16, 24)
            answer = theirs(pixel_values=pixels)
            if case.way_out == "class":
                return [(ours(pixels), answer.logits)]
            features = ours.features(pixels).values.view(answer.last_hidden_state.shape)
            return [(features, answer.last_hidden_state), (ours(pixels), answer.pooler_output)]

        lengths = [7, 20, 1, 7]
        ids = [torch.randint(1, 67, (length,)) for length in lengths]
        segments = [(torch.arange(length) >= length // 2).long() for length in lengths]

        def pad(tensors: list[Tensor]) -> Tensor:
            return nn.utils.rnn.pad_sequence(tensors, batch_first=True)

        mask = pad([torch.ones_like(sequence) for sequence in ids])
        answer = theirs(input_ids=pad(ids), token_type_ids=pad(segments), attention_mask=mask)
        packed = replace(Packed.from_sequences(ids), segments=torch.cat(segments))
        output = ours(packed)
        if case.way_out == "class":
            return [(output, answer.logits)]
        if case.way_out == "masked_token":
            return [(output, answer.logits[mask.bool()])]
        features = ours.features(packed).values
        return [(features, answer.last_hidden_state[mask.bool()]), (output, answer.pooler_output)]


def assert_equal_outputs(case: Case, ours: Model, theirs: nn.Module) -> None:
    for mine, other in outputs(case, ours, theirs):
        assert mine.shape == other.shape
        assert other.std() > 0.1  # not a comparison of zeros
        assert (mine - other).abs().max() <= 1e-5


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of `config.json`; None removes one."""
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of `model.safetensors`."""
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ both directions


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_the_problem_is_kept_in_both_directions(problem: str, tmp_path: Path) -> None:
    theirs = BERT_CLASS.model(problem_type=problem)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_model(tmp_path / "theirs").model
    assert ours.problem == problem
    write_model(ours, tmp_path / "ours")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours").config.problem_type == problem


def test_segments_that_are_not_given_are_the_first(tmp_path: Path) -> None:
    theirs = BERT_MODEL.model()
    theirs.save_pretrained(tmp_path)
    ours = read_model(tmp_path).model.eval()
    ids = torch.arange(1, 9)
    with torch.no_grad():
        expected = theirs(input_ids=ids[None]).last_hidden_state[0]
        assert (ours.features(Packed(ids, Layout([8]))).values - expected).abs().max() <= 1e-5


def test_two_labels_without_names_are_two_labels(tmp_path: Path) -> None:
    """transformers leaves `id2label` out of config.json when it is LABEL_0 and LABEL_1."""
    theirs = BERT_CLASS.model(id2label=None, num_labels=2)
    theirs.save_pretrained(tmp_path)
    assert "id2label" not in json.loads((tmp_path / "config.json").read_text())
    ours = read_model(tmp_path).model
    assert ours.labels == ("LABEL_0", "LABEL_1")
    assert_equal_outputs(BERT_CLASS, ours, theirs)


# ------------------------------------------------------------------------------------------------ older folders


@bert_cases
def test_a_folder_as_transformers_4_wrote_it(case: Case, tmp_path: Path) -> None:
    theirs = case.model()
    theirs.save_pretrained(tmp_path)
    edit(
        tmp_path,
        torch_dtype="float32",
        dtype=None,
        tie_word_embeddings=None,
        is_decoder=None,
        add_cross_attention=None,
        position_embedding_type="absolute",
        use_cache=True,
        gradient_checkpointing=False,
        transformers_version="4.28.1",
        _name_or_path="somebody/something",
    )
    prefix = "" if case is BERT_MODEL else "bert."
    ids = {prefix + "embeddings.position_ids": torch.arange(20)[None]}
    rewrite(tmp_path, lambda tensors: tensors | ids)
    loaded = read_model(tmp_path)
    assert loaded.new == loaded.unused == ()
    assert_equal_outputs(case, loaded.model, theirs)


def test_a_folder_converted_from_the_first_checkpoints(tmp_path: Path) -> None:
    """bert-base-uncased itself: gamma and beta, a bare config, both heads of pretraining, the decoder untied."""
    both = scrambled(transformers.BertForPreTraining(transformers.BertConfig(**BERT_SIZES)))
    both.save_pretrained(tmp_path)
    rewrite(
        tmp_path,
        lambda tensors: {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for name, t in tensors.items()
        },
    )
    assert any(name.endswith("gamma") for name in load_file(tmp_path / "model.safetensors"))
    edit(tmp_path, architectures=["BertForMaskedLM"], transformers_version=None, dtype=None)
    loaded = read_model(tmp_path)
    assert loaded.new == ()
    assert set(loaded.unused) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
    }
    theirs = transformers.BertForMaskedLM(both.config)
    theirs.bert.load_state_dict(both.bert.state_dict(), strict=False)
    theirs.cls.load_state_dict(both.cls.state_dict(), strict=False)
    assert_equal_outputs(BERT_MASKED, loaded.model, theirs.eval())


def test_weights_in_several_files(tmp_path: Path) -> None:
    theirs = BERT_MASKED.model()
    theirs.save_pretrained(tmp_path, max_shard_size="12KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    loaded = read_model(tmp_path)
    assert loaded.new == loaded.unused == ()
    assert_equal_outputs(BERT_MASKED, loaded.model, theirs)
    gone = sorted(tmp_path.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert gone.name in message(lambda: read_model(tmp_path))


def test_weights_in_half_precision_are_read_as_they_are(tmp_path: Path) -> None:
    theirs = BERT_MODEL.model().bfloat16()
    theirs.save_pretrained(tmp_path)
    loaded = read_model(tmp_path).model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert_equal_outputs(BERT_MODEL, loaded, theirs.float())


# ------------------------------------------------------------------------------------------------ what can not be read


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    theirs = BERT_MODEL.model()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    said = message(lambda: read_model(tmp_path))
    assert "pytorch_model.bin" in said
    assert "pickle" in said


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (BERT_CLASS, "bert.encoder.layer.1.attention.self.key.weight"),
        (BERT_CLASS, "bert.embeddings.token_type_embeddings.weight"),
        (BERT_MODEL, "encoder.layer.0.output.LayerNorm.bias"),
        (VIT_CLASS, "vit.layernorm.weight"),
        (VIT_MODEL, "embeddings.cls_token"),
        (BERT_CLASS, "classifier.bias"),
        (BERT_MASKED, "cls.predictions.bias"),
    ],
)
def test_a_missing_tensor_is_named(case: Case, name: str, tmp_path: Path) -> None:
    case.model().save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: {key: t for key, t in tensors.items() if key != name})
    assert f"'{name}'" in message(lambda: read_model(tmp_path))


def test_a_tensor_of_the_trunk_is_missed_whatever_head_is_asked_for(tmp_path: Path) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"
    BERT_MASKED.model().save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: {key: t for key, t in tensors.items() if key != name})
    assert f"'{name}'" in message(lambda: read_model(tmp_path, way_out="class", labels=LABELS))


def test_a_tensor_of_another_shape_is_told_with_both(tmp_path: Path) -> None:
    BERT_MODEL.model().save_pretrained(tmp_path)
    edit(tmp_path, vocab_size=70)
    said = message(lambda: read_model(tmp_path))
    assert "embeddings.word_embeddings.weight" in said
    assert "[67, 32]" in said
    assert "[70, 32]" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt_neox"}, ["'gpt_neox'", "bert, "]),
        ({"model_type": "bort"}, ["'bort'", "did you mean 'bert'"]),
        ({"num_attention_heads": 5}, ["32", "5"]),
        ({"position_embedding_type": "relative_key"}, ["position_embedding_type", "'relative_key'", "'absolute'"]),
        ({"is_decoder": True}, ["is_decoder"]),
        ({"num_hidden_layers": "two"}, ["num_hidden_layers", "config.json"]),
        ({"hidden_act": "mish"}, ["mish", "gelu_new"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_that_can_not_be_built_is_told(changes: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    BERT_MODEL.model().save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    said = message(lambda: read_model(tmp_path))
    assert all(word in said for word in words), said


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    BERT_MODEL.model().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "model.safetensors" in message(lambda: read_model(tmp_path))


# ------------------------------------------------------------------------------------------------ another head


@pytest.mark.parametrize(("file", "words"), [("adapter_config.json", "merge_and_unload"), ("x", "no config.json")])
def test_a_folder_that_holds_no_model(file: str, words: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(UserError, match=words):
        find_folder(tmp_path)


def test_a_new_head_is_reported_and_the_trunk_kept(tmp_path: Path) -> None:
    theirs = BERT_MASKED.model()
    theirs.save_pretrained(tmp_path)
    loaded = read_model(tmp_path, way_out="class", labels=LABELS)
    assert set(loaded.new) == {
        "head.pool.dense.weight",
        "head.pool.dense.bias",
        "head.scores.weight",
        "head.scores.bias",
    }
    assert set(loaded.taken) == {f"trunk.{name}" for name, _ in loaded.model.trunk.named_parameters()}
    assert all(name.startswith("cls.predictions.") for name in loaded.unused)
    ids = torch.randint(1, 67, (9,))
    with torch.no_grad():
        expected = theirs.bert(ids[None]).last_hidden_state[0]
        got = loaded.model.eval().features(Packed(ids, Layout([9]))).values
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("labels", [("a", "b", "c"), ("left", "right"), (*LABELS, "up"), ("none", "left", "right")])
def test_other_labels_take_new_scores_and_keep_the_pooler(labels: tuple[str, ...], tmp_path: Path) -> None:
    theirs = BERT_CLASS.model()
    theirs.save_pretrained(tmp_path)
    loaded = read_model(tmp_path, labels=labels)
    assert loaded.model.labels == labels
    assert set(loaded.new) == {"head.scores.weight", "head.scores.bias"}
    head = loaded.model.head
    assert torch.equal(head.pool.dense.weight, theirs.bert.pooler.dense.weight)
    assert head.scores.weight.shape == (len(labels), 32)
    assert not torch.isin(head.scores.weight, theirs.classifier.weight).any()


def test_the_same_labels_keep_their_scores(tmp_path: Path) -> None:
    theirs = BERT_CLASS.model()
    theirs.save_pretrained(tmp_path)
    loaded = read_model(tmp_path, way_out="class", labels=LABELS)
    assert loaded.new == ()
    assert_equal_outputs(BERT_CLASS, loaded.model, theirs)


def test_the_names_of_labels_follow_their_numbers_not_the_order_in_the_file(tmp_path: Path) -> None:
    BERT_CLASS.model(id2label={i: f"c{i}" for i in range(12)}).save_pretrained(tmp_path)
    labels = {str(i): f"c{i}" for i in (10, 2, 11, 0, 1, 9, 3, 8, 4, 7, 5, 6)}
    edit(tmp_path, id2label=labels)
    assert describe(tmp_path).labels == tuple(f"c{i}" for i in range(12))


def test_a_trunk_without_a_pooler_says_that_it_is_new(tmp_path: Path) -> None:
    config = transformers.BertConfig(**BERT_SIZES)
    theirs = scrambled(transformers.BertModel(config, add_pooling_layer=False))
    theirs.save_pretrained(tmp_path)
    loaded = read_model(tmp_path)
    assert set(loaded.new) == {"head.dense.weight", "head.dense.bias"}


@pytest.mark.parametrize("size", [(32, 32), (8, 16), (16, 8)])
def test_pictures_of_another_size_take_resized_positions(size: tuple[int, int], tmp_path: Path) -> None:
    """transformers' `interpolate_pos_encoding=True` of a square model is the reference."""
    theirs = VIT_CLASS.model(image_size=16)
    theirs.save_pretrained(tmp_path)
    ours = read_model(tmp_path, image_size=size).model.eval()
    pixels = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, interpolate_pos_encoding=True).logits
        assert (ours(pixels) - expected).abs().max() <= 1e-5


def test_as_many_patches_in_another_shape_are_not_the_same_positions(tmp_path: Path) -> None:
    theirs = VIT_CLASS.model(image_size=16)
    theirs.save_pretrained(tmp_path)
    ours = read_model(tmp_path, image_size=(8, 32)).model.eval()
    pixels = torch.randn(2, 3, 8, 32)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, interpolate_pos_encoding=True).logits
        assert (ours(pixels) - expected).abs().max() <= 1e-5


def test_positions_that_can_not_be_resized_are_told(tmp_path: Path) -> None:
    """A grid of 4 x 6 patches has no square to start from."""
    VIT_CLASS.model().save_pretrained(tmp_path)
    said = message(lambda: read_model(tmp_path, image_size=(32, 32)))
    assert "position" in said


# ------------------------------------------------------------------------------------------------ real weights


def test_real_weights_give_the_features_of_transformers(minilm: Path) -> None:
    texts = [
        "One Transformer for patches and words.",
        "Ünïcödé, 東京 and [MASK] in one sentence -- with a word that nobody knows: xqzzkrw!",
        "short",
        "A longer sentence that has more than a few words, so that the lengths in the batch differ by a lot.",
    ]
    tokenizer, theirs = Tokenizer.load(minilm), AutoTokenizer.from_pretrained(minilm)
    ids = [
        torch.tensor([tokenizer.id("cls"), *encoded.tolist(), tokenizer.id("sep")])
        for encoded in tokenizer.encode(texts)
    ]
    assert [sequence.tolist() for sequence in ids] == [theirs(text)["input_ids"] for text in texts]
    loaded = read_model(minilm)
    assert loaded.new == loaded.unused == ()
    reference = AutoModel.from_pretrained(minilm).eval()
    with torch.no_grad():
        ours = loaded.model.eval().features(Packed.from_sequences(ids)).sequences()
        for sequence, features in zip(ids, ours, strict=True):
            expected = reference(sequence[None]).last_hidden_state[0]
            assert (features - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM"])
def test_a_folder_that_transformers_wrote_has_nothing_to_report(head: str, tmp_path: Path) -> None:
    """Scores of classes and spans are not those of words, which the config ties to the embeddings."""
    getattr(transformers, f"BertFor{head}")(transformers.BertConfig(**BERT_SIZES)).save_pretrained(tmp_path)
    loaded = read_model(tmp_path)
    assert (loaded.notes, loaded.unused, loaded.new) == ((), (), ())
