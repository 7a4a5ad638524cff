"""Pretraining that goes on from a model: nothing that it had learnt is lost, and it can be done again and again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file

from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.folder import describe, read_model
from patchword.training.loop import Interrupted
from patchword.training.run import RunConfig
from patchword.training.stages import finetune, pretrain, resume
from patchword.training.verdict import BEFORE, PROBE, paid
from tests.training.test_resume import assert_same_run

SETTINGS: dict[str, Any] = {"lines": True, "max_length": 16, "batch_size": 16, "precision": "fp32", "quiet": True}
STILL: dict[str, Any] = {"steps": 1, "lr": 1e-30, "weight_decay": 0.0}
"""A run that moves nothing: what it leaves is what it began with."""

KINDS = {"bert-tiny": 400, "gpt2-tiny": 400, "t5-tiny": 700, "bart-tiny": 400}


@pytest.fixture(scope="module")
def starts(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each objective."""
    folder = tmp_path_factory.mktemp("starts")
    for model, size in KINDS.items():
        pretrain(corpus_file, model=model, vocab_size=size, steps=2, out=folder / model, **SETTINGS)
    return {model: folder / model for model in KINDS}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_model(folder).model.tensors())


def run_of(folder: Path) -> RunConfig:
    return RunConfig(**json.loads((folder / "run.json").read_text()))


@pytest.mark.parametrize("model", KINDS)
def test_all_weights_and_the_vocabulary_are_taken(
    model: str, starts: dict[str, Path], corpus_file: Path, tmp_path: Path
) -> None:
    """For each objective, with the head that it was pretrained with."""
    out = tmp_path / "run"
    pretrain(corpus_file, start=starts[model], out=out, **SETTINGS, **STILL)
    before, after = weights(starts[model]), weights(out)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert (after[name] - tensor).abs().max() <= 1e-12, name
    assert run_of(out).task == run_of(starts[model]).task
    assert (out / "tokenizer.json").read_text() == (starts[model] / "tokenizer.json").read_text()
    assert describe(out).config.model_dump() == describe(starts[model]).config.model_dump()


def test_layers_between_the_start_and_what_was_learnt(
    starts: dict[str, Path], corpus_file: Path, tmp_path: Path
) -> None:
    """Each number of the trunk lies on the line; the head is what was learnt."""
    of: dict[float, dict[str, torch.Tensor]] = {}
    for share in (1.0, 0.25):
        out = tmp_path / str(share)
        result = pretrain(corpus_file, start=starts["bert-tiny"], steps=4, lr=0.01, blend=share, out=out, **SETTINGS)
        of[share] = weights(out)
    assert result.report["validation"]["loss"] > 0
    for name, began in weights(starts["bert-tiny"]).items():
        learnt = of[1.0][name]
        expected = began + 0.25 * (learnt - began) if name.startswith("trunk.") else learnt
        assert (of[0.25][name] - expected).abs().max() <= 1e-6, name  # rounding of numbers of about 1
    moved = of[1.0]["trunk.embed.words.weight"] - of[0.25]["trunk.embed.words.weight"]
    assert moved.abs().max() > 1e-3


