"""T5 in every class that transformers has of it; v1.0 and v1.1."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "vocab_size": 67,
    "d_model": 32,
    "d_kv": 10,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
    "decoder_start_token_id": 0,
}
# Products of queries and keys are not scaled. The harness's weights, which are larger than T5's own queries, make those
# of wide heads so large that a softmax spreads the roundings: with heads of 10 numbers and 3 layers both sides are up
# to 1.9e-5 from what fp64 gives, with heads of 6 and 2 layers 1.2e-5 on one processor of two. These stay under 4e-6.
V1_1 = {**SIZES, "d_kv": 4, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

CASES = [
    Case("T5Model", "t5", "features", SIZES, "pairs", "AutoModel"),
    Case("T5EncoderModel", "t5", "encoder", SIZES, auto="AutoModelForTextEncoding"),
    Case("T5ForConditionalGeneration", "t5", "next_token", SIZES, "pairs", "AutoModelForSeq2SeqLM"),
    Case(
        "T5ForConditionalGeneration",
        "t5",
        "next_token",
        V1_1,
        "pairs",
        "AutoModelForSeq2SeqLM",
        untied=True,
        note="v1.1",
    ),
    Case("T5ForSequenceClassification", "t5", "class", SIZES, auto="AutoModelForSequenceClassification", ends_with=1),
    Case("T5ForTokenClassification", "t5", "token_class", SIZES, auto="AutoModelForTokenClassification"),
    Case("T5ForQuestionAnswering", "t5", "span", SIZES, auto="AutoModelForQuestionAnswering"),
]
