"""GPT in the classes of transformers that we have a way out for."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {"vocab_size": 67, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 20, "pad_token_id": 0}

CASES = [
    Case("OpenAIGPTModel", "openai-gpt", "features", SIZES, auto="AutoModel"),
    Case("OpenAIGPTLMHeadModel", "openai-gpt", "next_token", SIZES, auto="AutoModelForCausalLM"),
    Case("OpenAIGPTForSequenceClassification", "openai-gpt", "class", SIZES, auto="AutoModelForSequenceClassification"),
    Case(
        "OpenAIGPTLMHeadModel",
        "openai-gpt",
        "next_token",
        {**SIZES, "afn": "silu"},
        auto="AutoModelForCausalLM",
        note="silu",
    ),
]
