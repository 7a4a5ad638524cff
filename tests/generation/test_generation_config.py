"""`generation_config.json`: token for token what `generate` of transformers writes with the same folder, key by key."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from patchword.errors import Notice, UserError
from patchword.generation.beams import write_beams
from patchword.generation.processors import processors
from patchword.generation.sampling import limited, write_tokens
from patchword.generation.settings import Generation, complete, read_settings
from patchword.generation.write import ends_of
from patchword.generation.writer import Writer
from patchword.models.family import Model
from patchword.models.folder import read_generation_config, read_model, write_model
from patchword.models.generation_config import DECODING, GENERATION_CONFIG, KEYS, REFUSED, TOKENS

VOCABULARY, LENGTH = 40, 64
DECODER = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA = DECODER | {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LENGTH,
    "initializer_range": 0.6,
}
BART = DECODER | {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": LENGTH,
    "init_std": 0.6,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
    "scale_embedding": False,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        DECODER | {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": LENGTH, "initializer_range": 0.6},
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", LLAMA | {"head_dim": 4, "use_sliding_window": False}),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        DECODER
        | {
            "hidden_size": 16,
            "ffn_dim": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": LENGTH,
            "word_embed_proj_dim": 16,
            "init_std": 0.6,
        },
    ),
    "bart": ("BartForConditionalGeneration", "BartConfig", BART),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        DECODER
        | {
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 24,
            "num_layers": 2,
            "num_heads": 2,
            "decoder_start_token_id": 0,
            "initializer_factor": 0.3,
            "tie_word_embeddings": False,
        },
    ),
}
every_model = pytest.mark.parametrize("name", MODELS)
PROMPTS = [[5, 9, 7, 5, 9], [11], [13, 8, 21, 30, 8, 6, 7]]

GREEDY: list[dict[str, Any]] = [
    {},
    {"eos_token_id": [2, 7, 13, 21]},
    {"eos_token_id": None},
    {"max_length": 9, "max_new_tokens": None},
    {"max_new_tokens": 5, "max_length": 30},
    {"min_length": 9, "eos_token_id": [2, 7, 13, 21, 30]},
    {"min_new_tokens": 6, "eos_token_id": [2, 7, 13, 21, 30]},
    {"min_new_tokens": 0, "min_length": 12, "eos_token_id": [2, 7, 13, 21, 30]},
    {"forced_bos_token_id": 6},
    {"forced_eos_token_id": 3},
    {"forced_eos_token_id": [3, 4]},
    {"bos_token_id": 9},
    {"decoder_start_token_id": 5},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6},
    {"encoder_repetition_penalty": 3.0},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 4},
    {"encoder_no_repeat_ngram_size": 1},
    {"encoder_no_repeat_ngram_size": 2},
    {"bad_words_ids": [[7], [2], [13, 21], [5, 9, 7]]},
    {"suppress_tokens": [7, 13, 21]},
    {"begin_suppress_tokens": [5, 7, 9, 13, 21, 30, 6]},
    {"begin_suppress_tokens": list(range(3, 30)), "forced_bos_token_id": 6},
    {"sequence_bias": [[[7], 5.0], [[13], -4.0], [[7, 9], 6.5]]},
    {"exponential_decay_length_penalty": [2, 1.6]},
    {"renormalize_logits": True},
    {"remove_invalid_values": True},
    # What only sampling and beams read, is read by neither.
    {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "typical_p": 0.9},
    {"length_penalty": 2.0, "early_stopping": True},
    {"num_return_sequences": 1, "use_cache": False, "output_scores": True, "pad_token_id": 3},
]
BEAMS: list[dict[str, Any]] = [
    {"num_beams": 3},
    {"num_beams": 3, "early_stopping": True, "eos_token_id": [2, 7, 13, 21]},
    {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0, "eos_token_id": [2, 7, 13, 21]},
    {"num_beams": 2, "length_penalty": -1.0, "eos_token_id": [2, 7, 13]},
    {"num_beams": 4, "length_penalty": 2.0, "min_length": 8, "no_repeat_ngram_size": 3, "early_stopping": True},
    {"num_beams": 3, "forced_bos_token_id": 6},
    {"num_beams": 3, "repetition_penalty": 1.5},
    {"num_beams": 2, "encoder_no_repeat_ngram_size": 2, "begin_suppress_tokens": [5, 7, 13]},
    {"num_beams": 3, "renormalize_logits": True, "suppress_tokens": [7, 13]},
    {"num_beams": 3, "bad_words_ids": [[7], [13, 21]], "sequence_bias": [[[5, 9], 3.0]]},
    {"num_beams": 3, "max_length": 9, "max_new_tokens": None},
    {"num_beams": 3, "exponential_decay_length_penalty": [2, 1.6]},
]
PAIRED = [case for case in GREEDY if case.keys() & {*DECODING, *TOKENS} - {"temperature", "length_penalty"}]
PAIRS = [a | b for a, b in itertools.combinations(PAIRED, 2) if not a.keys() & b.keys()]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Model]]:
    """Folder, their model and ours."""
    made = {}
    for name, (model, config, sizes) in MODELS.items():
        torch.manual_seed(1)
        theirs = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
        with torch.no_grad():  # so that what is written depends on what is read
            for part, tensor in theirs.named_parameters():
                if tensor.dim() == 2 and not any(word in part for word in ("embed", "shared", "wte", "wpe", "lm_head")):
                    tensor.normal_(std=0.5)
        folder = tmp_path_factory.mktemp(name)
        theirs.save_pretrained(folder)
        made[name] = (folder, theirs, read_model(folder).model.eval())
    return made


def put(folder: Path, ours: Model, theirs: Any, changes: Mapping[str, Any]) -> None:
    """The folder's `generation_config.json` with other keys, read by both."""
    before = theirs.config.to_dict()
    tokens = {
        key: before[key]
        for key in ("bos_token_id", "eos_token_id", "pad_token_id", *TOKENS)
        if before.get(key) is not None
    }
    (folder / GENERATION_CONFIG).write_text(json.dumps({"max_new_tokens": 8, **tokens, **changes}))
    theirs.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    ours.generation = read_generation_config(folder)


