"""Finite weights that are too large to compute with give NaN or infinity: refused wherever a person gets numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from patchword.errors import NotFinite
from patchword.tasks.predictor import Predictor, load

SIZES = {
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 32,
}
GPT2 = {
    "vocab_size": 12,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 32,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
VIT = {**{k: v for k, v in SIZES.items() if k not in ("vocab_size", "max_position_embeddings")}, "image_size": 8}
TEXTS = ["a b c", "d e"]


def folder_of(kind: str, folder: Path, **settings: Any) -> Path:
    """A model of transformers whose last matrices hold 3e38: finite, and infinite in any sum."""
    cls = getattr(transformers, kind)
    torch.manual_seed(0)
    model = cls(cls.config_class(**settings))
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith(("classifier.weight", "qa_outputs.weight", "ln_f.weight", "output.dense.weight")):
            tensors[name] = torch.full_like(tensors[name], 3e38)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if "vocab_size" in settings:
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]) + "\n")
        settings = {"model_input_names": ["input_ids", "attention_mask"], "tokenizer_class": "BertTokenizer"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def picture() -> Image.Image:
    return Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))


USES: dict[str, tuple[str, dict[str, Any], Callable[[Predictor], Any]]] = {
    "class": ("BertForSequenceClassification", SIZES, lambda model: model.predict(TEXTS)),
    "several": (
        "BertForSequenceClassification",
        {**SIZES, "problem_type": "multi_label_classification"},
        lambda model: model.predict(TEXTS),
    ),
    "number": (
        "BertForSequenceClassification",
        {**SIZES, "num_labels": 1, "problem_type": "regression"},
        lambda model: model.predict(TEXTS),
    ),
    "words": ("BertForTokenClassification", SIZES, lambda model: model.predict(TEXTS)),
    "answer": ("BertForQuestionAnswering", SIZES, lambda model: model.predict([("a", "b c"), ("d", "e")])),
    "vectors": ("BertModel", SIZES, lambda model: model.features(TEXTS)),
    "pictures": ("ViTForImageClassification", {**VIT, "patch_size": 4}, lambda model: model.predict([picture()])),
    "greedy": ("GPT2LMHeadModel", GPT2, lambda model: model.generate(TEXTS, max_new_tokens=3)),
    "beams": ("GPT2LMHeadModel", GPT2, lambda model: model.generate(TEXTS, max_new_tokens=3, beams=2)),
    "sampled": ("GPT2LMHeadModel", GPT2, lambda model: model.generate(TEXTS, max_new_tokens=3, temperature=0.5)),
}


@pytest.mark.parametrize("use", USES)
def test_outputs_that_are_not_finite_are_refused(use: str, tmp_path: Path) -> None:
    kind, settings, call = USES[use]
    model = load(folder_of(kind, tmp_path, **settings))
    with pytest.raises(NotFinite, match="numbers that are not finite"):
        call(model)


def test_a_generation_config_can_ask_for_invalid_scores_to_be_replaced(tmp_path: Path) -> None:
    """As transformers does with `remove_invalid_values`."""
    folder = folder_of("GPT2LMHeadModel", tmp_path, **GPT2)
    how = {"remove_invalid_values": True, "eos_token_id": 3}
    (folder / "generation_config.json").write_text(json.dumps(how))
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    new = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)[0, 5:]
    expected = tokenizer.decode(new, skip_special_tokens=True).strip()
    assert load(folder).generate(["a b c"], max_new_tokens=3)[0].strip() == expected
