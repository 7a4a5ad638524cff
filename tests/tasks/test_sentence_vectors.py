"""Folders of sentence-transformers: their vectors, beside its semantics on hidden states of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors

import patchword as pw
from patchword.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", ":", "the", "movie", "was", "great", "and", "Great"]
TEXTS = ["the movie was great", "Great", "the movie was great and " * 8, ""]
TRANSFORMER = {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
NORMALIZE = {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
DENSE = {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        **sizes, vocab_size=len(WORDS), intermediate_size=32, max_position_embeddings=40, initializer_range=0.5
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    backend = Backend(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.normalizer = normalizers.NFC()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(tmp_path)
    return tmp_path


def write(folder: Path, modules: list[Any], pooling: Any, bert: Any = None, prompts: Any = None) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps(bert or {}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts or {}))


def reference(
    folder: Path, modes: list[str], length: int = 40, lower: bool = False, prompt: str = "", skip: int = 0
) -> torch.Tensor:
    """As `Pooling._forward_padded` of sentence-transformers has it, on one padded batch."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [prompt + text for text in TEXTS]
    texts = [text.lower() for text in texts] if lower else texts
    read = fast(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**read).last_hidden_state
    mask = read["attention_mask"].clone()
    mask[:, :skip] = 0
    m = mask.unsqueeze(-1).float()
    total, count = (hidden * m).sum(1), m.sum(1)
    weights = m * torch.arange(1, hidden.shape[1] + 1).view(1, -1, 1)
    rows = torch.arange(len(texts))
    vectors = {
        "cls": hidden[rows, mask.argmax(1)],
        "max": hidden.masked_fill(m == 0, -torch.inf).amax(1),
        "mean": total / count,
        "mean_sqrt_len_tokens": total / count.sqrt(),
        "weightedmean": (hidden * weights).sum(1) / weights.sum(1),
        "lasttoken": hidden[rows, read["attention_mask"].sum(1) - 1],
    }
    return torch.cat([vectors[mode] for mode in modes], 1)


OLD = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("modes", [*[[mode] for mode in OLD], ["cls", "mean"]])
def test_poolings(modes: list[str], old: bool, folder: Path) -> None:
    spelled = {key: mode in modes for mode, key in OLD.items()} if old else {"pooling_mode": modes}
    write(folder, [TRANSFORMER, POOLING], {"word_embedding_dimension": 16} | spelled)
    got = pw.load(folder, "cpu").features(TEXTS)
    np.testing.assert_allclose(got, reference(folder, modes), atol=1e-5)


def test_length_case_prompt_and_normalization(folder: Path) -> None:
    prompts = {"prompts": {"query": "query : "}, "default_prompt_name": "query", "similarity_fn_name": "cosine"}
    bert = {"max_seq_length": 12, "do_lower_case": True}
    # The prompt alone is [CLS] query : [SEP], without the last one 3 tokens.
    for include, skip in ((True, 0), (False, 3)):
        pooling = {"pooling_mode": "weightedmean", "include_prompt": include}
        write(folder, [TRANSFORMER, POOLING, NORMALIZE], pooling, bert, prompts)
        expected = F.normalize(reference(folder, ["weightedmean"], 12, True, "query : ", skip), dim=1)
        np.testing.assert_allclose(pw.load(folder, "cpu").features(TEXTS), expected, atol=1e-5)
        given = F.normalize(reference(folder, ["cls"], 12, True, "query : ", skip), dim=1)
        np.testing.assert_allclose(pw.load(folder, "cpu").features(TEXTS, "class"), given, atol=1e-5)


@pytest.mark.parametrize(("name", "function"), [("Tanh", torch.tanh), ("GELU", F.gelu)])
def test_dense(name: str, function: Any, folder: Path) -> None:
    write(folder, [TRANSFORMER, POOLING, DENSE], {"pooling_mode": "mean"})
    (folder / "2_Dense").mkdir()
    config = {"in_features": 16, "out_features": 5, "bias": True}
    config |= {"activation_function": f"torch.nn.modules.activation.{name}"}
    (folder / "2_Dense/config.json").write_text(json.dumps(config))
    weights = {"linear.weight": torch.randn(5, 16), "linear.bias": torch.randn(5)}
    save_file(weights, folder / "2_Dense/model.safetensors")
    expected = function(F.linear(reference(folder, ["mean"]), *weights.values()))
    np.testing.assert_allclose(pw.load(folder, "cpu").features(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("modules", "pooling", "bert", "prompts", "message"),
    [
        (
            [TRANSFORMER, {**POOLING, "type": "sentence_transformers.models.LSTM"}],
            {},
            {},
            {},
            "models.LSTM is not supp",
        ),
        ([TRANSFORMER, {**POOLING, "type": "other.Pooling"}], {}, {}, {}, r"other\.Pooling is not supported"),
        ([TRANSFORMER, {**POOLING, "path": "../x"}], {}, {}, {}, "leads out of the folder"),
        ([TRANSFORMER], {}, {}, {}, "modules Transformer are not supported"),
        ({"a": 1}, {}, {}, {}, "a list of modules"),
        ([TRANSFORMER, POOLING], {"pooling_mode": "median"}, {}, {}, "no pooling_mode 'median'"),
        ([TRANSFORMER, POOLING], {"include_prompt": 1}, {}, {}, "include_prompt is 1"),
        ([TRANSFORMER, POOLING], {}, {"max_seq_length": "12"}, {}, "max_seq_length is '12'"),
        ([TRANSFORMER, POOLING], {}, {"max_seq_length": 2}, {}, "leave no room"),
        ([TRANSFORMER, POOLING], {}, {}, {"default_prompt_name": "q"}, "default_prompt_name is 'q'"),
    ],
)
def test_what_is_not_supported_is_refused(
    modules: Any, pooling: Any, bert: Any, prompts: Any, message: str, folder: Path
) -> None:
    write(folder, modules, pooling, bert, prompts)
    with pytest.raises(UserError, match=message):
        pw.load(folder, "cpu").features(["the movie"])
