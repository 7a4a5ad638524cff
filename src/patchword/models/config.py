"""What the configs of all families that read text, and of all that read images, have in common."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from patchword.errors import Notice, UserError
from patchword.models.config_file import shown
from patchword.nn.config import Count, ModelConfig, Positive, Probability, TransformerConfig

FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""JSON has lists where a config has tuples."""
Tokens = Annotated[int | tuple[int, ...] | None, FromList]
"""An id, several, or none."""

TRANSFORMER_NAMES: Mapping[str, str] = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "activation": "hidden_act",
    "norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "init_std": "initializer_range",
}
"""Fields of a `TransformerConfig` -> what BERT's `config.json`, and most since, call them."""
TEXT_NAMES: Mapping[str, str] = {
    "vocab_size": "vocab_size",
    "max_length": "max_position_embeddings",
    "pad_token_id": "pad_token_id",
    "tied": "tie_word_embeddings",
}
"""The same for what a `TextConfig` has besides."""
GENERATIVE_NAMES: Mapping[str, str] = {**TEXT_NAMES, "bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id"}
"""And for a `GenerativeConfig`."""


class TextConfig(TransformerConfig):
    """Sizes of a model that reads tokens."""

    vocab_size: Positive
    max_length: Positive = 512
    """Tokens of the longest sequence."""
    pad_token_id: int | None = Field(0, ge=0)
    """Padding never enters the core; kept for those that pad."""
    tied: bool = True
    """Whether the scores of the words are products with the word table itself."""


_UNUSED = 0.1
"""Share of a word table that may have no piece: tables are rounded up, such as T5's from 32,100 to 32,128."""


def check_vocabulary(place: str | Path, pieces: int, config: TextConfig) -> None:
    """Do a vocabulary and a model belong together, as far as their sizes say? A warning tells that it is doubtful.

    Args:
        place: where both come from.
        pieces: ids of the vocabulary.
        config: of the model.

    Raises:
        UserError: the model has too small a table.
    """
    sizes = f"{place}: the tokenizer has {pieces:,} ids, but the model was built for {config.vocab_size:,}."
    if pieces > config.vocab_size:
        raise UserError(f"{sizes} They do not belong together; take both from one folder.")
    if pieces < (1 - _UNUSED) * config.vocab_size:
        warnings.warn(
            f"{sizes} Is it this model's own? With another one all it has learnt is lost.", Notice, stacklevel=3
        )


class GenerativeConfig(TextConfig):
    """Sizes of a model that writes tokens."""

    pad_token_id: int | None = None
    bos_token_id: int | None = None
    """Begins a text."""
    eos_token_id: Tokens = None
    """Ends a text; there can be several."""


class EncoderDecoderConfig(GenerativeConfig):
    """Sizes of a model that reads one text and writes another; the fields of a stack are the encoder's."""

    decoder_depth: Count
    """Layers of the decoder."""
    decoder_start_token_id: int = 0
    """Every written text begins with it."""
    classifier_dropout: Probability = 0.0
    """Before and after the pooler of a class, while training."""

    @model_validator(mode="after")
    def _start_is_a_token(self) -> EncoderDecoderConfig:
        if not 0 <= self.decoder_start_token_id < self.vocab_size:
            raise ValueError(f"decoder_start_token_id {self.decoder_start_token_id} is none of {self.vocab_size} ids")
        return self


_MOST_PIXELS, _MOST_PLACES = 1 << 24, 1 << 14
"""Of one image. What a layer keeps of it grows with the square of its tokens: 1 GB for each head at 2^14."""


class ImageConfig(ModelConfig):
    """Sizes of a model that reads pictures; in pixels, height before width."""

    image_size: tuple[Positive, Positive] = (224, 224)
    channels: Positive = 3

    @model_validator(mode="after")
    def _fits_into_memory(self) -> ImageConfig:
        height, width = self.image_size
        if height * width > _MOST_PIXELS or self.grid[0] * self.grid[1] > _MOST_PLACES:
            raise ValueError(
                f"images of {width} x {height} pixels become {self.grid[0] * self.grid[1]:,} tokens; at most "
                f"{_MOST_PIXELS:,} pixels and {_MOST_PLACES:,} tokens are read (--image-size)"
            )
        return self

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels from one token to the next."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of places that a picture becomes; what is left over at the edge is one more."""
        return -(-self.image_size[0] // self.stride), -(-self.image_size[1] // self.stride)

    @property
    def tokens(self) -> int:
        """Tokens of one picture."""
        return self.grid[0] * self.grid[1]


def square_or_pair(size: Any) -> tuple[int, int] | None:
    """Height and width by a `config.json`, in which squares are one number.

    Raises:
        ValueError: it is neither a number nor two.
    """
    sides = [size, size] if isinstance(size, int) else size
    if size is None:
        return None
    if not isinstance(sides, list) or len(sides) != 2 or any(type(side) is not int for side in sides):
        raise ValueError(f"image_size is {shown(size)}, where one whole number or two are needed")
    return sides[0], sides[1]


class PatchConfig(ImageConfig, TransformerConfig):
    """Sizes of a Transformer that reads patches."""

    patch_size: Positive = 16

    @model_validator(mode="after")
    def _patches_cover_the_picture(self) -> PatchConfig:
        if any(side % self.patch_size for side in self.image_size):
            below = self.image_size[0] // self.patch_size * self.patch_size
            near = " or ".join(str(side) for side in (below, below + self.patch_size) if side)
            raise ValueError(
                f"images of {self.image_size[1]} x {self.image_size[0]} pixels can not be cut into patches of "
                f"{self.patch_size} x {self.patch_size}; a side near it that can is {near}"
            )
        return self

    @property
    def stride(self) -> int:
        """The side of a patch."""
        return self.patch_size

    @property
    def special_tokens(self) -> int:
        """Tokens before the patches: the class token."""
        return 1

    @property
    def tokens(self) -> int:
        """Tokens of one picture: the special ones and the patches."""
        return self.special_tokens + super().tokens
