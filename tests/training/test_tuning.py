"""Which parameters learn, how fast and when: against the papers' formulas, and by watching weights in a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import read_model
from patchword.tasks.task import Compute
from patchword.training.checkpoint import TrainState
from patchword.training.loop import Interrupted, _evaluate
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe
from patchword.training.run import RunConfig
from patchword.training.stages import Result, finetune, finetune_settings, pretrain, resume
from patchword.training.tracking import Tracker
from patchword.training.tuning import freeze_trunk, learning, levels, thaw
from tests.training.test_resume import assert_same_run

SIZES: dict[str, Any] = {"width": 16, "depth": 3, "heads": 2, "hidden": 32, "dropout": 0.1}
TEXT: dict[str, Any] = {"vocab_size": 50, "max_length": 16}


def build(family: str, way_out: str, **more: Any) -> Model:
    kind = families()[family]
    labels = ("a", "b") if way_out == "class" else ()
    return Model(kind, kind.config(**SIZES, **more), way_out, labels)


def level_of(model: Model, name: str) -> int:
    return levels(model)[name]


# ------------------------------------------------------------------------------------------------ levels and rates


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_rates_fall_layer_by_layer(family: str) -> None:
    """Bao et al. 2022, their code: decay^(L + 1 - level), 0 the embeddings, 1 to L the layers, L + 1 the head."""
    more = TEXT if family == "bert" else {"image_size": (8, 8), "patch_size": 4}
    model = build(family, "class", **more)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for group in make_optimizer(model, Recipe(steps=1, lr=0.1, layer_decay=0.5)).param_groups:
        found |= {names[id(parameter)]: group["factor"] for parameter in group["params"]}
    assert found.keys() == set(names.values())
    for name, factor in found.items():
        if name.startswith("trunk.encoder.layers."):
            expected = 0.5 ** (4 - (int(name.split(".")[3]) + 1))
        elif name.startswith("trunk.encoder.norm"):
            expected = 0.5
        else:
            expected = 1.0 if name.startswith("head.") else 0.5**4
        assert factor == expected, name


def test_a_decoder_stands_above_its_encoder() -> None:
    model = build("t5", "next_token", decoder_depth=2, head_size=8, **TEXT)
    assert level_of(model, "trunk.source.words.weight") == 0
    assert level_of(model, "trunk.encoder.layers.2.attention.out.weight") == 3
    assert level_of(model, "trunk.encoder.norm.weight") == 3
    assert level_of(model, "trunk.decoder.layers.0.cross.out.weight") == 4
    assert level_of(model, "trunk.decoder.norm.weight") == 5


def test_stages_of_a_convolutional_network_are_its_layers() -> None:
    kind = families()["resnet"]
    model = Model(kind, kind.presets["resnet-18"], "class", ("a", "b"))
    found = {name: level for name, level in levels(model).items() if ".norm" not in name}
    count = len(model.trunk.stages)
    assert {level for name, level in found.items() if name.startswith("trunk.stem.")} == {0}
    for stage in range(count):
        assert {level for name, level in found.items() if name.startswith(f"trunk.stages.{stage}.")} == {stage + 1}
    assert {level for name, level in found.items() if name.startswith("head.")} == {count + 1}


def test_a_step_moves_a_layer_by_its_own_rate(corpus_rows: Path, start: Path, tmp_path: Path) -> None:
    """AdamW's first step moves each weight by about the rate, whatever its gradient is."""
    settings = {"steps": 1, "schedule": "wsd", "warmup": 0.0, "weight_decay": 0.0, "lr": 1e-3, "eps": 1e-12}
    result = finetune(
        start, corpus_rows, out=tmp_path / "run", layer_decay=0.5, head_lr=4, seeds=1, quiet=True, clip=1e9, **settings
    )
    before = read_model(start).model
    moved = dict(result.model.named_parameters())
    for layer, factor in ((0, 0.25), (1, 0.5)):
        name = f"trunk.encoder.layers.{layer}.feedforward.up.weight"
        step = (moved[name] - dict(before.named_parameters())[name]).abs().median()
        assert step.item() == pytest.approx(1e-3 * factor, rel=0.02)
    # The bias of a new head begins at 0, and what is saved is divided by a temperature.
    bias = moved["head.scores.bias"] * result.report["calibration"]["temperature"]
    assert bias.abs().median().item() == pytest.approx(1e-3 * 4, rel=0.02)


