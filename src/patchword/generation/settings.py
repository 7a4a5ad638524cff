"""How to write, as data: what a person asks for, over what the model's folder says, over the defaults."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from patchword.errors import Notice, UserError
from patchword.models.config_file import shown
from patchword.models.generation_config import DECODING, GENERATION_CONFIG, KEYS, REFUSED, TOKENS

Count = Annotated[int, Field(gt=0, strict=True)]
From0 = Annotated[int, Field(ge=0, strict=True)]
Above0 = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Token = Annotated[int, Field(ge=0, strict=True)]
Tokens = Annotated[tuple[Token, ...], BeforeValidator(lambda value: (value,) if isinstance(value, int) else value)]
Words = Annotated[tuple[Token, ...], Field(min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]

MAX_NEW_TOKENS = 64
_TOP_K_OF_TRANSFORMERS = 50
_SAMPLING = ("top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "seed")
_OF_BEAMS = ("length_penalty", "early_stopping")
_OURS = {"num_beams": "beams", "stop_strings": "stop"}


class Generation(BaseModel):
    """How the next token is chosen from its scores; None: as the model's folder says, or else as described here.

    Names and effects are those of transformers' `GenerationConfig`, but for `temperature`, `beams`, `stop` and `seed`.
    Without a temperature and with one beam the best token is taken (greedy).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: Count | None = None
    """64 where neither this nor `max_length` is given."""
    max_length: Count | None = None
    """The same with the prompt (or the start token) counted; `max_new_tokens` is over it."""
    min_new_tokens: From0 | None = None
    """No end token before so many; 0."""
    min_length: From0 | None = None
    """The same with the prompt (or the start token) counted."""
    temperature: Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)] | None = None
    """Scores are divided by it, and a token is drawn; 0, the default, takes the best."""
    top_h: Annotated[float, Field(gt=0.0, le=1.0, strict=True)] | None = None
    """Draw from the best tokens whose entropy is at most this share of that of the 100 best."""
    top_k: From0 | None = None
    """Draw from so many best tokens only; 0: from all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0, strict=True)] | None = None
    """Draw from the fewest best tokens that have this share together (Holtzman et al. 2020)."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0, strict=True)] | None = None
    """Draw from tokens that have at least this share of the best one's (Nguyen et al. 2024)."""
    typical_p: Annotated[float, Field(gt=0.0, le=1.0, strict=True)] | None = None
    """Draw from the tokens nearest to the expected information that have this share (Meister et al. 2022)."""
    epsilon_cutoff: Annotated[float, Field(ge=0.0, lt=1.0, strict=True)] | None = None
    """Draw from tokens of at least this probability (Hewitt et al. 2022)."""
    eta_cutoff: Annotated[float, Field(ge=0.0, lt=1.0, strict=True)] | None = None
    """The same, lower where the entropy is high."""
    beams: Count | None = None
    """Texts that are followed side by side; the best whole one wins; 1."""
    length_penalty: Number | None = None
    """A beam's score is its log-probability / length^penalty: above 0 favours long texts; 1."""
    early_stopping: Flag | Literal["never"] | None = None
    """Stop at as many whole texts as beams (True), when a better one is unlikely (False) or impossible ("never")."""
    repetition_penalty: Above0 | None = None
    """Scores of tokens that stand there already are divided by it, if above 0, or multiplied (Keskar et al. 2019)."""
    encoder_repetition_penalty: Above0 | None = None
    """The opposite, for tokens of the prompt."""
    no_repeat_ngram_size: From0 | None = None
    """No sequence of so many tokens stands there twice."""
    encoder_no_repeat_ngram_size: From0 | None = None
    """No sequence of so many tokens of the prompt is written."""
    bad_words_ids: tuple[Words, ...] | None = None
    """Sequences of tokens that are not written."""
    suppress_tokens: tuple[Whole, ...] | None = None
    """Tokens that are not written."""
    begin_suppress_tokens: tuple[Whole, ...] | None = None
    """Tokens that are not written first."""
    sequence_bias: tuple[tuple[Words, Number], ...] | None = None
    """Sequences of tokens, and what is added to the score of the last one where the others stand before it."""
    exponential_decay_length_penalty: tuple[From0, Above0] | None = None
    """After so many new tokens the score of an end grows by this factor with each token."""
    forced_bos_token_id: Token | None = None
    """The token after a single one (the start token)."""
    forced_eos_token_id: Tokens | None = None
    """The last token of a text that is as long as it may be."""
    decoder_start_token_id: Token | None = None
    """What an encoder-decoder begins to write with; in a file that has none its `bos_token_id`."""
    bos_token_id: Token | None = None
    """What an empty prompt becomes."""
    renormalize_logits: Flag | None = None
    """Whether beams add up log-probabilities that are normalised again after all of the above."""
    remove_invalid_values: Flag | None = None
    """Whether scores that are not finite are replaced."""
    stop: Texts | None = None
    """A text ends before the first of these."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Of what is drawn; 0. Each prompt has its own generator, so that its text does not depend on the others."""

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn."""
        return bool(self.temperature)


def read_settings(settings: Mapping[str, Any], where: str = "") -> Generation:
    """Settings that a person gave, or a file, each within its range.

    Raises:
        UserError: one is not.
    """
    try:
        return Generation(**{name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        at = f"{problem['loc'][0]} = {shown(problem['input'])}: " if problem["loc"] else ""
        raise UserError(f"{where}{at}{problem['msg'].removeprefix('Value error, ')}.") from error


def in_vocabulary(key: str, token: int, vocab_size: int) -> int:
    """A token that a model reads or has a score for.

    Raises:
        UserError: it is none of the model's.
    """
    if not 0 <= token < vocab_size:
        raise UserError(f"{key} = {token} is none of the model's {vocab_size:,} tokens (0 to {vocab_size - 1:,}).")
    return token


def complete(how: Generation, generation: Mapping[str, Any]) -> Generation:
    """What a person asks for, over the settings of a model's folder.

    Args:
        how: None where it is as the folder says.
        generation: `Model.generation`.

    Raises:
        UserError: the file asks for something that is not supported, or two settings contradict each other.
    """
    folder = _of_folder(generation)
    given = {name: getattr(how, name) for name in Generation.model_fields if getattr(how, name) is not None}
    values = {name: getattr(folder, name) for name in Generation.model_fields if getattr(folder, name) is not None}
    if "max_new_tokens" not in given and "max_length" in given:
        values.pop("max_new_tokens", None)
    if "min_new_tokens" not in given and "min_length" in given:
        values.pop("min_new_tokens", None)
    whole = Generation(**(values | given))
    if not whole.samples:
        if wrong := [name for name in _SAMPLING if name in given]:
            raise UserError(f"{wrong[0]}: only for tokens that are drawn; give a temperature as well, or leave it out.")
        whole = whole.model_copy(update=dict.fromkeys(_SAMPLING))
    _check(whole, given, generation)
    if (whole.beams or 1) == 1:
        whole = whole.model_copy(update=dict.fromkeys(_OF_BEAMS))
    return whole


def _check(whole: Generation, given: Mapping[str, Any], generation: Mapping[str, Any]) -> None:
    beams = (whole.beams or 1) > 1
    problem = ""
    if whole.samples and (whole.temperature or 0.0) < 1e-6:
        problem = f"a temperature of {whole.temperature:g} draws the best token only: give 0"
    elif beams and whole.samples:
        problem = "beams follow the best texts, a temperature draws one: give one of the two"
    elif beams and whole.stop:
        problem = "with beams a text ends at its end token, not at a stop string"
    elif not beams and (wrong := [name for name in _OF_BEAMS if name in given]):
        problem = f"{wrong[0]} chooses among beams: give --beams as well"
    if not problem:
        return
    theirs = {"temperature": ("do_sample", "temperature"), "beams": ("num_beams",), "stop": ("stop_strings",)}
    named = [key for ours, keys in theirs.items() if ours not in given for key in keys if generation.get(key)]
    of_file = ", ".join(f"{key} = {generation[key]!r}" for key in named)
    raise UserError(f"{problem}{f' ({GENERATION_CONFIG} has {of_file})' if of_file else ''}.")


def _of_folder(generation: Mapping[str, Any]) -> Generation:
    """What `generation_config.json` says, in our words.

    Raises:
        UserError: a key that changes the text and is not supported, or a value out of its range.
    """
    values = {_OURS.get(key, key): generation[key] for key in (*TOKENS, *DECODING) if key in generation}
    values = {name: value for name, value in values.items() if name not in ("eos_token_id", "do_sample")}
    samples = generation.get("do_sample")
    if samples not in (None, True, False) or type(samples) is int:
        raise UserError(f"{GENERATION_CONFIG}: do_sample is {shown(samples)}, where true or false is needed.")
    if samples:
        values.setdefault("temperature", 1.0)
        values.setdefault("top_k", _TOP_K_OF_TRANSFORMERS)
    else:
        values.pop("temperature", None)
    if values.get("early_stopping") is False:
        del values["early_stopping"]
    settings = read_settings(values, f"{GENERATION_CONFIG}: ")
    if "decoder_start_token_id" not in values:
        settings = settings.model_copy(update={"decoder_start_token_id": settings.bos_token_id})
    for key, harmless in REFUSED.items():
        value = generation.get(key)
        # Contrastive search is what `penalty_alpha` asks for; beside anything else transformers ignores it.
        if key == "penalty_alpha" and not _is_contrastive(settings):
            continue
        if value is not None and value != harmless:
            raise UserError(
                f"{GENERATION_CONFIG}: {key} = {shown(value)} is not supported, and it changes the text. Take it out."
            )
    if (count := generation.get("num_return_sequences")) not in (None, 1):
        _tell(f"{GENERATION_CONFIG}: num_return_sequences = {count} is not used; each prompt gets one text.")
    if unknown := sorted(generation.keys() - KEYS):
        _tell(f"{GENERATION_CONFIG}: keys that are not used ({len(unknown)}): {', '.join(unknown[:5])}.")
    return settings


def _is_contrastive(settings: Generation) -> bool:
    top_k = _TOP_K_OF_TRANSFORMERS if settings.top_k is None else settings.top_k
    return not settings.samples and settings.beams in (None, 1) and top_k > 1


def _tell(sentence: str) -> None:
    warnings.warn(sentence, Notice, stacklevel=4)
