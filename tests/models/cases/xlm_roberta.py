"""XLM-RoBERTa in the classes of transformers that read a text at once."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 71,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 23,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}

CASES = [
    Case("XLMRobertaModel", "xlm-roberta", "features", SIZES, auto="AutoModel"),
    Case("XLMRobertaForMaskedLM", "xlm-roberta", "masked_token", SIZES, auto="AutoModelForMaskedLM"),
    Case(
        "XLMRobertaForSequenceClassification", "xlm-roberta", "class", SIZES, auto="AutoModelForSequenceClassification"
    ),
    Case(
        "XLMRobertaForTokenClassification", "xlm-roberta", "token_class", SIZES, auto="AutoModelForTokenClassification"
    ),
    Case("XLMRobertaForQuestionAnswering", "xlm-roberta", "span", SIZES, auto="AutoModelForQuestionAnswering"),
    Case(
        "XLMRobertaForMaskedLM",
        "xlm-roberta",
        "masked_token",
        {**SIZES, "type_vocab_size": 2, "hidden_act": "relu"},
        segments=True,
        note="segments, ReLU",
    ),
]
