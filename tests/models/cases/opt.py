"""OPT in every class that transformers has of it."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 20,
    "bos_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
}

CASES = [
    Case("OPTModel", "opt", "features", SIZES, auto="AutoModel"),
    Case("OPTForCausalLM", "opt", "next_token", SIZES, auto="AutoModelForCausalLM"),
    Case("OPTForSequenceClassification", "opt", "class", SIZES, auto="AutoModelForSequenceClassification"),
    Case("OPTForQuestionAnswering", "opt", "span", SIZES, auto="AutoModelForQuestionAnswering"),
]
