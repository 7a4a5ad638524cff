"""Keys of `generation_config.json`, by what patchword does with them (transformers 5.24, `GenerationConfig`).

Where a folder has no such file, transformers takes these keys from `config.json`; beside one it ignores them there. It
never reads `task_specific_params` when it generates.
"""

from __future__ import annotations

GENERATION_CONFIG = "generation_config.json"

TOKENS = ("bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
"""Tokens that begin and end a text."""
SEVERAL_TOKENS = ("eos_token_id", "forced_eos_token_id")
"""Those of them that can be lists."""
DECODING = (
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "stop_strings",
    "do_sample",
    "num_beams",
    "early_stopping",
    "length_penalty",
    "temperature",
    "top_h",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "exponential_decay_length_penalty",
    "renormalize_logits",
    "remove_invalid_values",
)
"""How the next token is chosen; honoured."""
REFUSED = {
    "assistant_ensemble_weight": None,
    "constraints": None,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "force_words_ids": None,
    "guidance_scale": 1.0,
    "max_time": None,
    "num_beam_groups": 1,
    "penalty_alpha": 0.0,
    "token_healing": False,
    "watermarking_config": None,
}
"""They change the text and are not supported, with the value that changes nothing."""
UNUSED = (
    "_from_model_config",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "continuous_batching_config",
    "disable_compile",
    "is_assistant",
    "low_memory",
    "max_cache_len",
    "max_matching_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "return_dict_in_generate",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "use_cache",
    "use_mtp",
)
"""They decide how fast a text is generated or what is returned beside it, not its tokens."""
KEYS = frozenset((*TOKENS, *DECODING, *REFUSED, *UNUSED, "num_return_sequences"))
OLD_KEYS = frozenset(("forced_decoder_ids", "prefix"))
"""Keys that old `config.json` files have for `generate`, and that transformers 5 does not read."""