def test_a_new_head_learns_as_fast_whatever_else_learns(corpus_rows: Path, start: Path) -> None:
    recipes = {tune: finetune_settings(start, corpus_rows, tune=tune).recipe for tune in ("all", "lora", "head")}
    assert recipes["all"].head_lr > 10
    assert recipes["lora"].lr * recipes["lora"].head_lr == pytest.approx(recipes["all"].lr * recipes["all"].head_lr)
    assert recipes["head"].head_lr == 1.0
    assert finetune_settings(start, corpus_rows, tune="lora", head_lr=7).recipe.head_lr == 7


def test_a_head_that_is_known_already_is_not_hurried(corpus_rows: Path, start: Path, tmp_path: Path) -> None:
    settings = {"steps": 1, "warmup": 0.0, "schedule": "wsd", "lr": 1e-3, "eps": 1e-12, "clip": 1e9, "seeds": 1}
    first = finetune(start, corpus_rows, out=tmp_path / "first", quiet=True, **settings)
    before = {name: p.detach().clone() for name, p in read_model(first.folder).model.named_parameters()}
    again = finetune(first.folder, corpus_rows, out=tmp_path / "again", quiet=True, **settings)
    calibration = again.report["calibration"]["temperature"]
    bias = dict(again.model.named_parameters())["head.scores.bias"] * calibration
    assert (bias - before["head.scores.bias"]).abs().max().item() == pytest.approx(1e-3, rel=0.05)


# ------------------------------------------------------------------------------------------------ what is frozen


def test_layers_thaw_from_the_top() -> None:
    """Three layers, so five levels: a new one at every eighth of the run until its half."""
    model = build("bert", "class", **TEXT)
    for progress, lowest in ((0.0, 4), (0.124, 4), (0.126, 3), (0.26, 2), (0.38, 1), (0.49, 1), (0.5, 0), (1.0, 0)):
        thaw(model, progress)
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad == (levels(model)[name] >= lowest), (progress, name)
            assert parameter.requires_grad or not model.get_submodule(name.rpartition(".")[0]).training
    thaw(model, 0.0)  # whatever was before, how far the run is decides
    assert not any(p.requires_grad for p in model.trunk.parameters())


def test_a_model_whose_head_is_its_word_table_begins_with_the_last_layer() -> None:
    model = build("gpt2", "next_token", **TEXT)
    thaw(model, 0.0)
    assert {levels(model)[name] for name, p in model.named_parameters() if p.requires_grad} == {3}
    with pytest.raises(UserError, match="no weights of its own"):
        freeze_trunk(model)


def test_a_frozen_trunk_is_used_as_it_is() -> None:
    """No dropout, and a batch norm does not count."""
    model = build("bert", "class", **TEXT)
    freeze_trunk(model)
    learning(model)
    assert not any(part.training for part in model.trunk.modules())
    assert model.head.training
    assert model.head.dropout.training


# ------------------------------------------------------------------------------------------------ runs


