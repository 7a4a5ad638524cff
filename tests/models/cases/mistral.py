"""Mistral in every class that transformers has of it; the window is shorter than the texts."""

from __future__ import annotations

from tests.models.cases.llama import SIZES, every_class, language_model

CASES = [
    *every_class("Mistral", "mistral", {**SIZES, "sliding_window": 4}),
    language_model("Mistral", "mistral", {**SIZES, "sliding_window": None}, "no window"),
    language_model("Mistral", "mistral", {**SIZES, "sliding_window": 1, "tie_word_embeddings": True}, "blind, tied"),
]
