"""Llama in every class that transformers has of it, with each way to turn and with tied words."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
# So short a text was learnt on that of the four frequencies of a head one stays, one is slowed, two are mixed.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 0.1,
    "high_freq_factor": 2.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 500.0,
}


def every_class(name: str, family: str, sizes: dict[str, object]) -> list[Case]:
    """The five classes of a family like Llama."""
    return [
        Case(f"{name}Model", family, "features", sizes, auto="AutoModel"),
        Case(f"{name}ForCausalLM", family, "next_token", sizes, auto="AutoModelForCausalLM"),
        Case(f"{name}ForSequenceClassification", family, "class", sizes, auto="AutoModelForSequenceClassification"),
        Case(f"{name}ForTokenClassification", family, "token_class", sizes, auto="AutoModelForTokenClassification"),
        Case(f"{name}ForQuestionAnswering", family, "span", sizes, auto="AutoModelForQuestionAnswering"),
    ]


def language_model(name: str, family: str, sizes: dict[str, object], note: str) -> Case:
    """A variant of the language model."""
    return Case(f"{name}ForCausalLM", family, "next_token", sizes, auto="AutoModelForCausalLM", note=note)


CASES = [
    *every_class("Llama", "llama", SIZES),
    language_model("Llama", "llama", {**SIZES, "tie_word_embeddings": True, "head_dim": 16}, "tied, wide heads"),
    language_model("Llama", "llama", {**SIZES, "rope_parameters": LINEAR}, "linear"),
    language_model("Llama", "llama", {**SIZES, "rope_parameters": LLAMA3, "num_key_value_heads": 4}, "llama3"),
]
