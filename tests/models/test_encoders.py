"""What encoders' folders can be besides what transformers writes today, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from patchword.data.tokenizers import train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, families, preset
from patchword.models.folder import describe, make_config, read_model, write_model
from patchword.nn.packing import Packed
from tests.models.cases import bert, distilbert, modernbert, roberta, xlm_roberta
from tests.models.parity import TOLERANCE, scrambled


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of `config.json`; `...` removes one."""
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))


def test_both_heads_of_berts_pretraining_are_read(tmp_path: Path) -> None:
    both = scrambled(transformers.BertForPreTraining(transformers.BertConfig(**bert.SIZES)))
    both.save_pretrained(tmp_path)
    ids = torch.randint(5, 67, (3, 9), generator=torch.Generator().manual_seed(0))
    segments = (torch.arange(9) >= 4).long().expand(3, 9)
    with torch.no_grad():
        answer = both(input_ids=ids, token_type_ids=segments)
        for way_out, expected in (
            ("masked_token", answer.prediction_logits.flatten(0, 1)),
            ("next_sentence", answer.seq_relationship_logits),
        ):
            loaded = read_model(tmp_path, way_out=way_out)
            assert loaded.new == ()
            ours = loaded.model.eval()(replace(Packed.from_sequences(list(ids)), segments=segments.flatten()))
            assert (ours - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("Bert", bert.SIZES),
        ("Roberta", roberta.SIZES),
        ("XLMRoberta", xlm_roberta.SIZES),
        ("DistilBert", distilbert.SIZES),
        ("ModernBert", modernbert.SIZES),
    ],
)
def test_token_classes_without_names_are_two(kind: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    theirs = getattr(transformers, f"{kind}ForTokenClassification")
    theirs(theirs.config_class(**sizes)).save_pretrained(tmp_path)
    edit(tmp_path, id2label=..., label2id=...)
    loaded = read_model(tmp_path)
    assert loaded.model.labels == ("LABEL_0", "LABEL_1")
    assert loaded.new == loaded.unused == ()


def test_modernbert_as_transformers_4_describes_it(tmp_path: Path) -> None:
    """The published config's keys; what transformers 5 reads from the same file is the reference."""
    config = transformers.ModernBertConfig(**modernbert.AS_IN_VERSION_4)
    theirs = scrambled(transformers.ModernBertModel(config))
    theirs.save_pretrained(tmp_path)
    edit(
        tmp_path,
        layer_types=...,
        rope_parameters=...,
        dtype=...,
        torch_dtype="float32",
        transformers_version="4.48.0",
        global_attn_every_n_layers=2,
        global_rope_theta=5000.0,
        local_rope_theta=300.0,
        position_embedding_type="absolute",
        reference_compile=None,
        layer_norm_eps=1e-5,
    )
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    loaded = read_model(tmp_path)
    config = loaded.model.config
    assert (config.global_every, config.window, config.global_base, config.local_base) == (2, 2, 5000.0, 300.0)
    ids = torch.randint(5, 67, (2, 15), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = loaded.model.eval()(Packed.from_sequences(list(ids)))
        assert (ours - theirs(ids).last_hidden_state.flatten(0, 1)).abs().max() <= TOLERANCE


def test_a_modernbert_with_a_vocabulary_of_its_own_names_no_ids_beyond_it(tmp_path: Path) -> None:
    family, config = preset("modernbert-base")
    changes = {"depth": 2, "width": 16, "heads": 2, "hidden": 16, "vocab_size": 20, "pad_token_id": 3}
    write_model(Model(family, config.model_copy(update=changes), "masked_token"), tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id) == (3, None, None)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (None, None)


@pytest.mark.parametrize(("way_out", "logits"), [("masked_token", "MaskedLM"), ("class", "SequenceClassification")])
def test_our_own_encoders_are_opened_by_transformers(way_out: str, logits: str, tmp_path: Path) -> None:
    """With the preset's positions and windows; over two windows long, so that layers of both kinds differ."""
    family, config = preset("patchword-mini")
    model = scrambled(Model(family, config.model_copy(update={"vocab_size": 50}), way_out, ("a", "b", "c")))
    write_model(model, tmp_path)
    theirs = getattr(transformers, f"AutoModelFor{logits}").from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == f"ModernBertFor{logits}"
    ids = torch.randint(5, 50, (2, 150), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        ours = model.eval()(Packed.from_sequences(list(ids)))
    assert (ours - expected.reshape(ours.shape)).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer_types": ["sliding_attention"] * 3 + ["full_attention"]}, r"layers \[3\] look at the whole sequence"),
        (
            {"layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"]},
            r"layers \[0, 1, 3\] look",
        ),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1e5}}}, "type 'yarn'"),
        ({"norm_bias": True}, "norm_bias is True; only False"),
        ({"classifier_activation": "relu"}, "classifier_activation is 'relu'"),
        ({"classifier_pooling": "max"}, "pooling"),
    ],
)
def test_a_modernbert_that_is_not_built_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    transformers.ModernBertModel(transformers.ModernBertConfig(**modernbert.SIZES)).save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(UserError, match=said):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_decoder": True}, "is_decoder is True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"pad_token_id": 0}, "the pad token's id is 0"),
        ({"max_position_embeddings": 2}, "max_length"),
    ],
)
@pytest.mark.parametrize(("kind", "sizes"), [("Roberta", roberta.SIZES), ("XLMRoberta", xlm_roberta.SIZES)])
def test_a_roberta_that_is_not_built_is_refused(
    kind: str, sizes: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    theirs = getattr(transformers, f"{kind}Model")
    theirs(theirs.config_class(**sizes)).save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(UserError, match=said):
        describe(tmp_path)


def test_roberta_takes_as_many_tokens_as_it_has_positions(tmp_path: Path) -> None:
    """512 of 514 rows: the published table's first two belong to no position."""
    family, config = preset("roberta-base")
    assert config.max_length == 512
    small = config.model_copy(update={"depth": 1, "width": 16, "heads": 2, "hidden": 16, "vocab_size": 20})
    write_model(Model(family, small, "features"), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"] == 514
    ids = torch.randint(5, 20, (1, 512))
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    model = read_model(tmp_path).model.eval()
    with torch.no_grad():
        ours = model.features(Packed.from_sequences(list(ids))).values
        assert (ours - theirs(ids).last_hidden_state[0]).abs().max() <= TOLERANCE
    with pytest.raises(ValueError, match="513 tokens, but only 512"):
        model(Packed.from_sequences([torch.zeros(513, dtype=torch.long)]))


def test_distilbert_has_no_choice_of_epsilon() -> None:
    family, config = preset("distilbert-base")
    with pytest.raises(UserError, match="norm_eps"):
        make_config(family.config, {"norm_eps": 1e-5}, "here", base=config)


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "distilbert", "modernbert"])
def test_a_new_vocabulary_has_the_frame_and_the_mask_of_the_family(kind: str, tmp_path: Path) -> None:
    style = families()[kind].tokenizer
    assert style is not None
    ours = train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 20, style, 400)
    ours.save(tmp_path, 64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = [*ours.before, *ours.encode(["the quick fox"])[0].tolist(), *ours.after]
    assert theirs("the quick fox")["input_ids"] == ids
    assert [theirs.cls_token_id, theirs.sep_token_id] == [ids[0], ids[-1]]
    assert (theirs.mask_token_id, theirs.pad_token_id) == (ours.id("mask"), ours.pad)
    if kind in ("roberta", "xlm-roberta"):
        assert ours.pad == 1
