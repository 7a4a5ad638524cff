"""No option without effect: each acts somewhere, and is refused by name where it would not be read."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from patchword.cli.main import app, main
from patchword.data.tokenizers import train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, preset
from patchword.models.folder import write_model
from patchword.study.space import Space
from patchword.tasks.options import readers_of, refuse_unread
from patchword.tasks.task import Ask, tasks
from patchword.training.recipe import Recipe
from patchword.training.run import RunConfig
from patchword.training.stages import _settle, finetune_settings

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TRAINING = ("pretrain", "finetune", "sweep")
OPTIONS = {
    name: {one.name for one in command.params if one.param_type_name == "option" and one.name != "help"}
    for name, command in COMMANDS.items()
}

OF_THE_COMMAND = {
    "pretrain": {"out", "overwrite", "quiet", "model", "start", "task"},
    "finetune": {"out", "overwrite", "quiet", "task"},
    "sweep": {"out", "overwrite", "quiet", "task", "trials", "minutes"},
}
"""Options that are no setting of a run: what it begins with, where it writes, and what a sweep does by itself."""

OTHERS = {
    "check": "validation test model text_column pair_column image_column label_column problem where json strict",
    "resume": "quiet",
    "report": "out",
    "evaluate": "text_column image_column label_column pair_column where image_size json device precision",
    "predict": "out probabilities skip_bad overwrite text_column pair_column image_column where image_size device "
    "precision quiet",
    "generate": "max_new_tokens temperature top_k top_p min_p beams length_penalty repetition_penalty "
    "no_repeat_ngram_size stop text_column where seed device",
    "embed": "out pool near overwrite top text_column image_column where device",
    "info": "",
    "explain": "length batch training targets head as_json",
    "export": "onnx int8 features data overwrite text_column image_column label_column pair_column where",
    "presets": "",
    "demo": "out quiet",
}
"""All options of the commands that do not train. One that does not act on every input is in `REFUSED`."""

VALUES: dict[str, tuple[str, str, Any]] = {
    # setting: (model, data, a value that is not the default)
    "image_column": ("vit-tiny-16", "pictures.csv", "file"),
    "label_column": ("bert", "rows.csv", "label"),
    "pair_column": ("bert", "rows.csv", "other"),
    "lines": ("bert-tiny", "text.txt", True),
    "tokenizer": ("bert-tiny", "text.txt", "bert"),
    "image_size": ("vit-tiny-16", "images", 32),
    "patch_size": ("vit-tiny-16", "images", 8),
    "augment": ("vit-tiny-16", "images", "light"),
    "label_smoothing": ("bert", "rows.csv", 0.1),
    "doc_stride": ("bert:question-answering", "questions.jsonl", 64),
    "prefix": ("gpt:summarization", "summaries.csv", "say: "),
    "prompt": ("gpt:summarization", "summaries.csv", "so: "),
    "max_target_length": ("gpt:summarization", "summaries.csv", 9),
    "extend_vocab": ("bert:masked-lm", "text.txt", 5),
    "whole_word": ("bert-tiny", "text.txt", True),
    "mask_share": ("bert-tiny", "text.txt", 0.4),
    "z_loss": ("bert-tiny", "text.txt", 1e-4),
    "vocab_size": ("bert-tiny", "text.txt", 300),
    "length_ramp": ("bert-tiny", "text.txt", 0.3),
    "text_column": ("bert", "rows.csv", "text"),
    "where": ("bert", "rows.csv", "other=same"),
    "problem": ("bert", "rows.csv", "single_label_classification"),
    "windows": ("bert", "rows.csv", "always"),
    "class_weights": ("bert", "rows.csv", "auto"),
    "validation": ("bert", "rows.csv", "rows.csv"),
    "test": ("bert", "rows.csv", "rows.csv"),
    "tune": ("bert", "rows.csv", "head"),
    "optimizer": ("bert", "rows.csv", "muon"),
    "schedule": ("bert", "rows.csv", "wsd"),
    "keep": ("bert", "rows.csv", "best"),
    "lora_targets": ("bert", "rows.csv", "attention"),
    "precision": ("bert", "rows.csv", "bf16"),
    "device": ("bert", "rows.csv", "cpu"),
    "unfreeze": ("bert", "rows.csv", True),
    "average": ("bert", "rows.csv", True),
    "max_length": ("bert", "rows.csv", 33),
}
NUMBERS = {"epochs": 7.0, "steps": 7, "minutes": 7.0, "batch_size": 7, "lora_rank": 3, "patience": 3, "evaluations": 7}
NEEDS = {"lora_rank": "lora", "lora_alpha": "lora", "lora_dropout": "lora", "lora_targets": "lora"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data of each kind, and tiny model folders."""
    folder = tmp_path_factory.mktemp("options")
    texts = ["a refund is late", "the app stops at start", "please send the invoice"] * 8
    (folder / "text.txt").write_text("\n".join(texts))
    rows = [f"{text} {i},same,{'ab'[i % 2]}" for i, text in enumerate(texts)]
    (folder / "rows.csv").write_text("\n".join(["text,other,label", *rows]))
    (folder / "summaries.csv").write_text(
        "\n".join(["document,summary", *(f"{t} {i},late" for i, t in enumerate(texts))])
    )
    one = '{"question": "what is late %d", "context": "a refund is late", "answer": "refund"}'
    (folder / "questions.jsonl").write_text("\n".join(one % i for i in range(20)))
    for number in range(8):
        path = folder / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 2, 3)).save(path)
    pictures = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.glob("images/*/*.png"))]
    (folder / "pictures.csv").write_text("\n".join(["file,label", *pictures]))
    for name, way_out in (("bert-tiny", "masked_token"), ("gpt2-tiny", "next_token")):
        family, config = preset(name)
        tokenizer = train_tokenizer(texts, family.tokenizer, 300)
        config = config.model_copy(update={"vocab_size": tokenizer.vocab_size})
        out = folder / {"bert-tiny": "bert", "gpt2-tiny": "gpt"}[name]
        write_model(Model(family, config, way_out), out)
        tokenizer.save(out, 128)
    family, config = preset("vit-tiny-16")
    write_model(Model(family, config, "class", ("a", "b"), "single_label_classification"), folder / "vit")
    return folder


