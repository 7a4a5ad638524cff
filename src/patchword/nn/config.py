"""The numbers that every model has, and those that every Transformer has."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from patchword.nn.feedforward import ACTIVATIONS

LARGEST = 2**31 - 1
"""Of any size: no tensor has more numbers along an axis."""
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Count = Annotated[int, Field(gt=0, le=1024)]
"""Of parts that are built one after another, such as layers: a wrong number must not build for hours."""
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class ModelConfig(BaseModel):
    """Sizes of a model, checked when made and never changed afterwards.

    A family adds the fields of its own way in (a vocabulary, an image size) and composes its parts from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    width: Positive
    """Numbers per vector that comes out (`d_model`, "hidden size")."""
    init_std: float = Field(0.02, gt=0.0)
    """Standard deviation of new weights (a normal cut at two deviations)."""


class TransformerConfig(ModelConfig):
    """Sizes of a stack of Transformer layers."""

    depth: Count
    """Layers."""
    heads: Positive
    kv_heads: Positive | None = None
    """Heads that keys and values have, each shared by `heads / kv_heads` heads; as many as `heads` where None."""
    head_size: Positive | None = None
    """Numbers per head, where that is not `width / heads`."""
    hidden: Positive
    """Inner width of the feed-forward part, usually 4 x width."""
    activation: str = "gelu"
    norm_eps: float = Field(1e-12, gt=0.0)
    dropout: Probability = 0.1
    """On the embeddings and after each sub-layer, while training."""
    attention_dropout: Probability = 0.1
    """On the attention weights, while training."""

    @model_validator(mode="after")
    def _heads_can_be_shared(self) -> TransformerConfig:
        if self.head_size is None and self.width % self.heads:
            raise ValueError(f"width {self.width} can not be shared equally among {self.heads} heads")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can not share {self.kv_heads} heads of keys and values equally")
        return self

    @field_validator("activation")
    @classmethod
    def _activation_is_known(cls, name: str) -> str:
        if name not in ACTIVATIONS:
            raise ValueError(f"there is no activation '{name}'; there are {', '.join(ACTIVATIONS)}")
        return name

    @property
    def head_width(self) -> int:
        """Numbers per head."""
        return self.head_size or self.width // self.heads
