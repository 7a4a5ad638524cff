"""Bad input: one message that says what, where and what to do; exit code 2; no traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import patchword as pw
from patchword.cli.main import main
from patchword.errors import Notice, UserError
from patchword.models.family import Model, preset
from patchword.models.folder import write_model

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must fail; gives what it said."""

    def call(*words: object, code: int = 2) -> str:
        monkeypatch.setattr(sys, "argv", ["patchword", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        assert exit_.value.code == code, said
        assert "Traceback" not in said.err
        return " ".join(said.err.split())

    return call


TEXTS = [
    ("a refund is late", "billing"),
    ("the app stops at start", "bug"),
    ("please send the invoice", "billing"),
] * 20


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder with a tokenizer of a few words."""
    from patchword.data.tokenizers import train_tokenizer

    folder = tmp_path_factory.mktemp("base")
    family, config = preset("bert-tiny")
    tokenizer = train_tokenizer([text for text, _ in TEXTS], family.tokenizer, 200)
    config = config.model_copy(update={"vocab_size": tokenizer.vocab_size})
    write_model(Model(family, config, "masked_token"), folder)
    tokenizer.save(folder, 512)
    return folder


def table(path: Path, rows: list[tuple[str, str]] = TEXTS, header: str = "text,label") -> Path:
    path.write_text(header + "\n" + "".join(f"{text},{label}\n" for text, label in rows), "utf-8")
    return path


def test_missing_column_names_the_near_one(run: Run, base: Path, tmp_path: Path) -> None:
    said = run("finetune", base, table(tmp_path / "t.csv"), "--label-column", "lable", "--out", tmp_path / "out")
    assert "lable" in said
    assert "'label'" in said
    assert "t.csv" in said


def test_empty_file(run: Run, base: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("")
    said = run("finetune", base, tmp_path / "t.csv", "--out", tmp_path / "out")
    assert "t.csv" in said
    assert "empty" in said


def test_not_utf8(run: Run, base: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\nколбаса,bug\n".encode("cp1251"))
    said = run("finetune", base, tmp_path / "t.csv", "--out", tmp_path / "out")
    assert "UTF-8" in said
    assert "t.csv" in said


def test_ragged_rows(run: Run, base: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,b\nc,d,e,f\n")
    said = run("finetune", base, tmp_path / "t.csv", "--out", tmp_path / "out")
    assert "row 3" in said


def test_unseen_label_at_evaluation_stops_with_its_row(run: Run, base: Path, tmp_path: Path) -> None:
    import patchword as pw

    pw.finetune(base, table(tmp_path / "t.csv"), out=tmp_path / "out", steps=2, seeds=1, quiet=True)
    test = table(tmp_path / "test.csv", [("a refund", "billing"), ("it stops", "bugs")])
    said = run("evaluate", tmp_path / "out", test)
    assert "test.csv, row 3" in said
    assert "'bugs'" in said
    assert "'bug'" in said


def test_output_folder_that_holds_another_run(run: Run, base: Path, tmp_path: Path) -> None:
    import patchword as pw

    data = table(tmp_path / "t.csv")
    pw.finetune(base, data, out=tmp_path / "out", steps=2, seeds=1, quiet=True)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    said = run("finetune", base, data, "--out", tmp_path / "out")
    assert "another run" in said
    assert "--overwrite" in said
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_a_folder_that_is_not_ours_is_never_replaced(run: Run, base: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.txt").write_text("x")
    said = run("finetune", base, table(tmp_path / "t.csv"), "--out", tmp_path / "photos", "--overwrite")
    assert "not empty" in said
    assert (tmp_path / "photos" / "precious.txt").exists()


def test_vocabulary_and_config_that_do_not_match(run: Run, base: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base, tmp_path / "wrong")
    config = json.loads((base / "config.json").read_text())
    config["vocab_size"] = 50
    (tmp_path / "wrong" / "config.json").write_text(json.dumps(config))
    said = run("finetune", tmp_path / "wrong", table(tmp_path / "t.csv"), "--out", tmp_path / "out")
    assert "ids" in said
    assert "50" in said
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_no_space(run: Run, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    said = run("finetune", base, table(tmp_path / "t.csv"), "--out", tmp_path / "out")
    assert "GB free" in said


def test_nan_loss_keeps_what_there_is(run: Run, base: Path, tmp_path: Path) -> None:
    said = run(
        "finetune",
        base,
        table(tmp_path / "t.csv"),
        "--out",
        tmp_path / "out",
        "--lr",
        "1e30",
        "--steps",
        50,
        "--warmup",
        0,
    )
    assert "no number" in said
    assert "--lr" in said


def test_settings_out_of_range(run: Run, base: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv")
    assert "lr" in run("finetune", base, data, "--out", tmp_path / "out", "--lr", "-1")
    assert "minutes" in run("finetune", base, data, "--out", tmp_path / "out", "--steps", 1, "--minutes", 1)
    assert "positions" in run("finetune", base, data, "--out", tmp_path / "out", "--max-length", 5000)
    import patchword as pw

    # What failed before it began is not in the way of the next try.
    assert pw.finetune(base, data, out=tmp_path / "out", steps=1, seeds=1, quiet=True).report["steps"] == 1


def test_names_that_do_not_exist(run: Run, base: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv")
    assert "'bert-mini'" in run("pretrain", data, "--model", "bert-minni", "--out", tmp_path / "out")
    assert "no model folder" in run("finetune", "./nowhere", data, "--out", tmp_path / "out")
    assert "does not exist" in run("pretrain", tmp_path / "no.txt", "--model", "bert-mini", "--out", tmp_path / "out")
    assert "holds no run" in run("resume", tmp_path)
    assert "no task" in run("finetune", base, data, "--task", "text-clasification", "--out", tmp_path / "out")
    assert "reads images" in run("pretrain", data, "--model", "vit-tiny-16", "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--image-size", 32), ("image_size", "it is for image-classification")),
        (("--lora-rank", 4), ("lora_rank", "--tune lora or dora")),
        (("--lora-rank", 4, "--tune", "head"), ("lora_rank", "--tune lora or dora")),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(
    run: Run, base: Path, tmp_path: Path, settings: tuple, words: tuple
) -> None:
    said = run("finetune", base, table(tmp_path / "t.csv"), *settings, "--out", tmp_path / "out")
    for word in words:
        assert word in said


def test_a_small_vocabulary_for_a_large_table_is_doubtful(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    family, config = preset("bert-tiny")
    write_model(Model(family, config.model_copy(update={"vocab_size": 4000}), "masked_token"), folder)
    with pytest.warns(Notice, match=r"4,000\. Is it this model's own"):
        pw.load(folder)


@pytest.mark.parametrize(("given", "words"), [(None, "no text"), (3, "of type int"), (b"refund", "of type bytes")])
def test_what_is_no_text_has_no_label(base: Path, tmp_path: Path, given: object, words: str) -> None:
    settings = {"steps": 1, "seeds": 1, "quiet": True}
    model = pw.load(pw.finetune(base, table(tmp_path / "t.csv"), out=tmp_path / "out", **settings).folder)
    with pytest.raises(UserError, match=f"Input 2: .*{words}"):
        model.predict(["a refund", given])


def test_a_finished_run_is_not_resumed(run: Run, base: Path, tmp_path: Path) -> None:
    import patchword as pw

    pw.finetune(base, table(tmp_path / "t.csv"), out=tmp_path / "out", steps=2, seeds=1, quiet=True)
    assert "finished" in run("resume", tmp_path / "out")


def test_a_pretrained_model_predicts_nothing_yet(run: Run, base: Path) -> None:
    assert "finetune" in run("predict", base, "some words")


def images(folder: Path) -> Path:
    for name, colour in (("cats", "red"), ("dogs", "blue")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (20 + i, 20), colour).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("kind", ["broken", "one pixel"])
def test_images_that_can_not_be_used_are_named_before_training(run: Run, tmp_path: Path, kind: str) -> None:
    photos = images(tmp_path / "photos")
    if kind == "broken":
        (photos / "cats" / "bad.png").write_bytes(b"\x89PNG nothing")
    else:
        Image.new("RGB", (1, 1)).save(photos / "cats" / "bad.png")
    said = run("pretrain", photos, "--model", "vit-tiny-16", "--out", tmp_path / "out", "--steps", 1)
    assert "bad.png" in said


def test_an_empty_class_folder(run: Run, tmp_path: Path) -> None:
    photos = images(tmp_path / "photos")
    (photos / "birds").mkdir()
    said = run("pretrain", photos, "--model", "vit-tiny-16", "--out", tmp_path / "out", "--steps", 1)
    assert "birds" in said


def test_a_cmyk_image_is_read(tmp_path: Path) -> None:
    import patchword as pw

    photos = images(tmp_path / "photos")
    Image.new("CMYK", (24, 24)).save(photos / "cats" / "print.jpg")
    result = pw.pretrain(
        photos, model="vit-tiny-16", out=tmp_path / "out", steps=1, image_size=16, patch_size=8, quiet=True
    )
    assert result.report["steps"] == 1


def test_a_text_of_a_million_tokens(base: Path, tmp_path: Path) -> None:
    import patchword as pw

    rows = [*TEXTS, ("late " * 1_000_000, "bug")]
    data = table(tmp_path / "t.csv", rows)
    result = pw.finetune(base, data, out=tmp_path / "out", steps=2, seeds=1, windows="never", quiet=True)
    card = json.loads((result.folder / "patchword.json").read_text())
    assert card["data"]["dropped_tokens"] >= 900_000


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder with its tokenizer."""
    from patchword.data.tokenizers import train_tokenizer

    folder = tmp_path_factory.mktemp("writer")
    family, config = preset("gpt2-tiny")
    tokenizer = train_tokenizer([text for text, _ in TEXTS], family.tokenizer, 300)
    sizes = {"vocab_size": tokenizer.vocab_size, "max_length": 32, "bos_token_id": 0, "eos_token_id": 0}
    write_model(Model(family, config.model_copy(update=sizes), "next_token"), folder)
    tokenizer.save(folder, 32)
    return folder


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--top-p", 2], "top_p = 2.0"),
        (["--top-p", 0.5], "give a temperature"),
        (["--max-new-tokens", 0], "max_new_tokens = 0"),
        (["--beams", 0], "beams = 0"),
        (["--beams", 2, "--temperature", 1], "one of the two"),
        (["--stop", ""], "stop = ''"),
        (["--temperature", "1e-40"], "give 0"),
        (["--temperature", "nan"], "temperature"),
    ],
)
def test_settings_of_writing_are_told_before_a_model_is_read(
    run: Run, writer: Path, tmp_path: Path, settings: list, words: str
) -> None:
    shutil.copy(writer / "config.json", tmp_path)  # no weights, no tokenizer
    assert words in run("generate", tmp_path, "hi", *settings)