def settled(place: Path, model: str, data: str, **settings: Any) -> dict[str, Any]:
    """The resolved settings of a run."""
    start, _, task = model.partition(":")
    anew = not (place / start).is_dir()
    task = task or (preset(start)[0].objective if anew else "text-classification")
    stage = "finetune" if task in ("text-classification", "question-answering", "summarization") else "pretrain"
    return _settle(stage, start if anew else str(place / start), task, place / data, settings).model_dump()


def test_every_option_of_every_command_is_listed() -> None:
    assert set(OPTIONS) == set(OTHERS) | set(TRAINING)
    for command, options in OTHERS.items():
        assert OPTIONS[command] == set(options.split()), command
    settings = set(RunConfig.model_fields | Recipe.model_fields)
    for command in TRAINING:
        assert OPTIONS[command] - OF_THE_COMMAND[command] <= settings, command


@pytest.mark.parametrize("option", sorted(set.union(*(OPTIONS[name] - OF_THE_COMMAND[name] for name in TRAINING))))
def test_an_option_of_training_changes_the_resolved_settings(option: str, place: Path) -> None:
    model, data, value = VALUES.get(option, ("bert", "rows.csv", NUMBERS.get(option)))
    more: dict[str, Any] = {"tune": NEEDS[option]} if option in NEEDS else {}
    more |= {"device": "cpu"} if option != "device" else {}
    before = settled(place, model, data, **more)
    if value is None:
        own = before[option] if option in before else before["recipe"][option]
        metadata = (RunConfig.model_fields | Recipe.model_fields)[option].annotation
        value = (own or 0) + 3 if "int" in str(metadata) else (own or 0.0) / 2 + 0.2
    value = str(place / value) if option in ("tokenizer", "validation", "test") else value
    assert settled(place, model, data, **more, **{option: value}) != before


@pytest.mark.parametrize("name", sorted(tasks()))
def test_a_task_declares_what_it_reads_and_refuses_the_rest(name: str) -> None:
    kind = tasks()[name]
    source = "".join(
        inspect.getsource(sys.modules[one.__module__]) for one in kind.__mro__ if one.__module__ in _MODULES
    )
    read = set(re.findall(r"\bask\.(\w+)", source))
    other = {"text": {"image_column"}, "image": {"text_column", "pair_column"}}[kind.modality]
    of_ask = {field.name for field in fields(Ask)}
    dependent = {setting for setting in of_ask if readers_of(setting)}
    assert dependent & set(kind.heeds) <= read
    assert (read & dependent) - other <= set(kind.heeds)
    every = set().union(*(one.heeds for one in tasks().values()))
    assert every <= set(RunConfig.model_fields | Recipe.model_fields)
    refuse_unread(kind.heeds, kind)
    for setting in every - set(kind.heeds):
        with pytest.raises(UserError, match=f"{setting}: .* it is for "):
            refuse_unread([setting], kind)


