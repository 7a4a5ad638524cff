"""LoRA and DoRA against PEFT: what a run leaves behind is opened by it, and gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import read_model, write_model
from patchword.nn.packing import Packed
from patchword.training.adapters import Adapted, adapt, merge, write_adapter
from patchword.training.recipe import Recipe

SIZES: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "hidden": 24}
TEXT: dict[str, Any] = {"vocab_size": 50, "max_length": 16}
MODELS = [
    ("bert", "class", TEXT),
    ("roberta", "class", TEXT),
    ("distilbert", "token_class", TEXT),
    ("gpt2", "class", {**TEXT, "pad_token_id": 0}),
    ("gpt2", "next_token", TEXT),
    ("llama", "next_token", {**TEXT, "kv_heads": 1}),
    ("modernbert", "class", TEXT),
    ("t5", "next_token", {**TEXT, "head_size": 8, "decoder_depth": 1}),
    ("vit", "class", {"image_size": (8, 8), "patch_size": 4}),
    ("deit", "class_distilled", {"image_size": (8, 8), "patch_size": 4}),
    ("dinov2_with_registers", "class", {"image_size": (8, 8), "patch_size": 4, "hidden": 64, "layer_scale": 0.5}),
]


def recipe(tune: str, **more: Any) -> Recipe:
    return Recipe(steps=1, lr=0.1, tune=tune, lora_rank=3, lora_alpha=5.0, **more)


def start(family: str, way_out: str, more: dict[str, Any], folder: Path) -> Model:
    """A tiny model in a folder, and read again."""
    torch.manual_seed(0)
    kind = families()[family]
    sizes = {name: value for name, value in (SIZES | more).items() if name in kind.config.model_fields}
    labels = ("a", "b", "c") if "class" in way_out else ()
    model = Model(kind, kind.config(**sizes, init_std=0.2), way_out, labels)
    write_model(model, folder)
    return read_model(folder).model.eval()


def moved(model: Model) -> Model:
    """As if it had learnt: everything that learns stands somewhere else."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def inputs(model: Model) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if model.family.modality == "image":
        return torch.randn(3, 3, 8, 8, generator=generator)
    return torch.randint(4, 50, (1, 9), generator=generator)


def logits(model: Model) -> Tensor:
    given = inputs(model)
    with torch.no_grad():
        return model(given if given.ndim == 4 else Packed.from_sequences(list(given)))


def theirs(model: Model, folder: Path) -> transformers.PreTrainedModel:
    kind = getattr(transformers, model.family.way_out(model.way_out).architecture)
    found: transformers.PreTrainedModel = kind.from_pretrained(folder).eval()
    return found


def their_logits(model: torch.nn.Module, given: Tensor) -> Tensor:
    more = {}
    if model.config.is_encoder_decoder:  # it reads along, one behind
        more["decoder_input_ids"] = given.roll(1, 1).index_fill(1, torch.tensor([0]), 0)
    with torch.no_grad():
        found: Tensor = model(given, **more).logits
    return found.flatten(0, -2)


@pytest.mark.parametrize("tune", ["lora", "dora"])
@pytest.mark.parametrize(("family", "way_out", "more"), MODELS)
def test_peft_opens_an_adapter_and_gives_the_same(
    family: str, way_out: str, more: dict[str, Any], tune: str, tmp_path: Path
) -> None:
    model = start(family, way_out, more, tmp_path / "start")
    before = logits(model)
    adapt(model, recipe(tune), ())
    assert (logits(model) - before).abs().max() <= 1e-5  # B begins with zeros
    moved(model)
    expected = logits(model)
    assert (expected - before).abs().max() > 1e-3

    write_adapter(model, recipe(tune), str(tmp_path / "start"), tmp_path / "adapter")
    opened = peft.PeftModel.from_pretrained(theirs(model, tmp_path / "start"), tmp_path / "adapter")
    assert (their_logits(opened, inputs(model)) - expected).abs().max() <= 1e-5
    assert (their_logits(opened.merge_and_unload(), inputs(model)) - expected).abs().max() <= 1e-5

    merge(model)
    assert not any(isinstance(part, Adapted) for part in model.modules())
    assert (logits(model) - expected).abs().max() <= 1e-5
    write_model(model, tmp_path / "merged")
    assert (their_logits(theirs(model, tmp_path / "merged"), inputs(model)) - expected).abs().max() <= 1e-5


def test_attention_alone_can_be_adapted(tmp_path: Path) -> None:
    model = start("bert", "class", TEXT, tmp_path)
    told = adapt(model, recipe("lora", lora_targets="attention"), ())
    found = {name for name, part in model.named_modules() if isinstance(part, Adapted)}
    layers = [f"trunk.encoder.layers.{number}.attention" for number in range(2)]
    assert found == {f"{layer}.{part}" for layer in layers for part in ("qkv", "out")}
    # A and B of four matrices in each layer, and the head.
    learnt = 2 * 4 * (3 * 16 + 16 * 3) + 16 * 16 + 16 + 3 * 16 + 3
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == learnt
    assert told == f"LoRA: {learnt / 1e6:.2f} M of 0.0 M parameters learn."


def test_the_scores_of_words_are_left_as_they_are(tmp_path: Path) -> None:
    model = start("bert", "masked_token", TEXT, tmp_path)
    adapt(model, recipe("lora"), ())
    assert not any(p.requires_grad for p in model.head.parameters())
    with pytest.raises(UserError, match="have to be learnt whole"):
        adapt(read_model(tmp_path).model, recipe("lora"), ("head.dense.weight",))


def test_models_without_linear_layers_are_told() -> None:
    kind = families()["resnet"]
    sizes = {"image_size": (32, 32), "stem_width": 8, "widths": (8, 16), "depths": (1, 1), "layer": "basic"}
    fields = {name: value for name, value in sizes.items() if name in kind.config.model_fields}
    model = Model(kind, next(iter(kind.presets.values())).model_copy(update=fields), "class", ("a", "b"))
    with pytest.raises(UserError, match="no linear layers to adapt"):
        adapt(model, recipe("lora"), ())


def test_experts_are_left_out_and_their_attention_is_adapted() -> None:
    kind = families()["mixtral"]
    model = Model(kind, kind.presets["mixtral-tiny"], "next_token")
    adapt(model, recipe("lora"), ())
    found = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, Adapted)}
    assert found == {"qkv", "out"}


def test_dropout_thins_what_the_matrices_see_and_only_while_learning(tmp_path: Path) -> None:
    model = moved_model(tmp_path, lora_dropout=0.5)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))


def moved_model(folder: Path, **more: Any) -> Model:
    model = start("bert", "class", TEXT, folder)
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    adapt(model, recipe("lora", **more), ())
    return moved(model)