def of_transformers(theirs: Any, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    written = theirs.generate(ids, attention_mask=torch.ones_like(ids))[0].tolist()
    return written[1:] if theirs.config.is_encoder_decoder else written[len(prompt) :]


def of_ours(ours: Model, how: Generation | None = None) -> list[list[int]]:
    how = complete(how or Generation(), ours.generation)
    writer = Writer(ours, PROMPTS, how.max_new_tokens, how.max_length, how.decoder_start_token_id)
    call = write_beams if (how.beams or 1) > 1 else write_tokens
    return call(writer, how, ends_of(ours))


def assert_equal(name: str, changes: Mapping[str, Any], pairs: Mapping[str, Any]) -> list[list[int]]:
    folder, theirs, ours = pairs[name]
    put(folder, ours, theirs, changes)
    with torch.inference_mode():
        written = of_ours(ours)
        expected = [of_transformers(theirs, prompt) for prompt in PROMPTS]
    assert written == expected, changes
    return written


@every_model
def test_one_key_at_a_time(name: str, pairs: dict[str, Any]) -> None:
    plain = assert_equal(name, {}, pairs)
    assert len({tuple(text) for text in plain}) > 1
    # All keys for one decoder and one encoder-decoder; for the others every fourth, each time from another on.
    cases = GREEDY[1:] if name in ("llama", "bart") else GREEDY[1 + len(name) % 4 :: 4]
    changed = [assert_equal(name, case, pairs) != plain for case in cases]
    assert sum(changed) > 0.3 * len(cases) or name not in ("llama", "bart")  # most keys change something here


@every_model
def test_beams(name: str, pairs: dict[str, Any]) -> None:
    for case in BEAMS if name in ("llama", "bart") else BEAMS[len(name) % 4 :: 4]:
        assert_equal(name, case, pairs)


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_pairs_of_keys(name: str, pairs: dict[str, Any]) -> None:
    for number, case in enumerate(PAIRS):
        if number % 20 == 0:
            assert_equal(name, case, pairs)
            if number % 60 == 0:
                assert_equal(name, case | {"num_beams": 2}, pairs)


SAMPLED: list[dict[str, Any]] = [
    {},  # top_k is 50 then, which is more than there are words
    {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
    {"temperature": 1.5, "top_k": 0, "min_p": 0.1},
    {"top_k": 5},
    {"top_p": 0.7, "typical_p": 0.8},
    {"epsilon_cutoff": 0.05, "eta_cutoff": 0.1},
    {"top_h": 0.5},
    {"temperature": 0.8, "repetition_penalty": 1.4, "suppress_tokens": [7, 9], "min_new_tokens": 3},
]


@pytest.mark.parametrize("name", ["gpt2", "t5"])
@pytest.mark.parametrize("case", SAMPLED, ids=lambda case: ",".join(case) or "plain")
def test_sampling_draws_from_the_same_distribution(name: str, case: dict[str, Any], pairs: dict[str, Any]) -> None:
    folder, theirs, ours = pairs[name]
    put(folder, ours, theirs, {"do_sample": True, "max_new_tokens": 1, **case})
    how = complete(Generation(), ours.generation)
    with torch.inference_mode():
        writer = Writer(ours, PROMPTS, 1)
        scores = writer.logits
        for processor in processors(how, ends_of(ours), VOCABULARY):
            scores = processor(scores, writer)
        found = limited(scores / how.temperature, how).softmax(-1)
        for row, prompt in zip(found, PROMPTS, strict=True):
            ids = torch.tensor([prompt])
            mask = torch.ones_like(ids)
            theirs.generation_config.return_dict_in_generate = theirs.generation_config.output_scores = True
            (expected,) = theirs.generate(ids, attention_mask=mask).scores
            torch.testing.assert_close(row, expected[0].softmax(-1), rtol=1e-4, atol=1e-6)


def test_what_a_person_asks_for_is_over_the_folder(pairs: dict[str, Any]) -> None:
    folder, theirs, ours = pairs["llama"]
    put(folder, ours, theirs, {"num_beams": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.5})
    greedy = Generation(beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0, max_new_tokens=4)
    with torch.inference_mode():
        written = of_ours(ours, greedy)
        ids = [torch.tensor([prompt]) for prompt in PROMPTS]
        how = {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "max_new_tokens": 4}
        expected = [theirs.generate(i, attention_mask=torch.ones_like(i), **how)[0, i.shape[1] :].tolist() for i in ids]
    assert written == expected


@every_model
def test_without_the_file_the_keys_of_config_json_count(name: str, pairs: dict[str, Any], tmp_path: Path) -> None:
    _, theirs, _ = pairs[name]
    theirs.save_pretrained(tmp_path)
    (tmp_path / GENERATION_CONFIG).unlink()
    raw = json.loads((tmp_path / "config.json").read_text())
    raw |= {"num_beams": 2, "max_length": 12, "no_repeat_ngram_size": 2, "early_stopping": True}
    raw["task_specific_params"] = {"summarization": {"num_beams": 4, "max_length": 5}}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    again, ours = type(theirs).from_pretrained(tmp_path).eval(), read_model(tmp_path).model.eval()
    with torch.inference_mode():
        assert of_ours(ours) == [of_transformers(again, prompt) for prompt in PROMPTS]
    # Beside a file, even an empty one, they do not.
    (tmp_path / GENERATION_CONFIG).write_text(
        json.dumps({"eos_token_id": 2, "max_new_tokens": 6, "decoder_start_token_id": 2})
    )
    again, ours = type(theirs).from_pretrained(tmp_path).eval(), read_model(tmp_path).model.eval()
    with torch.inference_mode():
        assert of_ours(ours) == [of_transformers(again, prompt) for prompt in PROMPTS]


@every_model
def test_a_folder_that_is_written_again_has_the_same_file(name: str, pairs: dict[str, Any], tmp_path: Path) -> None:
    folder, theirs, ours = pairs[name]
    put(folder, ours, theirs, {"num_beams": 2, "suppress_tokens": [3, 4], "eos_token_id": [2, 7], "custom": {"a": 1}})
    write_model(ours, tmp_path)
    before, after = (json.loads((path / GENERATION_CONFIG).read_text()) for path in (folder, tmp_path))
    assert after == {key: value for key, value in before.items() if value is not None}


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_not_supported_is_refused_by_name(key: str) -> None:
    values = {"guidance_scale": 2.0, "num_beam_groups": 2, "diversity_penalty": 0.5, "penalty_alpha": 0.6}
    with pytest.raises(UserError, match=rf"{GENERATION_CONFIG}: {key} = .* is not supported"):
        complete(Generation(), {key: values.get(key, True)})
    complete(Generation(), {key: REFUSED[key]})


def test_contrastive_search_is_refused_where_transformers_would_do_it() -> None:
    complete(Generation(), {"penalty_alpha": 0.6, "do_sample": True})
    complete(Generation(), {"penalty_alpha": 0.6, "top_k": 1})
    with pytest.raises(UserError, match="penalty_alpha"):
        complete(Generation(), {"penalty_alpha": 0.6, "top_k": 4})


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"do_sample": True, "num_beams": 3}, "beams follow.*do_sample = True, num_beams = 3"),
        ({"num_beams": 3, "stop_strings": ["x"]}, "end token.*num_beams = 3, stop_strings"),
        ({"repetition_penalty": -1.0}, "generation_config.json: repetition_penalty = -1.0"),
        ({"bad_words_ids": [[]]}, "generation_config.json: bad_words_ids"),
        ({"early_stopping": "sometimes"}, "generation_config.json: early_stopping"),
        ({"max_length": "long"}, "generation_config.json: max_length"),
        ({"sequence_bias": {"3": 1.0}}, "generation_config.json: sequence_bias"),
    ],
)
def test_a_file_that_can_not_be_followed_is_one_message(file: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        complete(Generation(), file)


@pytest.mark.parametrize("file", [{"num_return_sequences": 3}, {"max_window_size": 6144}])
def test_what_is_not_used_is_reported_by_name(file: dict[str, Any]) -> None:
    with pytest.warns(Notice, match=next(iter(file))):
        complete(Generation(), file)


def test_every_key_of_transformers_is_known() -> None:
    theirs = set(transformers.GenerationConfig().to_dict())
    assert theirs - KEYS == set()
    assert KEYS - theirs - {"low_memory", "_from_model_config"} - set(REFUSED) == set()


def test_a_request_is_checked_without_a_model() -> None:
    with pytest.raises(UserError, match=r"top_p = 2\.0: "):
        read_settings({"top_p": 2.0})
