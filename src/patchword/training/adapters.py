"""LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024): of each linear layer only a difference of a low rank is learnt.

    LoRA: (W + s B A) x        DoRA: m (W + s B A) / |W + s B A| x

A `[rank, inputs]` begins at random, B `[outputs, rank]` with zeros, s = alpha / rank; m is the length of each row.
Where one matrix of ours is several in files (queries, keys and values), each of those has an A and a B of its own, so
that they can be kept as the library PEFT keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.data.atomic import write_json
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.folder import write_tensors
from patchword.models.heads import VocabularyHead
from patchword.nn.attention import Attention
from patchword.training.recipe import Recipe
from patchword.training.tuning import stacks


@dataclass(frozen=True)
class Part:
    """One matrix of a file, as it stands in one of ours.

    Args:
        module: what transformers calls the layer.
        rows: how many of our rows it is.
        transposed: whether it has its inputs as rows there.
    """

    module: str
    rows: int
    transposed: bool


class Adapted(nn.Module):
    """A linear layer that is kept, and a difference that is learnt.

    Args:
        base: the layer; its weights are frozen.
        parts: what its matrix is in files, from its first row to its last.
        recipe: rank, alpha and dropout, and whether the length of rows is learnt, too (DoRA).
    """

    def __init__(self, base: nn.Linear, parts: tuple[Part, ...], recipe: Recipe) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.parts = parts
        self.scale = recipe.lora_alpha / recipe.lora_rank
        self.dropout = nn.Dropout(recipe.lora_dropout)
        rank = recipe.lora_rank
        with torch.device(base.weight.device):
            self.down = nn.ModuleList(nn.Linear(base.in_features, rank, bias=False) for _ in parts)
            self.up = nn.ModuleList(nn.Linear(rank, part.rows, bias=False) for part in parts)
        for down, up in self.pairs:
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
            nn.init.zeros_(up.weight)
        self.length = nn.Parameter(base.weight.norm(dim=1)) if recipe.tune == "dora" else None

    @property
    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """A and B of each part."""
        return cast("list[tuple[nn.Linear, nn.Linear]]", list(zip(self.down, self.up, strict=True)))

    def change(self) -> Tensor:
        """s B A, of all parts, `[outputs, inputs]`."""
        return self.scale * torch.cat([up.weight @ down.weight for down, up in self.pairs])

    def forward(self, x: Tensor) -> Tensor:
        """`[..., inputs]` -> `[..., outputs]`."""
        thinned = self.dropout(x)
        change = self.scale * torch.cat([up(down(thinned)) for down, up in self.pairs], dim=-1)
        if self.length is None:
            kept: Tensor = self.base(x)
            return kept + change
        # Section 4.3: no gradient goes through the length that is divided by. Dropout thins what both matrices see.
        row = (self.base.weight + self.change().detach()).norm(dim=1)
        output = (F.linear(thinned, self.base.weight) + change) * (self.length / row)
        return output if self.base.bias is None else output + self.base.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The linear layer that gives the same."""
        weight = self.base.weight + self.change()
        if self.length is not None:
            weight *= (self.length / weight.norm(dim=1))[:, None]
        self.base.weight.copy_(weight)
        return self.base


def adapt(model: Model, recipe: Recipe, new: tuple[str, ...]) -> str:
    """Freeze a model, but for its head, and put what is to be learnt beside the linear layers of its trunk.

    Scores of words, which a model is pretrained with, stay as they are.

    Args:
        model: changed in place.
        recipe: what is adapted, and how.
        new: names of parameters of the head that begin at random.

    Returns:
        How many parameters learn, in a sentence.

    Raises:
        UserError: the trunk has no linear layers, or files hold them in a way that an adapter can not follow.
    """
    total = model.num_parameters
    model.trunk.requires_grad_(False)
    if isinstance(model.head, VocabularyHead):
        if new:
            raise UserError(
                f"The scores of words ({new[0].removeprefix('head.')}, ...) are new and have to be learnt whole; an "
                "adapter can not hold them. Learn them first, with --tune all."
            )
        model.head.requires_grad_(False)
    places = list(_places(model, recipe.lora_targets))
    if not places:
        raise UserError(
            f"{model.family.model_type} models have no linear layers to adapt. Take --tune all or --tune head."
        )
    for owner, name, linear, full in places:
        setattr(owner, name, Adapted(linear, _parts(model, full, linear), recipe))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    kind = {"lora": "LoRA", "dora": "DoRA"}[recipe.tune]
    return f"{kind}: {learnt / 1e6:.2f} M of {total / 1e6:.1f} M parameters learn."


