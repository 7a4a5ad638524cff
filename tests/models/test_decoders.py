"""Decoders: in steps or at once, the balance of experts, and what their `config.json` can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from patchword.data.tokenizers import train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import config_json, describe, read_model, write_model
from patchword.models.trunks import Decoder
from patchword.nn.cache import Cache
from patchword.nn.experts import balance_loss
from patchword.nn.packing import Layout, Packed
from tests.models.cases.llama import LLAMA3, SIZES
from tests.models.cases.mixtral import MIXTURE
from tests.models.parity import TOLERANCE, Case, all_cases, scrambled

DECODERS = [name for name, family in families().items() if family.objective == "causal-lm"]
WRITERS = [case for case in all_cases() if case.way_out == "next_token" and case.family in DECODERS]


def theirs(name: str, **config: Any) -> torch.nn.Module:
    kind = getattr(transformers, name)
    return scrambled(kind(kind.config_class(**config)))


def edit(folder: Path, drop: tuple[str, ...] = (), **changes: Any) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in raw.items() if key not in drop}))


@pytest.mark.parametrize("case", WRITERS, ids=lambda case: case.name)
def test_step_by_step_is_all_at_once(case: Case, tmp_path: Path) -> None:
    """Prompts of unequal length go on together, past the end of a window where there is one."""
    case.model().save_pretrained(tmp_path)
    model = read_model(tmp_path).model.eval()
    trunk = model.trunk
    assert isinstance(trunk, Decoder)
    torch.manual_seed(0)
    prompts, steps = [7, 1, 3], 6
    documents = [torch.randint(5, 67, (length + steps,)) for length in prompts]
    with torch.inference_mode():
        whole = model.features(Packed.from_sequences(documents)).sequences()
        begun = trunk.begin(Packed.from_sequences([d[:n] for d, n in zip(documents, prompts, strict=True)]))
        cache = Cache(len(trunk.decoder.layers), max(map(len, documents)))
        outputs = [trunk.decode(begun.tokens, begun.memory, cache).sequences()]
        for step in range(steps):
            before = [length + step for length in prompts]
            new = torch.stack([document[at] for document, at in zip(documents, before, strict=True)])
            outputs.append(trunk.decode(Packed(new, Layout([1, 1, 1], before=before)), None, cache).sequences())
    for one, parts in zip(whole, zip(*outputs, strict=True), strict=True):
        assert (one - torch.cat(parts)).abs().max() <= TOLERANCE


def test_the_loss_with_its_balance_is_that_of_transformers(tmp_path: Path) -> None:
    config = {**MIXTURE, "router_aux_loss_coef": 0.3}
    reference = theirs("MixtralForCausalLM", **config)
    reference.save_pretrained(tmp_path)
    model = read_model(tmp_path).model
    assert model.config.balance == 0.3
    torch.manual_seed(0)
    ids = torch.randint(5, 67, (3, 9))
    expected = reference(input_ids=ids, labels=ids, output_router_logits=True)
    hidden = model.features(Packed.from_sequences(list(ids))).values
    balance = balance_loss(model)
    assert balance is not None
    said = model.head.loss(hidden.view(3, 9, -1)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()) / 24
    assert abs(balance - expected.aux_loss) <= TOLERANCE
    assert abs(said + model.config.balance * balance - expected.loss) <= TOLERANCE
    expected.loss.backward()
    (said + model.config.balance * balance).backward()
    router = model.trunk.decoder.layers[0].feedforward.router.weight.grad
    assert (router - reference.model.layers[0].mlp.gate.weight.grad).abs().max() <= TOLERANCE


@pytest.mark.parametrize("scaling", [None, {"type": "linear", "factor": 2.0}, LLAMA3], ids=["none", "linear", "llama3"])
def test_a_llama_as_transformers_4_wrote_it(scaling: dict[str, Any] | None, tmp_path: Path) -> None:
    """The base stands beside the scaling; heads that share no keys may not be told; no width of a head."""
    rope = {"rope_type": "default", **(scaling or {}), "rope_theta": 500.0}
    rope["rope_type"] = rope.pop("type", rope["rope_type"])
    reference = theirs("LlamaForCausalLM", **{**SIZES, "num_key_value_heads": 4, "rope_parameters": rope})
    reference.save_pretrained(tmp_path)
    old = {key: value for key, value in (scaling or {}).items() if key != "rope_theta"}
    drop = ("rope_parameters", "head_dim", "num_key_value_heads", "mlp_bias")
    edit(tmp_path, drop, rope_theta=500.0, rope_scaling=old or None)
    ids = torch.randint(5, 67, (12,))
    with torch.no_grad():
        ours = read_model(tmp_path).model.eval()(Packed.from_sequences([ids]))
        assert (ours - reference(ids[None]).logits[0]).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, ["'yarn'", "linear", "llama3"]),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, ["'llama3'", "low_freq_factor"]),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, ["'dynamic'"]),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, ["partial_rotary_factor"]),
        ({"rope_scaling": "linear", "rope_parameters": None}, ["rope_scaling is 'linear'", "object"]),
        ({"rope_parameters": {"rope_type": "linear", "factor": "two"}}, ["rope_parameters.factor is 'two'", "number"]),
        ({"attention_bias": True}, ["attention_bias", "True"]),
        ({"mlp_bias": True}, ["mlp_bias", "True"]),
        ({"num_key_value_heads": 3}, ["4 heads", "3"]),
    ],
)
def test_what_a_llama_can_not_be_is_told_with_its_file(
    changes: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    theirs("LlamaModel", **SIZES).save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(UserError) as said:
        describe(tmp_path)
    assert all(word in str(said.value) for word in ["config.json", *words]), said.value


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("Qwen3Model", {"use_sliding_window": True}, ["use_sliding_window"]),
        ("MixtralModel", {"num_experts_per_tok": 9}, ["9 of 5"]),
        ("OpenAIGPTModel", {"afn": "tanh"}, ["activation", "gelu_new", "'tanh'"]),
        ("OpenAIGPTModel", {"n_embd": 36, "n_head": 5}, ["36", "5"]),
        ("OPTModel", {"do_layer_norm_before": False}, ["do_layer_norm_before", "only True"]),
        ("OPTModel", {"word_embed_proj_dim": 16}, ["word_embed_proj_dim is 16", "hidden_size, 32"]),
    ],
)
def test_what_others_can_not_be_is_told(name: str, changes: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    sizes = next(case.config for case in all_cases() if case.theirs == name)
    theirs(name, **sizes).save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(UserError) as said:
        describe(tmp_path)
    assert all(word in str(said.value) for word in ["config.json", *words]), said.value


@pytest.mark.parametrize(("said", "window"), [({"sliding_window": None}, None), ({}, 4096), ({"sliding_window": 7}, 7)])
def test_a_mistral_that_says_nothing_of_its_window_has_one(
    said: dict[str, Any], window: int | None, tmp_path: Path
) -> None:
    theirs("MistralModel", **SIZES).save_pretrained(tmp_path)
    edit(tmp_path, ("sliding_window",))
    edit(tmp_path, **said)
    assert describe(tmp_path).config.model_dump()["window"] == window


def test_an_answer_is_read_from_a_model_that_wrote(tmp_path: Path) -> None:
    """The trunk is called otherwise beside a span head; its weights go along in both directions."""
    theirs("LlamaForCausalLM", **{**SIZES, "rope_parameters": LLAMA3}).save_pretrained(tmp_path / "writer")
    loaded = read_model(tmp_path / "writer", way_out="span", dropout=0.25)
    assert loaded.new == ("head.scores.weight", "head.scores.bias")
    assert loaded.unused == ("lm_head.weight",)
    write_model(loaded.model, tmp_path / "reader")
    again = read_model(tmp_path / "reader", way_out="features")
    assert again.unused == ("qa_outputs.bias", "qa_outputs.weight")
    assert again.model.config == loaded.model.config
    for name, tensor in again.model.trunk.state_dict().items():
        assert torch.equal(tensor, loaded.model.trunk.state_dict()[name]), name


@pytest.mark.parametrize("family", DECODERS)
def test_transformers_opens_the_vocabulary_that_is_learnt(family: str, corpus: list[str], tmp_path: Path) -> None:
    found = families()[family]
    assert found.tokenizer is not None
    tokenizer = train_tokenizer(corpus, found.tokenizer, 600)
    config = next(iter(found.presets.values()))
    sizes = {"width": 32, "heads": 2, "hidden": 128, "depth": 1, "vocab_size": tokenizer.vocab_size}
    shared = {"kv_heads": 1} if config.kv_heads else {}
    write_model(Model(found, config.model_copy(update=sizes | shared), "next_token"), tmp_path)
    tokenizer.save(tmp_path, 64)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("A plain sentence, with a comma.", "  Größe \n und 東京 😀", *corpus[:20]):
        (ids,) = tokenizer.encode([text])
        assert opened(text)["input_ids"] == [*tokenizer.before, *ids.tolist(), *tokenizer.after], text
        assert opened.decode(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("family", DECODERS)
def test_transformers_counts_what_we_count(family: str) -> None:
    """Of every published size, from the `config.json` that we write."""
    found = families()[family]
    architecture = getattr(transformers, found.ways_out["next_token"].architecture)
    for name, config in found.presets.items():
        with torch.device("meta"):
            model = Model(found, config, "next_token")
            reference = architecture(architecture.config_class(**config_json(model)))
        assert reference.num_parameters() == model.num_parameters, name
