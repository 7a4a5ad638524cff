"""GPT-2 in every class that transformers has of it."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 48,
    "n_positions": 20,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

CASES = [
    Case("GPT2Model", "gpt2", "features", SIZES, auto="AutoModel"),
    Case("GPT2LMHeadModel", "gpt2", "next_token", SIZES, auto="AutoModelForCausalLM"),
    Case("GPT2ForSequenceClassification", "gpt2", "class", SIZES, auto="AutoModelForSequenceClassification"),
    Case("GPT2ForTokenClassification", "gpt2", "token_class", SIZES, auto="AutoModelForTokenClassification"),
    Case("GPT2ForQuestionAnswering", "gpt2", "span", SIZES, auto="AutoModelForQuestionAnswering"),
]