def _places(model: Model, targets: str) -> list[tuple[nn.Module, str, nn.Linear, str]]:
    """Linear layers of the trunk's layers: (what has it, its name there, it, its name in the model)."""
    beginnings = tuple(layers for _, layers, _ in stacks(model.trunk))
    found = []
    for name, owner in model.trunk.named_modules():
        if not f"{name}.".startswith(beginnings) or hasattr(owner, "router"):
            continue
        if targets == "attention" and not isinstance(owner, Attention):
            continue
        for child, linear in owner.named_children():
            if isinstance(linear, nn.Linear):
                found.append((owner, child, linear, f"trunk.{name}.{child}"))
    return found


def _prefix(model: Model) -> str:
    way = model.family.way_out(model.way_out)
    return "" if way.bare else way.prefix or model.family.prefix


def _parts(model: Model, name: str, linear: nn.Linear) -> tuple[Part, ...]:
    """What one of our matrices is in files, told by what a matrix of numbers becomes there."""
    rule = model.family.rule(f"{name}.weight", model.way_out, _prefix(model))
    ours = torch.arange(linear.weight.numel()).view(linear.weight.shape)
    parts, first = [], 0
    for theirs, tensor in rule.write(ours, model.config).items():
        for transposed in (False, True):
            rows = tensor.t() if transposed else tensor
            if theirs.endswith(".weight") and torch.equal(rows, ours[first : first + len(rows)]):
                parts.append(Part(_module(model, theirs.removesuffix(".weight")), len(rows), transposed))
                first += len(rows)
                break
        else:
            raise UserError(
                f"An adapter can not follow how files hold {name} of {model.family.model_type} models ('{theirs}'). "
                "Take --tune all."
            )
    return tuple(parts)


def _module(model: Model, name: str) -> str:
    """What transformers calls a layer that has this name in files."""
    for part, there in model.family.modules.items():
        name = name.replace(part, there)
    return name


def adapted(model: nn.Module) -> Iterator[tuple[nn.Module, str, Adapted]]:
    """What of a model has been adapted: (what has it, its name there, it)."""
    for owner in list(model.modules()):
        for name, part in owner.named_children():
            if isinstance(part, Adapted):
                yield owner, name, part


def merge(model: Model) -> None:
    """Make an adapted model an ordinary one that gives the same."""
    for owner, name, part in adapted(model):
        setattr(owner, name, part.merged())


# ------------------------------------------------------------------------------------------------ in PEFT's format


def write_adapter(model: Model, recipe: Recipe, start: str, folder: Path) -> None:
    """Write what was learnt as PEFT does: `adapter_config.json` and `adapter_model.safetensors`.

    `peft.PeftModel.from_pretrained(model, folder)` puts it on the start's weights, in the class of transformers that
    the model's `config.json` names.

    Args:
        model: adapted.
        recipe: it was adapted with.
        start: the folder that it was read from.
        folder: to write.
    """
    tensors: dict[str, Tensor] = {}
    parts: list[Part] = []
    for _, _, layer in adapted(model):
        edges = [0]
        for part, (down, up) in zip(layer.parts, layer.pairs, strict=True):
            tensors[f"{part.module}.lora_A.weight"] = down.weight
            tensors[f"{part.module}.lora_B.weight"] = up.weight
            edges.append(edges[-1] + part.rows)
        if layer.length is not None:
            for part, (first, last) in zip(layer.parts, pairwise(edges), strict=True):
                tensors[f"{part.module}.lora_magnitude_vector"] = layer.length[first:last]
        parts += layer.parts
    head = _head(model)
    tensors |= head
    folder.mkdir(exist_ok=True)
    kept = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(kept, folder / "adapter_model.safetensors")
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "base_model_name_or_path": start,
            "r": recipe.lora_rank,
            "lora_alpha": recipe.lora_alpha,
            "lora_dropout": recipe.lora_dropout,
            "use_dora": recipe.tune == "dora",
            "target_modules": sorted(part.module for part in parts),
            "modules_to_save": sorted({name.rpartition(".")[0] for name in head}) or None,
            "fan_in_fan_out": any(part.transposed for part in parts),
            "bias": "none",
            "inference_mode": True,
        },
    )


def _head(model: Model) -> Mapping[str, Tensor]:
    """What of the head was learnt, under its names in files."""
    tensors: dict[str, Any] = {}
    for name, parameter in model.head.named_parameters():
        if parameter.requires_grad:
            rule = model.family.rule(f"head.{name}", model.way_out, _prefix(model))
            tensors |= rule.write(parameter, model.config)
    return tensors
