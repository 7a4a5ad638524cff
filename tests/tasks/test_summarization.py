"""How documents and summaries are put to a model, and what is said of wrong data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import patchword as pw
from patchword.data.atomic import write_json
from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer
from patchword.errors import Notice, UserError
from patchword.models.family import Model, preset
from patchword.models.folder import config_json, write_model
from patchword.tasks.summaries import Form, SummaryExamples
from patchword.tasks.summarization import Summarization, lead_of
from patchword.tasks.task import Ask
from patchword.training.prepare import ask_for
from patchword.training.recipes import default_recipe
from patchword.training.run import RunConfig
from patchword.training.stages import finetune_settings

STYLE = TokenizerStyle(
    "bpe", {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, before=("bos",), after=("eos",)
)


@pytest.fixture(scope="module")
def tokenizer(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, STYLE, 400)


def table(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_decoder_says_the_summary_and_its_end_only(corpus: list[str], tokenizer: Tokenizer) -> None:
    form = Form("Read: ", "\nTL;DR: ", 64, 16)
    long = " ".join(corpus[:20])
    examples = SummaryExamples([long, "short"], ["a small one", "two"], tokenizer, form, None)
    batch = examples.batch(np.array([0, 1]), (0, 0))
    ends = tokenizer.id("eos")
    gold = [*tokenizer.encode(["a small one"])[0], ends, *tokenizer.encode(["two"])[0], ends]
    assert batch.targets.tolist() == gold
    first = next(iter(batch.inputs[0].sequences())).tolist()
    prompt = tokenizer.encode(["\nTL;DR: "])[0].tolist()
    context = first[: len(first) - len(tokenizer.encode(["a small one"])[0]) - 1]
    assert context[-len(prompt) :] == prompt
    assert len(context) == 64 - 16
    assert examples.dropped == len(tokenizer.encode(["Read: " + long])[0]) - (64 - 16 - 1 - len(prompt))


def test_encoder_decoder_is_given_the_summary_shifted(tokenizer: Tokenizer) -> None:
    examples = SummaryExamples(["a text"], ["one"], tokenizer, Form("", "", 64, 16), 1)
    batch = examples.batch(np.array([0]), (0, 0))
    assert batch.inputs[1].values.tolist() == [1, *batch.targets.tolist()[:-1]]
    assert batch.targets.tolist() == [*tokenizer.before, *tokenizer.encode(["one"])[0], *tokenizer.after]


def test_no_room_is_told(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="no room"):
        SummaryExamples(["a"], ["b"], tokenizer, Form("", "\nTL;DR: ", 20, 16), None)


def test_recognises_by_names(tmp_path: Path) -> None:
    assert Summarization.recognises(table(tmp_path / "a.jsonl", [{"article": "a", "highlights": "b"}]))
    assert not Summarization.recognises(table(tmp_path / "b.jsonl", [{"text": "a", "label": "b"}]))


@pytest.mark.parametrize("row", [{"document": " ", "summary": "b"}, {"document": "a", "summary": ""}])
def test_an_empty_cell_is_told_with_its_row(tmp_path: Path, row: dict[str, object]) -> None:
    data = table(tmp_path / "a.jsonl", [{"document": "a", "summary": "b"}, row])
    with pytest.raises(UserError, match="row 2"):
        Summarization.rows(Ask(data))


def test_the_lead_is_cut_where_it_suits_what_was_learnt_from(tokenizer: Tokenizer) -> None:
    """At the length that is in the middle, 2 words, it would be half as good."""
    documents = [f"a{i} b{i} c{i} d{i} e{i} f{i} g{i} h{i}. And more." for i in range(20)]
    summaries = [text[: text.index(f" g{i}")] if i % 5 < 2 else "other words" for i, text in enumerate(documents)]
    task = Summarization(tokenizer, Form("", "", 64, 16))
    train = SummaryExamples(documents, summaries, tokenizer, task.form, None)
    held_out = SummaryExamples(documents[:2], summaries[:2], tokenizer, task.form, None)
    assert task.floors(train, held_out)["lead"]["rougeL"] == 1.0


def test_of_summaries_one_seed_runs(rows: Path, tmp_path: Path, corpus: list[str]) -> None:
    """Nothing begins at random, so chance decides little, and each run of a large model takes long."""
    (tmp_path / "text.txt").write_text("\n\n".join(corpus))
    settings: dict[str, Any] = {"model": "gpt2-tiny", "steps": 1, "max_length": 32, "quiet": True}
    start = pw.pretrain(tmp_path / "text.txt", out=tmp_path / "start", **settings).folder
    assert finetune_settings(start, rows, "summarization").seeds == 1
    assert finetune_settings(start, rows, "summarization", seeds=3).seeds == 3


def test_lead_is_the_first_sentence_cut() -> None:
    assert lead_of("One two three. Four.", 12) == "One two three."
    assert lead_of("One two three. Four.", 2) == "One two"


def test_experts_are_kept_in_use(tokenizer: Tokenizer) -> None:
    """The loss of a mixture of experts exceeds the cross-entropy by weight x balance x targets (Mixtral's own sum)."""
    family, config = preset("mixtral-tiny")
    config = config.model_copy(update={"vocab_size": tokenizer.vocab_size})
    torch.manual_seed(0)
    model = Model(family, config, "next_token").eval()
    form = Form("", "\nTL;DR: ", 64, 16)
    batch = SummaryExamples(["a text", "b"], ["one", "two"], tokenizer, form, None).batch(np.arange(2), (0, 0))
    task = Summarization(tokenizer, form)
    with torch.no_grad():
        plain = task.loss(model, batch).item()
    whole = task.loss(model, batch).detach().item()
    routers = tuple(part.router_logits for part in model.modules() if getattr(part, "router_logits", None) is not None)
    theirs = transformers.models.mixtral.modeling_mixtral.load_balancing_loss_func(routers, config.experts, 2).detach()
    assert whole - plain == pytest.approx(config.balance * theirs.item() * batch.labels, rel=1e-3)


@pytest.fixture(scope="module")
def rows(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    table(path, [{"document": " ".join(corpus[i : i + 3]), "summary": corpus[i][:40]} for i in range(40)])
    return path


@pytest.mark.parametrize("name", ["t5-tiny", "bart-tiny", "gpt2-tiny"])
def test_transformers_writes_the_same(name: str, corpus: list[str], tmp_path: Path) -> None:
    """`generate` of transformers from the folder alone, without a setting, token for token."""
    family, config = preset(name)
    assert family.tokenizer is not None
    tokenizer = train_tokenizer(corpus, family.tokenizer, 400)
    roles = {"bos_token_id": "bos", "eos_token_id": "eos", "decoder_start_token_id": family.start}
    sizes = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad}
    sizes |= {k: tokenizer.id(role) for k, role in roles.items() if role and tokenizer.has(role)}
    torch.manual_seed(0)
    config = config.model_copy(update={name: value for name, value in sizes.items() if hasattr(config, name)})
    model = Model(family, config, "next_token")
    with torch.no_grad():  # so that what is written depends on what is read
        for part, tensor in model.named_parameters():
            if tensor.dim() == 2 and "words" not in part:
                tensor.normal_(std=0.3)
    task = Summarization(tokenizer, Form("sum up: ", "\nTL;DR: ", 48, 8))
    task.begin(model)
    write_model(model, tmp_path)
    tokenizer.save(tmp_path, 48)
    card = {"task": task.name, "max_length": 48, "settings": task.facts(), "report": {}}
    write_json(tmp_path / "patchword.json", card)

    decoder = name.startswith("gpt2")
    kind = transformers.AutoModelForCausalLM if decoder else transformers.AutoModelForSeq2SeqLM
    theirs = kind.from_pretrained(tmp_path).eval()
    documents = [" ".join(corpus[i : i + 3]) for i in range(6)]
    with pytest.warns(Notice, match=r"% of all tokens are cut off"):
        said = [row["summary"] for row in pw.load(tmp_path, device="cpu").predict(documents)]
    assert len(set(said)) > 1
    for document, summary in zip(documents, said, strict=True):
        ids = task.form.documents([document], tokenizer, decoder)[0][0].tolist()
        with torch.no_grad():
            written = theirs.generate(torch.tensor([ids]))[0].tolist()
        new = written[len(ids) :] if decoder else written[1:]
        assert len(new) <= 8
        whole = tokenizer.decode([*ids, *new])[len(tokenizer.decode(ids)) :] if decoder else tokenizer.decode(new)
        assert whole.strip() == summary


def test_the_starts_own_prefix_is_kept(rows: Path, tmp_path: Path) -> None:
    """T5's own weights were taught with "summarize: ", and their config.json says so."""
    family, config = preset("t5-tiny")
    with torch.device("meta"):
        fields = config_json(Model(family, config, "next_token"))
    recipe = default_recipe("finetune", "summarization", config.width, 40)
    run = RunConfig(stage="finetune", start=str(tmp_path), task="summarization", data=(str(rows),), recipe=recipe)
    write_json(tmp_path / "config.json", fields)
    assert ask_for(run).prefix == ""
    write_json(tmp_path / "config.json", fields | {"task_specific_params": {"summarization": {"prefix": "sum: "}}})
    assert ask_for(run).prefix == "sum: "
    assert ask_for(run.model_copy(update={"prefix": ""})).prefix == ""


def test_columns_found_by_name_are_not_told_as_asked(rows: Path, tokenizer: Tokenizer) -> None:
    ask = Ask(rows, test=rows, max_length=48, max_target_length=8)
    notes = Summarization.prepare(ask, tokenizer, lambda n: None).notes
    assert notes[0].startswith("documents: column 'document'; summaries: column 'summary'")
    assert "as asked" not in " ".join(notes)
    assert "(validation)" in notes[-1]
    assert "(test)" in notes[-1]
    with pytest.warns(Notice, match="cut off"):
        Summarization(tokenizer, Form("", "\n", 48, 8)).labelled(ask, tokenizer)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_documents_that_are_learnt_from_are_told(part: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = table(tmp_path / "a.jsonl", [{"document": f"bada fol {i}", "summary": "b"} for i in range(20)])
    rows = [{"document": "gen", "summary": "b"}, {"document": "Bada fol 3.", "summary": "other"}]
    ask = Ask(data, max_length=48, max_target_length=8, **{part: table(tmp_path / "apart.jsonl", rows)})
    prepared = Summarization.prepare(ask, tokenizer, lambda n: None)
    told = f"{part} rows that are in the training data: 1 of 2"
    (finding,) = prepared.facts["findings"]
    assert (finding["title"], finding["places"]) == (told, ["apart.jsonl, row 2"])
    assert any(note.startswith(told) for note in prepared.notes)


def test_documents_that_are_the_same_are_on_one_side(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Of nearly no others, there are too few to do so, and that is told."""
    data = table(tmp_path / "a.jsonl", [{"document": f"bada fol {i // 2}", "summary": f"s{i}"} for i in range(80)])
    for seed in range(5):
        ask = Ask(data, seed=seed, max_length=48, max_target_length=8)
        prepared = Summarization.prepare(ask, tokenizer, lambda n: None)
        train, held = (set(part.documents) for part in (prepared.train, prepared.validation))
        assert held
        assert not train & held
        assert any("80 rows that are the same as others are on the same side" in note for note in prepared.notes)
    same = table(tmp_path / "b.jsonl", [{"document": "bada", "summary": f"s{i}"} for i in range(20)])
    notes = Summarization.prepare(Ask(same, max_length=48, max_target_length=8), tokenizer, lambda n: None).notes
    assert any("the same ones are on both sides" in note for note in notes)