def test_the_generation_config_of_a_folder_is_followed_or_refused(run: Run, writer: Path, tmp_path: Path) -> None:
    shutil.copytree(writer, tmp_path / "writer")
    file = tmp_path / "writer" / "generation_config.json"
    file.write_text('{"guidance_scale": 2.0}')
    assert "generation_config.json: guidance_scale = 2.0 is not supported" in run("generate", file.parent, "hi")
    file.write_text('{"num_beams": 2}')
    assert "(generation_config.json has num_beams = 2)" in run("generate", file.parent, "hi", "--temperature", 1)
    file.write_text("[1, 2]")
    assert "generation_config.json holds no JSON object" in run("generate", file.parent, "hi")


def test_what_can_not_be_written_to(run: Run, base: Path, writer: Path) -> None:
    assert "bert model with the way out 'masked_token' does not write" in run("generate", base, "hi")
    assert "no model folder" in run("generate", "./nowhere", "hi")
    assert "has positions for 32 only" in run("generate", writer, "late " * 60)
    assert "surrogate" in run("generate", writer, "caf\udce9 au lait")


def test_an_image_folder_does_not_write(run: Run, tmp_path: Path) -> None:
    family, config = preset("vit-tiny-16")
    config = config.model_copy(update={"image_size": (32, 32), "depth": 1})
    write_model(Model(family, config, "class", ("cat", "dog")), tmp_path)
    assert "vit model" in run("generate", tmp_path, "hi")


