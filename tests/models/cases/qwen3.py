"""Qwen3 in every class that transformers has of it."""

from __future__ import annotations

from tests.models.cases.llama import SIZES, every_class, language_model

CASES = [
    *every_class("Qwen3", "qwen3", {**SIZES, "head_dim": 16}),
    language_model("Qwen3", "qwen3", {**SIZES, "tie_word_embeddings": True}, "tied, heads of 128"),
]
