"""BART in the classes of transformers that read and write."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 20,
}

CASES = [
    Case("BartModel", "bart", "features", SIZES, "pairs", "AutoModel"),
    Case("BartForConditionalGeneration", "bart", "next_token", SIZES, "pairs", "AutoModelForSeq2SeqLM"),
    Case(
        "BartForSequenceClassification", "bart", "class", SIZES, auto="AutoModelForSequenceClassification", ends_with=2
    ),
    Case("BartForQuestionAnswering", "bart", "span", SIZES, auto="AutoModelForQuestionAnswering"),
]
