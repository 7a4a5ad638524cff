"""BERT in the classes of transformers that we have a way out for."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}

CASES = [
    Case("BertModel", "bert", "features", SIZES, auto="AutoModel", segments=True),
    Case("BertForMaskedLM", "bert", "masked_token", SIZES, auto="AutoModelForMaskedLM", segments=True),
    Case(
        "BertForSequenceClassification",
        "bert",
        "class",
        SIZES,
        auto="AutoModelForSequenceClassification",
        segments=True,
    ),
    Case(
        "BertForNextSentencePrediction",
        "bert",
        "next_sentence",
        SIZES,
        auto="AutoModelForNextSentencePrediction",
        segments=True,
    ),
    Case(
        "BertForTokenClassification",
        "bert",
        "token_class",
        SIZES,
        auto="AutoModelForTokenClassification",
        segments=True,
    ),
    Case("BertForQuestionAnswering", "bert", "span", SIZES, auto="AutoModelForQuestionAnswering", segments=True),
]
