"""What a sweep tries: settings of a recipe, around those that it has by default."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchword.errors import UserError
from patchword.models.family import Model
from patchword.nn.meta import shapes_only
from patchword.tasks.task import task_named
from patchword.training.adapters import adapt
from patchword.training.prepare import family_of
from patchword.training.recipe import Recipe
from patchword.training.run import RunConfig
from patchword.training.tuning import RATES, freeze_trunk, head_rate

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = Mapping[str, Any]
"""A value for each name of `Space.distributions`."""


@dataclass(frozen=True)
class Space:
    """Settings to search.

    A learning rate is given by what the usual one, of what learns, is multiplied by: a good one for a head alone is a
    hundred times that for all parameters, and the search need not find that out.

    Args:
        recipe: the default; it is a point of the space.
        distributions: where each setting is searched.
    """

    recipe: Recipe
    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def around(cls, run: RunConfig, given: Collection[str]) -> Space:
        """The space around the settings of a run.

        Args:
            run: with the default recipe.
            given: names of settings that somebody has chosen; they are not searched.
        """
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        recipe = run.recipe
        found: dict[str, BaseDistribution] = {
            "lr": FloatDistribution(0.1, 10.0, log=True),
            # A decay over layers that was chosen says nothing where no layer learns.
            "tune": CategoricalDistribution([way for way in _ways(run) if way != "head" or "layer_decay" not in given]),
            "layer_decay": FloatDistribution(0.7, 1.0, step=0.05),
        }
        if task_named(run.task, family_of(run)[0]).new_head:
            found["head_lr"] = FloatDistribution(1.0, 100.0, log=True)
        if recipe.epochs is not None:
            found["epochs"] = IntDistribution(max(1, int(recipe.epochs) // 4), int(recipe.epochs) * 2, log=True)
        if recipe.batch_size is not None:
            found["batch_size"] = CategoricalDistribution(sorted({8, 16, 32, 64, recipe.batch_size}))
        if "dropout" in family_of(run)[0].config.model_fields:
            found["dropout"] = FloatDistribution(0.0, 0.3, step=0.05)
        return cls(recipe, {name: how for name, how in found.items() if name not in given})

    @property
    def default(self) -> Point:
        """Where the default recipe is."""
        values = self.recipe.model_dump() | {"lr": 1.0}
        return {name: values[name] for name in self.distributions}

    def settings(self, point: Point) -> dict[str, Any]:
        """Settings of `finetune` at a point, as far as they are not the default."""
        values = dict(point)
        tune = values.setdefault("tune", self.recipe.tune)
        if "lr" in values:
            values["lr"] = self.recipe.lr * RATES[tune] / RATES[self.recipe.tune] * values["lr"]
            if values["lr"] != self.recipe.lr:
                values["lr"] = float(f"{values['lr']:.3g}")
        for name in values.keys() & {"dropout", "layer_decay"}:
            values[name] = round(values[name], 2)
        if "head_lr" in values:
            values["head_lr"] = float(f"{head_rate(values['head_lr'], tune, self.recipe.tune):.3g}")
        if tune == "head":  # there is no layer to learn slower
            values.pop("layer_decay", None)
            values.pop("head_lr", None)
        return {name: value for name, value in values.items() if value != getattr(self.recipe, name)}


def _ways(run: RunConfig) -> list[str]:
    """What can learn in such a model: the parts that it has."""
    family, config = family_of(run)
    kind = task_named(run.task, family)
    found = ["all"]
    for way in ("head", "lora"):
        with shapes_only():
            model = Model(family, config, kind.way_out, ("a", "b"), "single_label_classification")
        try:
            if way == "head":
                freeze_trunk(model)
            else:
                adapt(model, Recipe(steps=1, lr=1.0, tune="lora"), ())
        except UserError:
            continue
        found.append(way)
    return found if run.recipe.tune in found else [*found, run.recipe.tune]
