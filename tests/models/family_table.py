"""What every family is made of, read from its modules: `python -m tests.models.family_table` writes docs/families.md.

Parts are known by their types, so a family that is added is described as well.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn

import patchword.models
from patchword.explain.size import explain
from patchword.explain.walk import NORMS
from patchword.models.family import Family
from patchword.models.stems import PatchEmbedding, SegmentedEmbedding, WordEmbedding
from patchword.nn.attention import CrossAttention, Mask, SelfAttention
from patchword.nn.block import Block
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward
from patchword.nn.norm import Scaled
from patchword.tasks.task import tasks

PAGE = Path("docs/families.md")
ABOUT = """# Families

Every family is a configuration of one core, with its way in and its ways out. Written by
`python -m tests.models.family_table`, which builds each preset where it takes no memory and looks at its parts; a test
holds the page to that. "Both ways" is a mask under which a token sees all others ([two masks](two-masks.md)); how
near each is to `transformers` is in [parity](parity.md).
"""
PRESETS = """## Presets

Numbers that are learnt, with the head that is named; a class head has 1,000 classes. After a + the layers of a decoder;
a ResNet's layers are its blocks. `patchword explain` says where the numbers are.
"""
COLUMNS = ("family", "paper", "reads", "layers", "positions", "sees", "feed-forward", "`pretrain` asks for", "ways out")
POSITIONS = {
    "LearnedPositions": "learned",
    "GridSinCos": "sines and cosines",
    "Rotary": "rotary",
    "RelativeBias": "relative bias",
}
FUNCTIONS = {"gelu": "GELU", "relu": "ReLU", "silu": "SiLU"}


def described() -> Iterator[tuple[str, Family]]:
    """The first words of each family's file, and the family."""
    for module in pkgutil.iter_modules(patchword.models.__path__, "patchword.models."):
        made = importlib.import_module(module.name)
        if hasattr(made, "FAMILY"):
            yield made.__doc__ or "", made.FAMILY


def once(words: Iterable[str], between: str = ", ") -> str:
    """Each one time, in the order in which they came; those that are empty left out."""
    return between.join(dict.fromkeys(filter(None, words)))


def reads(trunk: nn.Module, special: int) -> str:
    """The ways in."""
    for part in trunk.modules():
        match part:
            case SegmentedEmbedding() if part.segments.num_embeddings > 1:
                return "words, segments"
            case WordEmbedding():
                return "words"
            case PatchEmbedding():
                return f"patches, {special} more"
    return "pixels"


def layers(trunk: nn.Module) -> str:
    """Order, norms, biases."""
    parts = list(trunk.modules())
    attention = [part for part in parts if isinstance(part, SelfAttention)]
    if not attention:
        norms = (type(part).__name__.removesuffix("2d") for part in parts if isinstance(part, NORMS))
        return once(("residual convolutions", *norms))
    blocks = [part for part in parts if isinstance(part, Block)]
    return once(
        (
            *(block.order.__name__.replace("_", "-") for block in blocks),
            *(type(block.feedforward_norm).__name__ for block in blocks),
            *("another for queries and keys" for layer in attention if not isinstance(layer.query_norm, nn.Identity)),
            *("LayerScale" for part in parts if isinstance(part, Scaled)),
            *("no biases" for layer in attention if layer.qkv.bias is None),
        )
    )


def positions(trunk: nn.Module) -> str:
    """How a place in the sequence is told."""
    names = (type(p).__name__ for p in trunk.modules() if type(p).__module__ == "patchword.nn.positions")
    return once(POSITIONS.get(name, name) for name in names)


def sight(mask: Mask) -> str:
    """What a token sees."""
    if mask.window is None:
        return "causal" if mask.causal else "both ways"
    return f"causal, {mask.window:,} back" if mask.causal else f"{mask.window:,} to each side"


def sees(trunk: nn.Module) -> str:
    """The masks of its layers."""
    attention = [part for part in trunk.modules() if isinstance(part, SelfAttention)]
    crossed = ["cross-attention"] * any(isinstance(part, CrossAttention) for part in trunk.modules())
    return once((*(sight(layer.using.mask) for layer in attention), *crossed), "; ")


def shared_keys(trunk: nn.Module) -> bool:
    """Whether several heads have the same keys and values."""
    return any(part.kv_heads < part.heads for part in trunk.modules() if isinstance(part, SelfAttention))


def feedforward(trunk: nn.Module) -> str:
    """What is between the two products."""
    names = {id(function): name for name, function in ACTIVATIONS.items()}
    words = []
    for part in trunk.modules():
        if isinstance(part, FeedForward | MixtureOfExperts):
            name = names[id(part.activation)]
            function = FUNCTIONS.get(name.split("_")[0], name)
            gates = "gated " if isinstance(part, GatedFeedForward | MixtureOfExperts) else ""
            experts = f", {part.active} experts a token" if isinstance(part, MixtureOfExperts) else ""
            words.append(gates + function + experts)
    return once(words)


def row(about: str, family: Family) -> list[str]:
    """A family's line."""
    with torch.device("meta"):
        trunks = [(family.trunk(config), config) for config in family.presets.values()]
    shared = [shared_keys(trunk) for trunk, _ in trunks]
    paper = re.search(r"\(([A-Z][^()]*? (?:19|20)\d\d\w?)[^()]*\)", about)
    assert paper, f"{family.model_type}: the file says no paper"
    seen = once((sees(trunk) for trunk, _ in trunks), " or ")
    return [
        f"{re.split(r':| [(]', about)[0]} `{family.model_type}`",
        paper[1],
        once((reads(trunk, getattr(config, "special_tokens", 0)) for trunk, config in trunks), " or "),
        once((layers(trunk) for trunk, _ in trunks), " or "),
        once((positions(trunk) for trunk, _ in trunks), " or "),
        seen + "; keys shared by heads" * any(shared) + " in some" * (any(shared) and not all(shared)),
        once((feedforward(trunk) for trunk, _ in trunks), " or "),
        family.objective,
        ", ".join(family.ways_out),
    ]


def presets(family: Family) -> Iterator[list[str]]:
    """The lines of a family's presets, with the head that it is pretrained with."""
    way_out = tasks()[family.objective].way_out
    for name, config in family.presets.items():
        size = explain(name, way_out=way_out)
        count, active = size.total("parameters"), size.total("active")
        stacks = [getattr(config, field) for field in ("depth", "decoder_depth") if hasattr(config, field)]
        yield [
            f"`{name}`",
            " + ".join(map(str, stacks)),
            str(config.width),
            str(getattr(config, "heads", "")),
            way_out,
            f"{count:,}" + f" (active {active:,})" * (active != count),
        ]


def table(columns: tuple[str, ...], rows: Iterable[list[str]]) -> str:
    """As Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page() -> str:
    """docs/families.md."""
    families = list(described())
    return "\n".join(
        (
            ABOUT,
            table(COLUMNS, (row(*family) for family in families)),
            PRESETS,
            table(
                ("preset", "layers", "width", "heads", "head", "parameters"),
                (line for _, family in families for line in presets(family)),
            ),
        )
    )


if __name__ == "__main__":
    PAGE.write_text(page())
