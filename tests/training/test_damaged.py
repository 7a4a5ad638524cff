"""A damaged file of a run is one message with its name and what to do, in every command that reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patchword as pw
from patchword.errors import Notice, UserError
from patchword.report.run_page import run_page
from patchword.training.loop import Interrupted
from patchword.training.run import check_settings
from patchword.training.tracking import read_metrics

HOW: dict[str, Any] = {"quiet": True, "precision": "fp32", "device": "cpu", "max_length": 16}


@pytest.fixture(scope="module")
def runs(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a finished run of it, and one of two seeds that stopped in the second."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("\n".join(corpus[:100]))
    pw.pretrain(folder / "text.txt", model="bert-tiny", lines=True, vocab_size=400, steps=1, out=folder / "base", **HOW)
    rows = [json.dumps({"text": text, "label": "ab"[i % 2]}) for i, text in enumerate(corpus[:40])]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    pw.finetune(folder / "base", folder / "rows.jsonl", out=folder / "done", seeds=1, steps=1, **HOW)

    def stop(number: int, metrics: object, score: float) -> None:
        if (folder / "half" / "seeds" / "0" / "result.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        pw.finetune(
            folder / "base", folder / "rows.jsonl", out=folder / "half", seeds=2, steps=2, evaluations=1,
            checkpoint_steps=1, watch=stop, **HOW,
        )  # fmt: skip
    return folder


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda value: {name: cell for name, cell in value.items() if name != key}


def with_(**cells: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: value | cells


RAW = [b"", b"{", b"[]", b"null", b"3", b"\xff\xfe\x00", b'{"a": ' * 100_000, b"NaN", b"[" * 100_000]
CHANGES: dict[str, list[Callable[[dict[str, Any]], Any]]] = {
    "state.json": [
        lambda value: {}, without("position"), with_(step="8"), with_(step=-1), with_(step=1.5), with_(position=[1]),
        with_(position={"epoch": 0}), with_(seconds=float("nan")), with_(best=3), with_(averaged=None),
    ],
    "result.json": [
        lambda value: {}, without("validation"), with_(validation=[]), with_(validation={"loss": "x"}),
        with_(step=None), with_(seconds=float("inf")), with_(more=1),
    ],
    "patchword.json": [
        lambda value: {}, without("data"), with_(data=[]), with_(data={"files": []}), with_(labels="ab"),
        with_(max_length="x"), with_(max_length=-5), with_(settings=[]), with_(report=[]), with_(report={}),
        with_(versions=3), with_(start=None), with_(fingerprints={"data": 1}),
    ],
    "run.json": [
        lambda value: {}, without("recipe"), with_(recipe={}), with_(recipe=[]), with_(seed=-1), with_(seeds=0),
        with_(data="x"), with_(more=1), with_(start=3),
    ],
}  # fmt: skip


def damages(name: str, path: Path) -> list[bytes]:
    value = json.loads(path.read_bytes())
    return RAW + [json.dumps(change(value)).encode() for change in CHANGES[name]]


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("half", "seeds/1/checkpoints/step-00000001/state.json"),
        ("half", "seeds/0/result.json"),
        ("half", "patchword.json"),
        ("half", "run.json"),
        ("done", "patchword.json"),
        ("done", "run.json"),
    ],
)
def test_every_reader_names_the_file_and_what_to_do(folder: str, file: str, runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / folder, tmp_path / "run"))
    path = run / file
    calls: list[Callable[[], object]] = [lambda: pw.resume(run, quiet=True)]
    if folder == "done":
        calls = [lambda: run_page([run])]
    for content in damages(path.name, path):
        path.write_bytes(content)
        for call in calls:
            with pytest.raises(UserError) as error:
                call()
            message = str(error.value)
            assert path.name in message, content[:80]
            assert "Restore" in message or "Delete" in message, message
            assert len(message) < 1000


def test_whoever_uses_the_model_reads_a_card_or_names_it(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "done", tmp_path / "run"))
    path = run / "patchword.json"
    messages = []
    for content in damages(path.name, path):
        path.write_bytes(content)
        try:
            pw.load(run, "cpu")
        except UserError as error:
            messages.append(str(error))
    assert len(messages) >= 15
    assert [message for message in messages if "patchword.json" not in message and "not finished" not in message] == []


def test_the_remedies_work(runs: Path, tmp_path: Path) -> None:
    whole, cut = (Path(shutil.copytree(runs / "half", tmp_path / name)) for name in ("whole", "cut"))
    expected = pw.resume(whole, quiet=True).report["cross_validation"]["runs"]
    shutil.rmtree(cut / "seeds" / "0")
    shutil.rmtree(cut / "seeds" / "1" / "checkpoints" / "step-00000001")
    found = pw.resume(cut, quiet=True).report["cross_validation"]["runs"]
    assert [seed["validation"] for seed in found] == [seed["validation"] for seed in expected]


def test_damaged_metrics_are_counted_and_the_others_read(tmp_path: Path) -> None:
    good = [{"kind": "train", "step": step, "loss": 1.0, "lr": 0.1} for step in (1, 2, 3)]
    lines = [json.dumps(line).encode() for line in good]
    bad = [b"\xff\xfe", b"[1]", b'{"kind": "train"}', b'{"kind": "train", "step": "x"}', b"[" * 100_000]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([lines[0], *bad, lines[1], lines[2], b'{"kind": "tr']))
    with pytest.warns(Notice, match="5 lines are damaged and left out, the first is line 2"):
        assert read_metrics(tmp_path) == good
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines, b"\xff\xfe"]))  # as a kill leaves it
    assert read_metrics(tmp_path) == good


@pytest.mark.parametrize(
    "given",
    [
        {"seed": -1},
        {"seed": 99999999999999999999},
        {"seeds": 0},
        {"image_size": 0},
        {"image_size": 100000},
        {"patch_size": -3},
        {"max_length": 0},
        {"vocab_size": -1},
        {"steps": 10**30},
        {"batch_tokens": 0},
        {"lr": float("inf")},
        {"lr": float("nan")},
        {"minutes": float("inf")},
        {"dropout": 1.0},
        {"lora_rank": 10**9},
        {"workers": 10**6},
        {"label_smoothing": -0.1},
        {"doc_stride": 0},
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(given: dict[str, Any], tmp_path: Path) -> None:
    (name, _), *_ = given.items()
    absent = tmp_path / "absent"
    for call in (
        lambda: check_settings(given),
        lambda: pw.finetune(absent, absent, out=tmp_path / "out", **given),
        lambda: pw.pretrain(absent, model="bert-tiny", out=tmp_path / "out", **given),
        lambda: pw.sweep(absent, absent, out=tmp_path / "out", **given) if name != "seeds" else check_settings(given),
    ):
        with pytest.raises(UserError, match=rf"^{name} .*(Input should|finite)"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_names_the_near_one() -> None:
    with pytest.raises(UserError, match="no setting 'sead'; did you mean 'seed'"):
        check_settings({"sead": 1})