def test_an_empty_text_is_no_path_and_has_a_vector(writer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import patchword as pw
    from patchword.cli.inputs import read_inputs

    model = pw.load(writer)
    assert read_inputs([""], model) == ([""], [""])
    assert len(model.generate(["", "a refund"], max_new_tokens=2)) == 2
    assert model.features(["", "a refund"]).shape == (2, model.model.config.width)


@pytest.mark.parametrize(
    ("model", "task", "can"),
    [
        ("bert-tiny", "causal-lm", "masked-lm"),
        ("t5-tiny", "causal-lm", "span-corruption"),
        ("gpt2-tiny", "span-corruption", "causal-lm"),
        ("mixtral-tiny", "masked-lm", "causal-lm"),
    ],
)
def test_a_model_that_can_not_learn_a_task_says_what_it_can(
    run: Run, tmp_path: Path, model: str, task: str, can: str
) -> None:
    said = run("pretrain", table(tmp_path / "t.csv"), "--model", model, "--task", task, "--out", tmp_path / "out")
    assert f"can not learn {task}" in said
    assert can in said
    assert not (tmp_path / "out").exists()


def test_tokenizers_without_what_a_task_needs(run: Run, base: Path, writer: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv")
    for model, tokenizer, words in (
        ("gpt2-tiny", base, "ends a text (eos)"),
        ("t5-tiny", base, "sentinels"),
        ("bart-tiny", writer, "mask token"),
        ("bert-tiny", writer, "mask token"),
    ):
        options = ("--model", model, "--tokenizer", tokenizer, "--out", tmp_path / "out")
        assert words in run("pretrain", data, *options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_head": 3}, "among 3 heads"),
        ({"model_type": "gtp2"}, "did you mean 'gpt2'"),
        ({"n_layer": "two"}, "n_layer"),
        ({"vocab_size": 200}, "the model was built for 200"),
    ],
)
def test_configs_that_contradict_themselves(
    run: Run, writer: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    shutil.copytree(writer, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert words in run("generate", tmp_path / "model", "hi")


def test_help_is_quick_because_torch_is_not_imported() -> None:
    code = (
        "import sys\nfrom patchword.cli.main import main\nsys.argv = ['patchword', 'finetune', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "labels" in done.stdout


def test_predicting_loads_no_compiler(writer: Path) -> None:
    """torch's own takes as long to import as the rest of torch, and nothing on a CPU asks for it."""
    code = (
        "import sys, patchword\n"
        f"patchword.load({str(writer)!r}, device='cpu').generate(['hi'], max_new_tokens=2)\n"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_the_commands_are_loaded_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from patchword.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "patchword: interrupted.\n")
