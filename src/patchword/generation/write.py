"""From prompts to texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.generation.beams import write_beams
from patchword.generation.sampling import write_tokens
from patchword.generation.settings import MAX_NEW_TOKENS, Generation, complete, in_vocabulary
from patchword.generation.writer import Writer
from patchword.models.config import GenerativeConfig
from patchword.models.family import Model


def write(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    how: Generation,
    told: Callable[[int, str], None] | None = None,
    at_once: int = 16,
) -> list[str]:
    """What a model writes after each prompt (a decoder), or in answer to it (an encoder-decoder).

    Args:
        model: in evaluation mode, under `torch.inference_mode`.
        tokenizer: of its folder.
        prompts: texts; for a decoder an empty one begins with its begin token.
        how: how the next token is chosen; what it leaves open is as the model's folder says.
        told: called with (index of the prompt, its text so far) as tokens are written; not with beams.
        at_once: texts that are written side by side.

    Raises:
        UserError: the model does not write, or a prompt is too long or empty.
    """
    framed = [frame(model, tokenizer, ids) for ids in tokenizer.encode(list(prompts))]
    return write_framed(model, tokenizer, framed, how, told, at_once)


def write_framed(
    model: Model,
    tokenizer: Tokenizer,
    framed: Sequence[Sequence[int]],
    how: Generation,
    told: Callable[[int, str], None] | None = None,
    at_once: int = 16,
) -> list[str]:
    """The same for prompts that are token ids already, with what stands around them."""
    how = complete(how, model.generation)
    new = MAX_NEW_TOKENS if how.max_new_tokens is None and how.max_length is None else how.max_new_tokens
    texts = [""] * len(framed)
    # Of like length together, the longest first: what is too long, for the model or for the memory, is told at once.
    order = np.argsort([-len(ids) for ids in framed], kind="stable").tolist()
    for first in range(0, len(order), at_once):
        places = order[first : first + at_once]
        writer = Writer(model, [framed[n] for n in places], new, how.max_length, how.decoder_start_token_id)
        for place, text in zip(places, _write(writer, model, tokenizer, places, how, told), strict=True):
            texts[place] = text
    return texts


def _write(
    writer: Writer,
    model: Model,
    tokenizer: Tokenizer,
    places: Sequence[int],
    how: Generation,
    told: Callable[[int, str], None] | None,
) -> list[str]:
    """Some of the prompts' texts at once; `places` are their indices among all."""
    begun, stops = [list(tokens) for tokens in writer.history], how.stop or ()

    def text_of(place: int, tokens: list[int]) -> str:
        # Decoded together with what stands before it: a decoder drops the space that begins a text.
        before = tokenizer.decode(begun[place])
        whole = tokenizer.decode([*begun[place], *tokens])
        return cut(whole[len(before) :] if whole.startswith(before) else tokenizer.decode(tokens), stops)

    if (how.beams or 1) > 1:
        written = write_beams(writer, how, ends_of(model))
    else:
        so_far: list[list[int]] = [[] for _ in begun]

        def stopped(tokens: list[int]) -> bool:
            # No token is shorter than a byte, so the last few hold any stop string that has just been completed.
            tail = tokenizer.decode(tokens[-(max(len(stop.encode()) for stop in stops) + 4) :])
            return any(stop in tail for stop in stops)

        def tell(place: int, token: int) -> None:
            so_far[place].append(token)
            if told is not None:
                text = text_of(place, so_far[place])
                # A letter of several bytes is told when it is whole, and nothing that a stop may still take back.
                if not text.endswith("\ufffd") and not stops:
                    told(places[place], text)

        is_over = stopped if stops else lambda tokens: False
        written = write_tokens(writer, how, ends_of(model), is_over, tell, numbers=places)
    return [text_of(place, tokens) for place, tokens in enumerate(written)]


def frame(model: Model, tokenizer: Tokenizer, ids: np.ndarray) -> list[int]:
    """A prompt in the tokenizer's frame, as transformers reads it: a decoder continues from its last token."""
    config = cast("GenerativeConfig", model.config)
    tokens: list[int] = tokenizer.single.put(ids).tolist()
    if not tokens:
        begin = model.generation.get("bos_token_id", config.bos_token_id)
        begin = next(iter(ends_of(model)), None) if begin is None else begin
        if begin is None:
            raise UserError("An empty prompt, and the model has no token to begin a text with. Give some text.")
        tokens = [in_vocabulary("bos_token_id", begin, config.vocab_size)]
    return tokens


def ends_of(model: Model) -> tuple[int, ...]:
    """Ids of the tokens that end a text: those of `generation_config.json`, even if it has none.

    Where the model is from no folder, those of its config.
    """
    ends = model.generation.get("eos_token_id") if model.generation else getattr(model.config, "eos_token_id", None)
    return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    return text[: min([text.find(stop) for stop in stops if stop in text], default=len(text))]
