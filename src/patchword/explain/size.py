"""Where every parameter, FLOP and byte of a model goes, from its config alone.

The model is built on the meta device, where it takes no memory, and read part by part; nothing is computed.
FLOPs: a multiplication and an addition are two; only matrix products count. Bytes are in fp32 where not said otherwise.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from patchword.errors import UserError
from patchword.explain.costs import FP32
from patchword.explain.maps import of_maps
from patchword.explain.walk import Walk, parameters
from patchword.models.config import ImageConfig
from patchword.models.family import Family, Model, preset, presets
from patchword.models.folder import examine, find_folder, surface
from patchword.models.heads import VocabularyHead
from patchword.models.stems import PatchEmbedding
from patchword.models.trunks import EncoderDecoder, Generative
from patchword.nn.attention import Attention, SelfAttention
from patchword.nn.meta import shapes_only

_LENGTH = 512
_CLASSES = {"image": 1000, "text": 2}
"""Of a preset's class head: ImageNet's, and two."""
_SUMMED = ("products", "attention", "kept", "matrices", "once")
BACKWARD = 2
"""Times the forward pass: each product has one for the gradient of its input, and one for that of its weights."""


@dataclass(frozen=True)
class Part:
    """What one kind of part has, all layers together; costs are for one sequence.

    Args:
        name: what it is.
        parameters: numbers that are learnt; shared ones count where they come first.
        active: those that one token uses.
        products: FLOPs of products with weights, forward.
        attention: FLOPs of products of tokens with tokens, forward.
        kept: bytes that are kept for the backward pass.
        matrices: those of them that are attention matrices.
        once: bytes that are kept once, whatever the number of sequences.
    """

    name: str
    parameters: int
    active: int
    products: int
    attention: int
    kept: int
    matrices: int
    once: int


@dataclass(frozen=True)
class Size:
    """A model on paper.

    Args:
        name: of the preset or folder.
        family: Hugging Face's name of its architecture.
        way_out: its head.
        parts: its parts, in the order in which a sequence meets them.
        tokens: of one input, the class token and the like included.
        written: tokens that the decoder of an encoder-decoder is given; 0 elsewhere.
        patches: rows and columns of patches of one picture.
        attention_matrices: heads of all layers: so many matrices for one input.
        attention_entries: in all of them together.
        cache_per_token: keys and values that a decoder keeps of a token of its own, in numbers.
        cache_per_read_token: the same of a token that it looks at by cross-attention.
        cache_full: numbers at full length; less than their product where layers see a window.
        targets: share of the tokens that a vocabulary head scores.
        batch: sequences at once.
        training: whether it learns.
    """

    name: str
    family: str
    way_out: str
    parts: tuple[Part, ...]
    tokens: int
    written: int
    patches: tuple[int, int] | None
    attention_matrices: int
    attention_entries: int
    cache_per_token: int
    cache_per_read_token: int
    cache_full: int
    targets: float
    batch: int
    training: bool

    def total(self, field: str) -> int:
        """The sum of a number over all parts."""
        return sum(getattr(part, field) for part in self.parts)

    @property
    def flops(self) -> int:
        """Of one sequence, forward."""
        return self.total("products") + self.total("attention")

    @property
    def training_flops(self) -> int:
        """Of one sequence, forward and backward."""
        return (1 + BACKWARD) * self.flops

    @property
    def training_flops_per_token(self) -> float:
        """ "Model FLOPs" of a token that is learnt from: nothing that is computed twice or on padding counts."""
        return self.training_flops / max(self.tokens, 1)

    def kept(self, sequences: int) -> int:
        """Bytes that are kept of so many for the backward pass."""
        return sequences * self.total("kept") + self.total("once")

    @property
    def weight_bytes(self) -> dict[str, int]:
        """Of the weights, by precision."""
        count = self.total("parameters")
        return {"fp32": 4 * count, "bf16": 2 * count}

    @property
    def training_bytes(self) -> dict[str, int]:
        """What learning holds in fp32: weights, gradients, AdamW's two averages, and what a batch keeps."""
        count = FP32 * self.total("parameters")
        kept = self.kept(self.batch)
        return {"weights": count, "gradients": count, "adamw": 2 * count, "activations": kept}

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for machines."""
        result = asdict(self) | {
            "parameters": self.total("parameters"),
            "active_parameters": self.total("active"),
            "weight_bytes": self.weight_bytes,
            "flops": {
                "per_sequence": self.flops,
                "per_token": self.flops / max(self.tokens, 1),
                "per_batch": self.batch * self.flops,
                "products": self.total("products"),
                "attention": self.total("attention"),
            },
        }
        if self.training:
            result |= {
                "training_flops": {
                    "per_sequence": self.training_flops,
                    "per_token": self.training_flops_per_token,
                    "per_batch": self.batch * self.training_flops,
                },
                "training_bytes": self.training_bytes,
                "kept_per_sequence": self.total("kept"),
            }
        return result


def explain(
    start: str | os.PathLike[str],
    *,
    length: int | None = None,
    written: int | None = None,
    batch: int = 1,
    training: bool = True,
    targets: float | None = None,
    way_out: str | None = None,
) -> Size:
    """Where every parameter, FLOP and byte of a model goes; no weight is made or read.

    Args:
        start: a preset, a model folder, or a hub name.
        length: tokens of one text; 512, or what the model takes at most, where None. Pictures have theirs.
        written: tokens that an encoder-decoder writes; as many as it reads where None.
        batch: sequences at once.
        training: whether it learns.
        targets: share of the tokens that a vocabulary head scores (0.15 under a mask); all of them where None.
        way_out: a head of the family; the folder's own, or the one that is pretrained with, where None.

    Raises:
        UserError: no such model or head, or a length that it does not take.
    """
    path = Path(start)
    if str(start) in presets() or not (path.exists() or "/" in str(start)):
        family, config = preset(str(start))
        way_out = way_out or _pretrained_as(family)
        labels = tuple(map(str, range(_CLASSES[family.modality])))
        problem = None
    else:
        description = examine(find_folder(start))
        surface(description.notes)
        family, config, labels, problem = (
            description.family,
            description.config,
            description.labels,
            description.problem,
        )
        way_out = way_out or description.way_out
    with shapes_only():
        model = Model(family, config, way_out, labels, problem)
    return size_of(model, str(start), length, written, batch=batch, training=training, targets=targets)


def training_flops_per_token(start: str | os.PathLike[str], **options: Any) -> float:
    """ "Model FLOPs" of learning from one token: what a speed in tokens per second is multiplied with.

    Args:
        start, options: as in `explain`.
    """
    return explain(start, **options).training_flops_per_token


def size_of(
    model: Model,
    name: str = "",
    length: int | None = None,
    written: int | None = None,
    *,
    batch: int = 1,
    training: bool = True,
    targets: float | None = None,
) -> Size:
    """The same of a model that there is, real or on the meta device.

    Raises:
        UserError: a length that it does not take.
    """
    if targets is not None and not isinstance(model.head, VocabularyHead):
        raise UserError(f"targets: only for heads that score words; {model.way_out} scores none. Leave it out.")
    if written is not None and not isinstance(model.trunk, EncoderDecoder):
        raise UserError("written: only for models with an encoder and a decoder. Leave it out.")
    targets = 1.0 if targets is None else targets
    if batch < 1 or not 0.0 <= targets <= 1.0:
        raise UserError(f"A batch of {batch} with {targets} of its tokens as targets: give at least 1, and 0 to 1.")
    config, trunk = model.config, model.trunk
    patches = next((part for part in trunk.modules() if isinstance(part, PatchEmbedding)), None)
    if model.family.modality == "text":
        tokens = _length(config, length)
        written = _length(config, written or tokens) if isinstance(trunk, EncoderDecoder) else 0
    elif length is not None:
        raise UserError("A picture has as many tokens as it has patches; --length is for models that read texts.")
    else:
        tokens, written = (config.tokens if isinstance(config, ImageConfig) else 0), 0
    walk = Walk(getattr(config, "width", 0), tokens, written or 0, targets)
    if any(isinstance(part, nn.Conv2d) for part in trunk.modules()) and not patches:
        with shapes_only():
            shapes = (model.family.way_out(model.way_out).trunk or model.family.trunk)(config)
        assert isinstance(config, ImageConfig)
        found, tokens = of_maps(shapes, (config.channels, *config.image_size))
        walk.costs += found
    else:
        walk.visit(trunk, tokens)
    walk.visit(model.head, written or tokens)
    return Size(
        name=name,
        family=model.family.model_type,
        way_out=model.way_out,
        parts=_parts(model, walk),
        tokens=tokens,
        written=written or 0,
        patches=config.grid if patches and isinstance(config, ImageConfig) else None,
        attention_matrices=sum(layer.heads for layer, _, _ in walk.attentions),
        attention_entries=sum(layer.heads * looks * seen for layer, looks, seen in walk.attentions),
        **_cache(trunk, tokens, written or tokens),
        targets=targets,
        batch=batch,
        training=training,
    )


def _pretrained_as(family: Family) -> str:
    wanted = ("masked_token", "next_token", "class") if family.modality == "text" else ("class",)
    return next((name for name in wanted if name in family.ways_out), next(iter(family.ways_out)))


def _length(config: Any, length: int | None) -> int:
    if length is None:
        return min(config.max_length, _LENGTH)
    if not 0 < length <= config.max_length:
        raise UserError(
            f"A sequence of {length} tokens, but this model takes 1 to {config.max_length}: "
            "give a --length in between, or a folder whose config.json says more."
        )
    return length


def _parts(model: Model, walk: Walk) -> tuple[Part, ...]:
    owned: dict[str, list[float]] = {}
    seen: set[int] = set()
    for part, parameter, share in parameters(model):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            numbers = owned.setdefault(part, [0, 0])
            numbers[0] += parameter.numel()
            numbers[1] += parameter.numel() * share
    parts = []
    for name in dict.fromkeys((*owned, *(cost.part for cost in walk.costs))):
        mine = [cost for cost in walk.costs if cost.part == name]
        count, active = owned.get(name, (0, 0))
        sums = {what: round(sum(getattr(cost, what) for cost in mine)) for what in _SUMMED}
        parts.append(Part(name, int(count), round(active), **sums))
    # The head comes last, and the loss after it.
    last = {"head": 1, "loss": 2}
    kept = (part for part in parts if part.parameters or part.products or part.attention or part.kept or part.once)
    return tuple(sorted(kept, key=lambda part: last.get(part.name, 0)))


def _cache(trunk: nn.Module, read: int, written: int) -> dict[str, int]:
    own = other = full = 0
    for layer in trunk.decoder.modules() if isinstance(trunk, Generative) else ():
        if isinstance(layer, SelfAttention):
            numbers = 2 * layer.kv_heads * layer.head_width
            window = layer.using.mask.window
            own += numbers
            full += numbers * (written if window is None else min(written, window + 1))
        elif isinstance(layer, Attention):
            numbers = 2 * layer.heads * layer.head_width
            other += numbers
            full += numbers * read
    return {"cache_per_token": own, "cache_per_read_token": other, "cache_full": full}
