"""Settings in files that are of another type, out of range or not of the model's vocabulary: one message each."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import processors

from patchword.data.frames import read_frames
from patchword.errors import UserError
from patchword.generation.beams import write_beams
from patchword.generation.sampling import write_tokens
from patchword.generation.settings import Generation, complete
from patchword.generation.writer import Writer
from patchword.models.folder import read_model
from patchword.models.generation_config import DECODING, REFUSED, TOKENS

GPT2 = transformers.GPT2Config(vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=32)
BART = transformers.BartConfig(
    vocab_size=12, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=32, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    decoder_start_token_id=2, forced_eos_token_id=2,
)  # fmt: skip
VALUES: list[Any] = [
    True,
    -1,
    0,
    10**9,
    10**400,
    1.5,
    math.nan,
    math.inf,
    "",
    "512",
    [],
    [0, -1],
    ["a"],
    {"a": 1},
    [[1]],
]


@pytest.fixture(scope="module", params=["GPT2LMHeadModel", "BartForConditionalGeneration"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    cls = getattr(transformers, request.param)
    cls(GPT2 if cls.config_class is transformers.GPT2Config else BART).save_pretrained(folder)
    return folder


def write(folder: Path) -> None:
    """As `generate` does, with what the file says."""
    model = read_model(folder).model.eval()
    how = complete(Generation(), model.generation)
    ends = model.generation.get("eos_token_id")
    with torch.inference_mode():
        writer = Writer(model, [[3, 4], [5]], 3, None, how.decoder_start_token_id)
        ends = () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)
        if (how.beams or 1) > 1:
            write_beams(writer, how, ends)
        else:
            write_tokens(writer, how, ends, lambda tokens: False, lambda place, token: None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", sorted({*TOKENS, *DECODING, *REFUSED} - {"num_beams"}))
def test_a_setting_of_another_type_is_one_message(key: str, folder: Path) -> None:
    messages = []
    for value in VALUES:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, key: value}))
        try:
            write(folder)
        except UserError as error:
            messages.append(str(error))
    # A text begins with `bos_token_id` where no `decoder_start_token_id` is given.
    name = {"stop_strings": "stop", "bos_token_id": "_token_id"}.get(key, key)
    assert [message for message in messages if name not in message or "\n" in message or len(message) > 500] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eos_token_id", "x"),
        ("eos_token_id", [2, "x"]),
        ("eos_token_id", 1.0),
        ("bos_token_id", [0]),
        ("do_sample", "no"),
        ("do_sample", 1),
        ("top_k", "50"),
        ("repetition_penalty", "1.2"),
        ("no_repeat_ngram_size", True),
        ("forced_eos_token_id", 12),
    ],
)
def test_what_can_not_be_followed_is_named(key: str, value: Any, folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({key: value}))
    with pytest.raises(UserError, match=key):
        write(folder)


def test_a_template_names_a_token_without_an_id() -> None:
    """Applied, it ends `tokenizers` with a panic, which is no ordinary exception."""
    good = processors.TemplateProcessing(single=["[X]", "$A"], pair=["$A", "$B"], special_tokens=[("[X]", 3)])
    assert read_frames(good)[0].parts == ((3,), ())
    state = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        "post_processor": json.loads(bytes(good.__getstate__())),
    }
    state["post_processor"]["special_tokens"] = {}
    for within in (state["post_processor"], {"type": "Sequence", "processors": [state["post_processor"]]}):
        backend = Backend.from_str(json.dumps(state | {"post_processor": within}))
        with pytest.raises(UserError, match=r"no id for its token '\[X\]'"):
            read_frames(backend.post_processor)