_MODULES = {
    one.__module__ for kind in tasks().values() for one in kind.__mro__ if one.__module__.startswith("patchword.tasks.")
} - {"patchword.tasks.task"}

REFUSED = [
    ("generate gpt hi --top-k 5", "top_k: only for tokens that are drawn"),
    ("generate gpt hi --top-p 1", "top_p: only for tokens that are drawn"),
    ("generate gpt hi --min-p 0.1", "min_p: only for"),
    ("generate gpt hi --seed 0", "seed: only for"),
    ("generate gpt hi --length-penalty 2", "give --beams"),
    ("generate gpt hi --where a=b", "--where is for files"),
    ("embed bert rows.csv --out v.parquet --top 3", "--top: only for --near"),
    ("embed bert rows.csv --near hi --overwrite", "--overwrite: only for --out"),
    ("embed bert rows.csv --near hi --image-column text", "image_column: "),
    ("predict bert rows.csv --overwrite", "--overwrite: only for --out"),
    ("predict vit images --text-column text", "text_column: image_classification has no use"),
    ("predict bert hi --image-size 32", "--image-size 32"),
    ("evaluate vit pictures.csv --pair-column file", "pair_column: image_classification has no use"),
    ("export bert --onnx m.onnx --where a=b", "where: only for --data"),
    ("explain vit-tiny-16 --targets 0.15", "targets: only for heads that score words"),
    ("explain vit-tiny-16 --length 5", "--length is for models that read texts"),
    ("check images --model bert", "--model: only for texts"),
    ("check questions.jsonl --problem regression", "problem: question_answering has no use"),
    ("finetune bert rows.csv --out o --prefix x", "prefix: text_classification has no use"),
    ("finetune bert rows.csv --out o --doc-stride 9", "doc_stride: text_classification has no use"),
    ("finetune bert rows.csv --out o --augment light", "augment: text_classification has no use"),
    ("finetune bert rows.csv --out o --lora-rank 4", "lora_rank: only for --tune lora"),
    ("finetune bert rows.csv --out o --tune head --layer-decay 0.8", "layer_decay: only for layers that learn"),
    ("finetune gpt summaries.csv --out o --head-lr 5", "head_lr: only for tasks whose head is new"),
    ("finetune gpt summaries.csv --out o --class-weights auto", "class_weights: summarization has no use"),
    ("sweep bert rows.csv --out o --image-size 32", "image_size: text_classification has no use"),
    ("pretrain text.txt --model bert-tiny --out o --label-column x", "label_column: masked_lm has no use"),
    ("pretrain text.txt --model gpt2-tiny --out o --whole-word", "whole_word: causal_lm has no use"),
    ("pretrain text.txt --model gpt2-tiny --out o --mask-share 0.3", "mask_share: causal_lm has no use"),
    ("pretrain rows.csv --model bert-tiny --out o --lines", "lines: only for .txt files"),
    ("pretrain text.txt --model bert-tiny --out o --tokenizer bert --vocab-size 300", "vocab_size: only for"),
    ("pretrain images --model vit-mae-tiny --out o --vocab-size 300", "vocab_size: masked_image has no use"),
    ("pretrain text.txt --from bert --out o --vocab-size 300", "vocab_size: such settings are for a new model"),
    ("pretrain text.txt --model bert-tiny --out o --layer-decay 0.9", "layer_decay: such settings go on"),
]


@pytest.mark.parametrize(("command", "words"), REFUSED, ids=[command for command, _ in REFUSED])
def test_an_option_that_would_not_be_read_is_refused(
    command: str, words: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["patchword", *command.split()])
    with pytest.raises(SystemExit) as exit_:
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert exit_.value.code == 2, said
    assert words in said
    assert not (place / "o").exists()


def test_a_sweep_tries_no_setting_that_a_trial_would_refuse(place: Path) -> None:
    texts = finetune_settings(place / "bert", place / "rows.csv", device="cpu")
    written = finetune_settings(place / "gpt", place / "summaries.csv", "summarization", device="cpu")
    assert "head_lr" in Space.around(texts, ()).distributions
    assert "head_lr" not in Space.around(written, ()).distributions
    assert "head" in Space.around(texts, ()).distributions["tune"].choices  # type: ignore[attr-defined]
    chosen = Space.around(texts, ("layer_decay",)).distributions["tune"]
    assert "head" not in chosen.choices  # type: ignore[attr-defined]
