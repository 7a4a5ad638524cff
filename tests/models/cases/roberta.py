"""RoBERTa in the classes of transformers that read a text at once."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 22,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}

CASES = [
    Case("RobertaModel", "roberta", "features", SIZES, auto="AutoModel"),
    Case("RobertaForMaskedLM", "roberta", "masked_token", SIZES, auto="AutoModelForMaskedLM"),
    Case("RobertaForSequenceClassification", "roberta", "class", SIZES, auto="AutoModelForSequenceClassification"),
    Case("RobertaForTokenClassification", "roberta", "token_class", SIZES, auto="AutoModelForTokenClassification"),
    Case("RobertaForQuestionAnswering", "roberta", "span", SIZES, auto="AutoModelForQuestionAnswering"),
    Case(
        "RobertaForMaskedLM",
        "roberta",
        "masked_token",
        {**SIZES, "type_vocab_size": 2, "hidden_act": "relu"},
        segments=True,
        note="segments, ReLU",
    ),
]
