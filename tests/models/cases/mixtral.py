"""Mixtral in every class that transformers has of it."""

from __future__ import annotations

from tests.models.cases.llama import SIZES, every_class, language_model

MIXTURE = {**SIZES, "num_local_experts": 5, "num_experts_per_tok": 2}

CASES = [
    *every_class("Mixtral", "mixtral", MIXTURE),
    language_model("Mixtral", "mixtral", {**MIXTURE, "num_experts_per_tok": 3, "sliding_window": 4}, "window, three"),
]
