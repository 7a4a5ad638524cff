"""Encoder-decoders: step by step is all at once, and what T5's folders say of the scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from patchword.data.tokenizers import train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import make_config, read_model, write_model
from patchword.models.trunks import EncoderDecoder
from patchword.nn.cache import Cache
from patchword.nn.packing import Layout, Packed
from tests.models.cases import bart, t5
from tests.models.parity import Case, scrambled

SMALL = {"vocab_size": 67, "width": 32, "depth": 2, "decoder_depth": 3, "heads": 4, "hidden": 48, "max_length": 20}
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": {**SMALL, "head_size": 10, "buckets": 8, "furthest": 10},
    "bart": {**SMALL, "decoder_heads": 2, "decoder_hidden": 40},
}


def small(kind: str, way_out: str = "features", **changes: Any) -> Model:
    family = families()[kind]
    return Model(family, make_config(family.config, {**CONFIGS[kind], **changes}, "test"), way_out)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_text_that_is_written_word_by_word_is_one_that_is_read_at_once(kind: str) -> None:
    model = scrambled(small(kind))
    assert isinstance(model, Model)
    trunk = model.trunk
    assert isinstance(trunk, EncoderDecoder)
    torch.manual_seed(0)
    prompts = Packed.from_sequences([torch.randint(5, 67, (length,)) for length in (7, 1, 12)])
    written = torch.randint(5, 67, (3, 14))
    with torch.inference_mode():
        beginning = trunk.begin(prompts)
        memory = beginning.memory
        assert memory is not None
        cache = Cache(len(trunk.decoder.layers), 15, memory.layout.longest)
        steps = [trunk.decode(beginning.tokens, memory, cache).values]
        for step, words in enumerate(written.t(), start=1):
            new = Packed(words, Layout([1] * 3, before=[step] * 3))
            steps.append(trunk.decode(new, None, cache).values)
        start = torch.full((3, 1), trunk.start)
        whole = model.features(prompts, Packed.from_sequences(list(torch.cat([start, written], 1)))).values
    assert whole.std() > 0.5
    assert (torch.stack(steps, 1).flatten(0, 1) - whole).abs().max() <= 1e-5


# ------------------------------------------------------------------------------------------------ T5's scores

ROUNDING = 3e-5
"""Products that are not scaled spread roundings (`tests/models/cases/t5.py`); wrong scores differ by about 1."""
IDS, TARGET = (torch.randint(5, 67, (2, n), generator=torch.Generator().manual_seed(n)) for n in (7, 5))


def theirs_say(model: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=IDS, decoder_input_ids=TARGET).logits
    return logits.flatten(0, 1)


def ours_say(model: Model) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(Packed.from_sequences(list(IDS)), Packed.from_sequences(list(TARGET)))
    return logits


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def as_transformers_4_wrote_it(folder: Path) -> Tensor:
    """A v1.1 folder; gives the matrix of its scores."""
    case = Case("T5ForConditionalGeneration", "t5", "next_token", t5.V1_1, untied=True)
    case.model().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["scale_decoder_outputs"]
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return load_file(folder / "model.safetensors")["lm_head.weight"]


def test_v1_1_as_transformers_4_wrote_it_has_scores_of_its_own(tmp_path: Path) -> None:
    scores = as_transformers_4_wrote_it(tmp_path / "four")
    loaded = read_model(tmp_path / "four")
    assert loaded.new == loaded.unused == ()
    assert torch.equal(loaded.model.head.scores.weight, scores)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "four")
    assert (ours_say(loaded.model) - theirs_say(theirs)).abs().max() <= ROUNDING


def test_what_transformers_5_makes_of_it_opens_and_ours_opens_there(tmp_path: Path) -> None:
    """It says that the scores are tied when they are not: the file has both matrices."""
    as_transformers_4_wrote_it(tmp_path / "four")
    transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "four").save_pretrained(tmp_path / "five")
    assert json.loads((tmp_path / "five" / "config.json").read_text())["tie_word_embeddings"] is True
    ours = read_model(tmp_path / "five").model
    write_model(ours, tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["tie_word_embeddings"] is False
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert theirs.config.scale_decoder_outputs is False
    assert not torch.equal(theirs.lm_head.weight, theirs.shared.weight)
    assert (ours_say(ours) - theirs_say(theirs)).abs().max() <= ROUNDING


def test_v1_1_that_began_in_transformers_5_has_the_word_table_as_its_scores(tmp_path: Path) -> None:
    """It ties what it begins; the vectors are not scaled for all that."""
    case = Case("T5ForConditionalGeneration", "t5", "next_token", t5.V1_1)
    theirs = case.model()
    theirs.save_pretrained(tmp_path / "theirs")
    assert "lm_head.weight" not in load_file(tmp_path / "theirs" / "model.safetensors")
    loaded = read_model(tmp_path / "theirs")
    assert loaded.new == loaded.unused == ()
    assert (ours_say(loaded.model) - theirs_say(theirs)).abs().max() <= ROUNDING
    write_model(loaded.model, tmp_path / "ours")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert (ours_say(loaded.model) - theirs_say(again)).abs().max() <= ROUNDING


def test_v1_0_with_copies_of_its_word_table_opens(tmp_path: Path) -> None:
    theirs = Case("T5ForConditionalGeneration", "t5", "next_token", t5.SIZES).model()
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for copy in ("lm_head", "encoder.embed_tokens", "decoder.embed_tokens"):
        tensors[f"{copy}.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("tie_word_embeddings", "scale_decoder_outputs", "is_gated_act", "dense_act_fn"):
        del config[key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = read_model(tmp_path)
    assert loaded.new == ()
    assert loaded.unused == ()  # its numbers are those of the words
    assert (ours_say(loaded.model) - theirs_say(theirs)).abs().max() <= ROUNDING


def test_an_encoder_can_be_taken_out_of_a_whole_model(tmp_path: Path) -> None:
    model = scrambled(small("t5", "next_token"))
    assert isinstance(model, Model)
    write_model(model, tmp_path)
    loaded = read_model(tmp_path, way_out="encoder")
    source = Packed.from_sequences([torch.randint(5, 67, (6,))])
    with torch.no_grad():
        assert torch.equal(loaded.model.eval()(source), model.trunk.encode(source).values)
    assert loaded.new == ()
    assert all(name.startswith("decoder.") for name in loaded.unused)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("t5", {"gated": True, "activation": "gelu_new", "tied": False}),
        ("t5", {"gated": True, "activation": "silu"}),
        ("t5", {"activation": "gelu", "attention_dropout": 0.0, "dropout": 0.3}),
        ("bart", {"activation_dropout": 0.2, "eos_token_id": 9, "bos_token_id": 8, "decoder_start_token_id": 7}),
    ],
)
def test_a_folder_keeps_what_the_config_says(kind: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = small(kind, "next_token", **fields)
    write_model(model, tmp_path)
    assert read_model(tmp_path).model.config == model.config
    theirs = getattr(transformers, "T5Config" if kind == "t5" else "BartConfig").from_pretrained(tmp_path)
    assert theirs.decoder_start_token_id == model.config.decoder_start_token_id
    assert (theirs.pad_token_id, theirs.eos_token_id) == (model.config.pad_token_id, model.config.eos_token_id)
    assert theirs.is_encoder_decoder is True


def test_gates_that_the_files_have_no_name_for_are_refused() -> None:
    with pytest.raises(UserError, match="'gelu_new' has"):
        small("t5", gated=True, activation="gelu")


def test_a_bart_that_scales_its_words_is_refused(tmp_path: Path) -> None:
    Case("BartModel", "bart", "features", bart.SIZES).model().save_pretrained(tmp_path)
    change(tmp_path / "config.json", scale_embedding=True)
    with pytest.raises(UserError, match="scale_embedding is True"):
        read_model(tmp_path)


def test_bart_has_three_classes_where_its_config_names_none(tmp_path: Path) -> None:
    """As in transformers, which opens such a folder of two classes no more than this does."""
    for classes in (2, 3):
        theirs = transformers.BartForSequenceClassification(transformers.BartConfig(**bart.SIZES, num_labels=classes))
        theirs.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config.pop("id2label", None)
        config.pop("label2id", None)
        (tmp_path / "config.json").write_text(json.dumps(config))
        if classes == 3:
            assert read_model(tmp_path).model.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
            assert transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).config.num_labels == 3
            continue
        with pytest.raises(UserError, match=r"is \[2, 32\] in the weights, but config.json asks for \[3, 32\]"):
            read_model(tmp_path)
        with pytest.raises(RuntimeError):
            transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("gated", [False, True])
def test_t5_begins_as_its_authors_code_has_it(gated: bool) -> None:
    """transformers' `T5PreTrainedModel._init_weights` quotes it."""
    torch.manual_seed(0)
    sizes = {"width": 256, "hidden": 512, "head_size": 16, "heads": 8, "vocab_size": 500, "buckets": 32}
    form: dict[str, Any] = {"gated": True, "activation": "gelu_new", "tied": False, "scaled": False} if gated else {}
    model = small("t5", "next_token", **sizes, **form)
    layer = model.trunk.decoder.layers[1]
    query, key, value = layer.attention.qkv.weight.split(128)
    expected = {
        "words": (model.trunk.source.words.weight, 1.0),
        "query": (query, 1 / math.sqrt(256 * 16)),
        "key": (key, 1 / math.sqrt(256)),
        "value": (value, 1 / math.sqrt(256)),
        "cross query": (layer.cross.query.weight, 1 / math.sqrt(256 * 16)),
        "cross key and value": (layer.cross.key_value.weight, 1 / math.sqrt(256)),
        "out": (layer.attention.out.weight, 1 / math.sqrt(8 * 16)),
        "up": (layer.feedforward.up.weight, 1 / math.sqrt(256)),
        "down": (layer.feedforward.down.weight, 1 / math.sqrt(512)),
        "distances": (layer.attention.relative.table.weight, 1 / math.sqrt(256)),
    }
    for name, (weight, std) in expected.items():
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.15), name
    with torch.no_grad():
        assert 0.5 < float(ours_say(model).std()) < 2.0


