"""DistilBERT in every class that transformers has of it, multiple choice excepted."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 20,
}

CASES = [
    Case("DistilBertModel", "distilbert", "features", SIZES, auto="AutoModel"),
    Case("DistilBertForMaskedLM", "distilbert", "masked_token", SIZES, auto="AutoModelForMaskedLM"),
    Case(
        "DistilBertForSequenceClassification", "distilbert", "class", SIZES, auto="AutoModelForSequenceClassification"
    ),
    Case(
        "DistilBertForTokenClassification", "distilbert", "token_class", SIZES, auto="AutoModelForTokenClassification"
    ),
    Case("DistilBertForQuestionAnswering", "distilbert", "span", SIZES, auto="AutoModelForQuestionAnswering"),
]
