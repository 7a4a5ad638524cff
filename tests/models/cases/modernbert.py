"""ModernBERT, with a window that is shorter than the sequences and layers of both kinds."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "local_attention": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
AS_IN_VERSION_4 = {**SIZES, "global_rope_theta": 5000.0, "local_rope_theta": 300.0, "global_attn_every_n_layers": 2}

CASES = [
    Case("ModernBertModel", "modernbert", "features", SIZES, auto="AutoModel"),
    Case("ModernBertForMaskedLM", "modernbert", "masked_token", SIZES, auto="AutoModelForMaskedLM"),
    Case(
        "ModernBertForSequenceClassification", "modernbert", "class", SIZES, auto="AutoModelForSequenceClassification"
    ),
    Case(
        "ModernBertForTokenClassification", "modernbert", "token_class", SIZES, auto="AutoModelForTokenClassification"
    ),
    Case("ModernBertForQuestionAnswering", "modernbert", "span", SIZES, auto="AutoModelForQuestionAnswering"),
    Case(
        "ModernBertForSequenceClassification",
        "modernbert",
        "class",
        {**SIZES, "classifier_pooling": "mean"},
        note="mean",
    ),
    Case("ModernBertModel", "modernbert", "features", AS_IN_VERSION_4, auto="AutoModel", note="every second"),
]