def test_layers_of_a_stack_share_one_bias_by_distance() -> None:
    trunk = small("t5").trunk
    tables = {id(layer.attention.relative) for layer in trunk.decoder.layers}
    assert len(tables) == 1
    assert trunk.encoder.layers[0].attention.relative.both_ways
    assert not trunk.decoder.layers[0].attention.relative.both_ways


@pytest.mark.parametrize(
    ("kind", "text"),
    [("t5", "norms <extra_id_0> & <extra_id_7>, words ∑"), ("bart", "norms <mask> & words ∑\n</s>")],
)
def test_a_new_vocabulary_gives_equal_ids_in_transformers(kind: str, text: str, tmp_path: Path) -> None:
    """The ids of the special tokens are the config's, too."""
    family = families()[kind]
    assert family.tokenizer is not None
    tokenizer = train_tokenizer(Path("CONTRIBUTING.md").read_text().splitlines(), family.tokenizer, 700)
    model = small(kind, "next_token", vocab_size=700)
    write_model(model, tmp_path)
    tokenizer.save(tmp_path, 20)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    (ids,) = tokenizer.encode([text])
    assert theirs(text).input_ids == [*tokenizer.before, *ids.tolist(), *tokenizer.after]
    assert (theirs.pad_token_id, theirs.eos_token_id) == (model.config.pad_token_id, model.config.eos_token_id)
    assert (tokenizer.id("pad"), tokenizer.id("eos")) == (theirs.pad_token_id, theirs.eos_token_id)
