"""The tokenizer of a model folder, checked against the model that reads its ids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice, UserError
from patchword.models.config import TextConfig, check_vocabulary
from patchword.models.family import Family
from patchword.models.folder import Description
from patchword.models.trunks import Decoder
from patchword.nn.config import ModelConfig


def read_text_reader(folder: Path, description: Description, card: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a folder. A Notice names the settings that nothing reads.

    Args:
        folder: of the model.
        description: its `config.json`.
        card: its `patchword.json`; empty where another program wrote the folder.

    Raises:
        UserError: it can not be read, has more ids than the model, or gives token types that the model has not.
    """
    config = description.config
    assert isinstance(config, TextConfig)
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(folder, tokenizer.vocab_size, config)
    if tokenizer.unread:
        warnings.warn(
            f"{folder / 'tokenizer_config.json'}: not read here: {', '.join(tokenizer.unread)}.", Notice, stacklevel=2
        )
    if card:
        return as_trained(tokenizer, description.family, config, description.way_out)
    if tokenizer.token_types:
        _check_token_types(folder, tokenizer, description)
    return tokenizer


def as_trained(tokenizer: Tokenizer, family: Family, config: ModelConfig, way_out: str) -> Tokenizer:
    """The tokenizer as patchword trains a model with it.

    A decoder that writes reads nothing after a text; other models get a token between the texts of a pair. Token types
    are given to models that have a table of them. Folders of version 0.1.0 were trained so, and do not say it.
    """
    writes = way_out == "next_token" and issubclass(family.way_out(way_out).trunk or family.trunk, Decoder)
    trained = tokenizer.open_ended() if writes else tokenizer.with_separator()
    trained.token_types = getattr(config, "segments", 1) > 1
    return trained


def _check_token_types(folder: Path, tokenizer: Tokenizer, description: Description) -> None:
    name = folder / "tokenizer_config.json"
    what = 'Set "model_input_names": ["input_ids", "attention_mask"] there if the model was trained without them.'
    if description.family.adds_token_types and description.way_out != "next_token":
        raise UserError(
            f"{name}: the tokenizer gives token types, and transformers adds the word vector of each to the token's "
            f"own in {description.family.model_type} models, which is not supported. {what}"
        )
    kinds = getattr(description.config, "segments", None)
    if kinds is None:
        return
    for frame, inputs in ((tokenizer.single, "texts"), (tokenizer.pair, "pairs of texts")):
        most = max((*frame.text_types, *(kind for part in frame.types for kind in part)))
        problem = (
            f"{name}: the tokenizer gives {inputs} token types up to {most}, but the model has {kinds} "
            f"(type_vocab_size). {what}"
        )
        if most >= kinds and frame is tokenizer.single:
            raise UserError(problem)
        if most >= kinds:
            tokenizer.refuse_pairs(problem)
