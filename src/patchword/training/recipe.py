"""The settings of a run, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Above0 = Annotated[float, Field(gt=0.0)]
UpTo1 = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(gt=0, le=2**53)]


class Recipe(BaseModel):
    """How a model learns. Exactly one of `steps`, `epochs` and `minutes` says for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Count | None = None
    epochs: Above0 | None = None
    minutes: Above0 | None = None
    """Wall time of the whole command, from reading the data to the report, all seeds included."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW for everything, or Muon for the matrices of layers and AdamW for the rest (`training/muon.py`)."""
    lr: Above0
    matrix_lr: float = Field(1.0, gt=0.0)
    """What the learning rate of the matrices of layers is multiplied by (`training/matrices.py`)."""
    schedule: Literal["linear", "cosine", "wsd"] = "cosine"
    """After the warm-up: a line or half a cosine to 0, or (wsd) level and then a line to 0 over the last fifth."""
    warmup: Share = 0.1
    """Share of the run in which the rate rises from 0."""
    weight_decay: float = Field(0.01, ge=0.0)
    betas: tuple[Share, Share] = (0.9, 0.98)
    eps: Above0 = 1e-6
    clip: Above0 = 1.0
    """Largest norm of the gradient of all weights together."""

    tune: Literal["all", "head", "lora", "dora"] = "all"
    """What learns: everything, the head alone, or the head and matrices of a low rank (`training/adapters.py`)."""
    head_lr: float = Field(1.0, gt=0.0)
    """What the learning rate of the scores of new classes is multiplied by: they begin at random, the rest does not."""
    layer_decay: float = Field(1.0, gt=0.0, le=1.0)
    """What the learning rate of each layer is multiplied by, for each layer above it and the head."""
    unfreeze: bool = False
    """The head learns first, then one layer more from the top, until at half of the run everything does."""
    lora_rank: int = Field(8, gt=0, le=4096)
    lora_alpha: Above0 = 16.0
    lora_dropout: Share = 0.0
    lora_targets: Literal["all", "attention"] = "all"
    """Which linear layers get a matrix of a low rank: all of the trunk's layers, or those of attention."""

    batch_tokens: Count = 8192
    batch_size: Count | None = None
    """Examples at most, where a batch is not to be as many as fit `batch_tokens`."""
    micro_tokens: Count | None = None
    """Tokens that go through the model at once; a larger batch is computed in parts, whose gradients are added up.

    The result is that of the whole batch where the loss is a sum over examples (`training/micro_batches.py`)."""
    memory: Above0 | None = None
    """Gigabytes that learning may take: layers are computed twice where it takes more (`training/recompute.py`)."""
    batch_ramp: Share = 0.0
    """Share of the run over which batches grow to their size, in a line from `batch_start` of it."""
    batch_start: UpTo1 = 0.25
    length_ramp: Share = 0.0
    """The same for the length of texts without labels: longer ones are cut into several, from `length_start` on."""
    length_start: UpTo1 = 0.25
    mask_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.15
    """Share of a text that is hidden while masked words are learnt; an evaluation always hides 15 %."""
    dropout: Share | None = 0.0
    """None: what the start learnt with, as its folder says."""
    attention_dropout: Share = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    evaluations: Count = 10
    """How often the validation part is looked at, evenly over the run."""
    keep: Literal["best", "last"] = "best"
    """The weights of the best evaluation, or those at the end: on few rows the best evaluation is the luckiest one."""
    patience: Count | None = None
    """Stop after so many evaluations without a better one."""
    average: bool = False
    """Average the weights of evaluations, as long as validation prefers the mean."""
    ema: UpTo1 | None = None
    """Evaluate and keep a mean of the weights over about this share of the steps so far (`training/ema.py`), not the
    weights at each moment."""
    blend: UpTo1 = 1.0
    """How far the layers that are kept lie on the way from those of the start to those learnt (`training/blend.py`)."""
    checkpoint_seconds: Above0 = 60.0
    checkpoint_steps: Count | None = None
    log_steps: Count = 1
    workers: int | None = Field(None, ge=0, le=256)
    """Threads that prepare the next batches meanwhile; where not given, one beside a GPU. On a CPU, whose cores are all
    at work in the model, batches made in between took 0.1 % of the time (bert-mini) to 1.1 % (vit-tiny)."""

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        given = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of steps, epochs and minutes" + (f", not {' and '.join(given)}" if given else "")
            )
        if self.keep == "last" and (self.average or self.patience):
            raise ValueError("average and patience ask which weights are best, so they do not go with keep last")
        if self.unfreeze and self.tune != "all":
            raise ValueError(f"unfreeze lets all layers learn in the end, so it does not go with tune {self.tune}")
        if self.blend < 1 and self.tune != "all":
            raise ValueError(f"blend goes from the start's weights to others, and with tune {self.tune} these stay")
        if self.optimizer == "muon" and self.tune != "all":
            raise ValueError(f"muon moves the matrices of layers, so it does not go with tune {self.tune}")
        return self