def test_labels_say_whether_it_paid(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    """Beside the probe on the start is that on what the start went on from; for a start that did not, there is none."""
    rows = tmp_path / "rows.jsonl"
    texts = corpus_file.read_text().splitlines()[:120]
    rows.write_text("".join(json.dumps({"text": text, "label": "ab"[len(text) % 2]}) + "\n" for text in texts))
    more = {"steps": 1, "seeds": 1, "test": rows, "quiet": True, "precision": "fp32"}
    first = finetune(starts["bert-tiny"], rows, out=tmp_path / "first", **more).report
    assert BEFORE not in first["test_floors"]
    assert paid(first) == ""
    for name, learns in (("same", STILL), ("lost", {"steps": 6, "lr": 0.3})):
        pretrain(corpus_file, start=starts["bert-tiny"], out=tmp_path / name, **SETTINGS, **learns)
        report = finetune(tmp_path / name, rows, out=tmp_path / f"{name}-run", **more).report
        for part in ("floors", "test_floors"):
            assert report[part][BEFORE] == pytest.approx(first[part][PROBE], abs=1e-9)
        if name == "same":
            assert report["test_floors"][PROBE] == report["test_floors"][BEFORE]
            assert "can not be said" in paid(report)
        else:
            assert report["test_floors"][PROBE] != report["test_floors"][BEFORE]
            shutil.copytree(starts["bert-tiny"], tmp_path / "broken")
            card = json.loads((tmp_path / name / "patchword.json").read_text()) | {"start": str(tmp_path / "broken")}
            (tmp_path / name / "patchword.json").write_text(json.dumps(card))
            (tmp_path / "broken" / "model.safetensors").unlink()
            again = finetune(tmp_path / name, rows, out=tmp_path / "again", **more).report
            assert PROBE in again["test_floors"]
            assert BEFORE not in again["test_floors"]
        assert paid(report) in (tmp_path / f"{name}-run" / "README.md").read_text()


@pytest.mark.parametrize(
    ("now", "then", "told"), [(0.9, 0.5, "It paid."), (0.5, 0.9, "NOT pay"), (0.7, 0.71, "can not be said")]
)
def test_intervals_decide_whether_it_paid(now: float, then: float, told: str) -> None:
    def scores(value: float) -> dict[str, float]:
        return {"accuracy": value, "accuracy_low": value - 0.05, "accuracy_high": value + 0.05}

    report = {"validation": scores(0.9), "floors": {PROBE: scores(now), BEFORE: scores(then)}}
    assert told in paid(report)


def test_what_was_learnt_helps(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    """The first loss after it went on is the last one before, not that of random weights."""
    base = tmp_path / "base"
    more = {**SETTINGS, "vocab_size": 400, "evaluations": 1}
    result = pretrain(corpus_file, model="bert-tiny", steps=60, lr=3e-3, out=base, **more)
    again = pretrain(corpus_file, start=base, out=tmp_path / "again", **SETTINGS, **STILL)
    random = pretrain(corpus_file, model="bert-tiny", out=tmp_path / "random", **SETTINGS, **STILL, vocab_size=400)
    learnt = result.report["validation"]["loss"]
    assert again.report["validation"]["loss"] == pytest.approx(learnt, rel=0.02)
    assert random.report["validation"]["loss"] > learnt + 0.2


def test_a_folder_without_the_head_gets_a_new_one(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    """A classifier goes on as a masked language model; its word table is tied, so the scores of words are not new."""
    rows = tmp_path / "rows.jsonl"
    texts = corpus_file.read_text().splitlines()[:60]
    rows.write_text("".join(json.dumps({"text": text, "label": "ab"[len(text) % 2]}) + "\n" for text in texts))
    classifier = finetune(starts["bert-tiny"], rows, steps=1, seeds=1, out=tmp_path / "classes", quiet=True).folder
    result = pretrain(corpus_file, start=classifier, out=tmp_path / "run", **SETTINGS, **STILL)
    assert result.model.way_out == "masked_token"
    before, after = weights(classifier), weights(tmp_path / "run")
    for name, tensor in before.items():
        if name.startswith("trunk."):
            assert (after[name] - tensor).abs().max() <= 1e-12, name


def test_pictures_go_on(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"photos/{number}.png")
    settings: dict[str, Any] = {"batch_size": 8, "quiet": True}
    base = pretrain(
        tmp_path / "photos", model="vit-mae-tiny", patch_size=4, steps=1, out=tmp_path / "base", **settings
    ).folder
    out = pretrain(tmp_path / "photos", start=base, out=tmp_path / "run", **settings, **STILL).folder
    assert run_of(out).task == "masked_image"
    assert describe(out).config.model_dump() == describe(base).config.model_dump()
    after = weights(out)
    for name, tensor in weights(base).items():
        assert (after[name] - tensor).abs().max() <= 1e-12, name


def test_it_resumes_exactly_and_learns_more_slowly(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 6, "checkpoint_steps": 2, "evaluations": 2}
    pretrain(corpus_file, start=starts["bert-tiny"], out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        pretrain(corpus_file, start=starts["bert-tiny"], out=tmp_path / "cut", stop_after=3, **settings)
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert run_of(tmp_path / "whole").recipe.lr < run_of(starts["bert-tiny"]).recipe.lr


def test_a_language_model_goes_on_with_an_adapter(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(corpus_file, start=starts["gpt2-tiny"], tune="lora", steps=2, lr=0.01, out=out, **SETTINGS)
    kept = load_file(out / "adapter" / "adapter_model.safetensors")
    assert all(".lora_" in name for name in kept)
    before, after = weights(starts["gpt2-tiny"]), weights(out)
    assert torch.equal(before["trunk.embed.words.weight"], after["trunk.embed.words.weight"])
    assert not torch.equal(
        before["trunk.decoder.layers.0.attention.qkv.weight"], after["trunk.decoder.layers.0.attention.qkv.weight"]
    )
    assert Tokenizer.load(out).vocab_size == Tokenizer.load(starts["gpt2-tiny"]).vocab_size


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, r"--model.*--from"),
        ({"model": "bert-tiny", "start": "x"}, r"--model.*--from"),
        ({"model": "bert-tiny", "tune": "lora"}, r"tune: such settings go on from weights"),
        ({"start": "bert-tiny", "vocab_size": 300}, r"vocab_size: such settings are for a new model"),
        ({"model": "bert-tiny", "blend": 0.5}, r"blend: such settings go on from weights"),
        ({"start": "bert-tiny", "blend": 0.5, "tune": "lora"}, r"blend .* with tune lora"),
        ({"model": "bert-tiny", "extend_vocab": 3}, r"extend_vocab: such settings go on from weights"),
        ({"start": "nowhere/at/all"}, r"no model folder"),
    ],
)
def test_what_can_not_be_is_told(
    given: dict[str, Any], told: str, starts: dict[str, Path], corpus_file: Path, tmp_path: Path
) -> None:
    given = given | ({"start": starts["bert-tiny"]} if given.get("start") == "bert-tiny" else {})
    with pytest.raises(UserError, match=told):
        pretrain(corpus_file, out=tmp_path / "run", **given)


def test_a_new_word_begins_as_the_mean_of_what_it_was_cut_into(
    starts: dict[str, Path], corpus_file: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(corpus_file.read_text() + "\n" + "Filmkunterbund meets zanzibardo.\n" * 40)
    start, out = starts["bert-tiny"], tmp_path / "run"
    pretrain(text, start=start, extend_vocab=2, out=out, **SETTINGS, **STILL)
    old, new = Tokenizer.load(start), Tokenizer.load(out)
    assert {new.token(i) for i in range(old.vocab_size, new.vocab_size)} == {"filmkunterbund", "zanzibardo"}
    assert describe(out).config.vocab_size == new.vocab_size
    before, after = weights(start), weights(out)
    for name in ("trunk.embed.words.weight", "head.scores.bias"):
        assert (after[name][: old.vocab_size] - before[name]).abs().max() <= 1e-12
        for i in range(old.vocab_size, new.vocab_size):
            mean = before[name][torch.from_numpy(old.encode([new.token(i)])[0]).long()].mean(0)
            assert (after[name][i] - mean).abs().max() <= 1e-6
    theirs = transformers.BertForMaskedLM.from_pretrained(out)
    assert theirs.get_input_embeddings().weight.shape[0] == new.vocab_size


def test_an_extended_vocabulary_resumes_exactly(starts: dict[str, Path], corpus_file: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 4, "checkpoint_steps": 2, "evaluations": 2, "extend_vocab": 5}
    pretrain(corpus_file, start=starts["bert-tiny"], out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        pretrain(corpus_file, start=starts["bert-tiny"], out=tmp_path / "cut", stop_after=1, **settings)
    for path in (tmp_path / "cut" / "checkpoints").glob("step-*/*"):
        path.unlink()
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