@pytest.fixture(scope="module")
def start(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("start") / "run"
    pretrain(corpus_file, model="bert-tiny", lines=True, vocab_size=400, max_length=16, steps=2, out=out, quiet=True)
    return out


@pytest.fixture(scope="module")
def corpus_rows(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [{"text": text, "label": "ab"[len(text) % 2]} for text in corpus[:120]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


WAYS: list[dict[str, Any]] = [
    {"tune": "head"},
    {"tune": "lora", "lora_dropout": 0.1},
    {"tune": "dora"},
    {"unfreeze": True},
    {"layer_decay": 0.5},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_every_way_resumes_exactly(way: dict[str, Any], start: Path, corpus_rows: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8, "dropout": 0.1, "evaluations": 3, "checkpoint_steps": 2}
    settings |= {"seeds": 1, "quiet": True, **way}
    finetune(start, corpus_rows, out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        finetune(start, corpus_rows, out=tmp_path / "cut", stop_after=3, **settings)
    with pytest.raises(Interrupted):
        resume(tmp_path / "cut", quiet=True, stop_after=9)
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    if "tune" in way and way["tune"] != "head":
        adapters = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("whole", "cut")]
        assert all(torch.equal(tensor, adapters[1][name]) for name, tensor in adapters[0].items())


def trunk(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for name, t in read_model(folder).model.named_parameters() if name.startswith("trunk.")}


def learnt(start: Path, rows: Path, out: Path, **way: Any) -> Result:
    return finetune(start, rows, out=out, steps=6, batch_size=8, seeds=1, quiet=True, **way)


def test_the_head_alone_learns(start: Path, corpus_rows: Path, tmp_path: Path) -> None:
    learnt(start, corpus_rows, tmp_path / "run", tune="head")
    before = trunk(start)
    for name, tensor in trunk(tmp_path / "run").items():
        assert torch.equal(tensor, before[name]), name
    checkpoint = load_file(next((tmp_path / "run" / "checkpoints").glob("step-*")) / "state.safetensors")
    kept = {name.split(".")[1] for name in checkpoint if name.startswith("optimizer.")}
    assert kept == {"head"}


def test_a_run_leaves_a_merged_model_and_an_adapter_that_give_the_same(
    start: Path, corpus_rows: Path, tmp_path: Path
) -> None:
    result = learnt(start, corpus_rows, tmp_path / "run", tune="lora", lr=0.01)
    before = trunk(start)
    moved = [name for name, tensor in trunk(tmp_path / "run").items() if not torch.equal(tensor, before[name])]
    assert moved
    assert all("layers" in name and name.endswith("weight") for name in moved)
    assert not any("norm" in name for name in moved)

    ids = torch.randint(5, 400, (2, 11))
    kind = transformers.BertForSequenceClassification
    merged = kind.from_pretrained(result.folder).eval()
    base = kind.from_pretrained(start, num_labels=2).eval()
    opened = peft.PeftModel.from_pretrained(base, result.folder / "adapter")
    with torch.no_grad():
        assert (merged(ids).logits - opened(ids).logits).abs().max() <= 1e-5
    settings = json.loads((result.folder / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(start.resolve())


def test_a_regression_leaves_an_adapter_in_the_unit_of_its_targets(
    start: Path, corpus: list[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text, "label": 100.5 + len(text)}) + "\n" for text in corpus[:90]))
    result = learnt(start, rows, tmp_path / "run", tune="dora", problem="regression")
    kind = transformers.BertForSequenceClassification
    opened = peft.PeftModel.from_pretrained(kind.from_pretrained(start, num_labels=1), result.folder / "adapter").eval()
    ids = torch.randint(5, 400, (2, 11))
    with torch.no_grad():
        expected = kind.from_pretrained(result.folder).eval()(ids).logits
        assert (opened(ids).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert expected.min() > 80


def test_learning_rates_differ_by_what_learns(start: Path, corpus_rows: Path, tmp_path: Path) -> None:
    rates = {}
    for tune in ("all", "lora"):
        learnt(start, corpus_rows, tmp_path / tune, tune=tune)
        rates[tune] = RunConfig(**json.loads((tmp_path / tune / "run.json").read_text())).recipe.lr
    assert rates["lora"] > rates["all"]
    learnt(start, corpus_rows, tmp_path / "said", tune="lora", lr=0.123)
    assert RunConfig(**json.loads((tmp_path / "said" / "run.json").read_text())).recipe.lr == 0.123


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ({"tune": "some"}, "tune 'some': Input should be 'all', 'head', 'lora' or 'dora'"),
        ({"tune": "lora", "unfreeze": True}, "does not go with tune lora"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"tune": "lora", "lora_rank": 0}, "lora_rank"),
        ({"keep": "first"}, "keep 'first': Input should be 'best' or 'last'"),
        ({"keep": "last", "patience": 2}, "do not go with keep last"),
    ],
)
def test_what_does_not_go_together_is_told(
    way: dict[str, Any], told: str, start: Path, corpus_rows: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        learnt(start, corpus_rows, tmp_path / "run", **way)


# ------------------------------------------------------------------------------------------------ averages


class Told:
    """A task whose validation is a function of one weight, so that the best mean is known."""

    def __init__(self, target: float) -> None:
        self.target = target

    def evaluate(self, model: Model, examples: Any, compute: Any) -> dict[str, float]:
        return {"loss": abs(model.head.scores.bias[0].item() - self.target)}

    def better(self, metrics: dict[str, float]) -> tuple[float, ...]:
        return (-metrics["loss"],)


def averaged(values: list[float], target: float, folder: Path) -> tuple[TrainState, list[float]]:
    """What is kept after evaluations at which the weight had these values."""
    model = build("bert", "class", **TEXT)
    state = TrainState(model, make_optimizer(model, Recipe(steps=9, lr=0.1)))
    data: Any = SimpleNamespace(task=Told(target), validation=None)
    kept = []
    with Tracker(None, quiet=True) as tracker:
        for value in values:
            state.step += 1
            torch.nn.init.constant_(model.head.scores.bias, value)
            _evaluate(state, data, Recipe(steps=9, lr=0.1, average=True), Compute(), tracker, folder, None)
            assert model.head.scores.bias[0].item() == pytest.approx(value)  # the run goes on from its own weights
            kept.append(load_file(state.best_weights(folder))["head.scores.bias"][0].item())
    return state, kept


def test_the_end_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    model = build("bert", "class", **TEXT)
    state = TrainState(model, make_optimizer(model, Recipe(steps=9, lr=0.1)))
    data: Any = SimpleNamespace(task=Told(0.0), validation=None)
    called_best: list[bool] = []
    tracker: Any = SimpleNamespace(evaluation=lambda step, metrics, best: called_best.append(best))
    for value, best_step in ((1.0, 1), (3.0, 2), (2.0, 3)):
        state.step += 1
        torch.nn.init.constant_(model.head.scores.bias, value)
        _evaluate(state, data, Recipe(steps=9, lr=0.1, keep="last"), Compute(), tracker, tmp_path, None)
        assert state.best_step == best_step
        assert load_file(state.best_weights(tmp_path))["head.scores.bias"][0] == value
    assert not any(called_best)  # what is kept is the last, so nothing is said to be the best so far


def test_few_rows_of_text_keep_the_end_unless_validation_is_asked(start: Path, corpus_rows: Path) -> None:
    assert finetune_settings(start, corpus_rows).recipe.keep == "last"
    assert finetune_settings(start, corpus_rows, patience=2).recipe.keep == "best"
    assert finetune_settings(start, corpus_rows, average=True).recipe.keep == "best"
    assert finetune_settings(start, corpus_rows, keep="best").recipe.keep == "best"


def test_dropout_is_what_the_start_learnt_with(start: Path, corpus_rows: Path, tmp_path: Path) -> None:
    """With what a model has never met it forgets more than it learns: so says its folder, and not the recipe."""
    assert (
        finetune_settings(start, corpus_rows).recipe.dropout
        == json.loads((start / "config.json").read_text())["hidden_dropout_prob"]
    )
    other = shutil.copytree(start, tmp_path / "other")
    config = json.loads((other / "config.json").read_text()) | {"hidden_dropout_prob": 0.25}
    (other / "config.json").write_text(json.dumps(config))
    assert finetune_settings(other, corpus_rows).recipe.dropout == 0.25
    assert finetune_settings(other, corpus_rows, dropout=0.05).recipe.dropout == 0.05
    learnt = finetune(other, corpus_rows, out=tmp_path / "run", steps=1, seeds=1, quiet=True)
    assert learnt.model.config.dropout == 0.25
    assert json.loads((tmp_path / "run" / "config.json").read_text())["hidden_dropout_prob"] == 0.25


def test_a_mean_is_kept_where_validation_prefers_it(tmp_path: Path) -> None:
    """The target is 3: 0, its mean with 8, theirs with 2 (a third each), alone 3.1; 9 spoils any mean."""
    state, kept = averaged([0.0, 8.0, 2.0, 3.1, 9.0], 3.0, tmp_path)
    assert kept == pytest.approx([0.0, 4.0, 10 / 3, 3.1, 3.1])
    assert (state.averaged, state.best_step, state.since_best) == (1, 4, 1)
    state, kept = averaged([0.0, 8.0, 2.0, 2.5], 3.0, tmp_path / "other")
    assert kept == pytest.approx([0.0, 4.0, 10 / 3, (0 + 8 + 2 + 2.5) / 4])
    assert (state.averaged, state.best_step, state.since_best) == (4, 4, 0)


def test_an_average_resumes_exactly(start: Path, corpus_rows: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 8,
        "evaluations": 8,
        "checkpoint_steps": 3,
        "seeds": 1,
        "quiet": True,
    }
    settings |= {"average": True, "lr": 3e-3, "head_lr": 1, "dropout": 0.1}
    whole = finetune(start, corpus_rows, out=tmp_path / "whole", **settings)
    assert whole.report["averaged"] > 1  # else the test would show nothing
    with pytest.raises(Interrupted):
        finetune(start, corpus_rows, out=tmp_path / "cut", stop_after=10, **settings)
    with pytest.raises(Interrupted):
        resume(tmp_path / "cut", quiet=True, stop_after=20)
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
