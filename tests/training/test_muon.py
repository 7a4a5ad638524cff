"""Muon against a closed form by SVD and against torch's own; matrices that are kept as one move as if they were not."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from patchword.errors import UserError
from patchword.models.family import Model, families, preset
from patchword.nn.attention import CrossAttention, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import FeedForward, GatedFeedForward
from patchword.nn.transformer import Transformer
from patchword.training.adapters import _parts
from patchword.training.matrices import matrices
from patchword.training.muon import ADAMW_RMS, Muon, orthogonal
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe

RECIPE = Recipe(steps=10, lr=0.01, optimizer="muon", weight_decay=0.1, precision="fp32")
SMALLEST = {
    name: min(family.presets, key=lambda preset: family.presets[preset].width) for name, family in families().items()
}
WITHOUT = {"resnet", "bit"}  # convolutions have no matrices


def size(update: Tensor) -> float:
    """Root mean square."""
    return float(update.detach().square().mean().sqrt())


def gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def near(one: Tensor, other: Tensor) -> float:
    """How far apart they are, by the size of the second."""
    return float((one.detach() - other.detach()).norm() / other.detach().norm())


# ------------------------------------------------------------------------------------------------ O(M)


@pytest.mark.parametrize("shape", [(5, 5), (8, 24), (1, 7)])
def test_it_is_the_odd_polynomial_of_the_singular_values(shape: tuple[int, int]) -> None:
    """U p(p(p(p(p(S / |S|))))) V^T with p(s) = 3.4445 s - 4.775 s^3 + 2.0315 s^5, by SVD."""
    matrix = torch.randn(3, *shape, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    assert (orthogonal(matrix, torch.float64) - u * s[:, None] @ v).abs().max() <= 1e-10


def test_singular_values_come_near_1() -> None:
    """Even where one is a hundred times another; and a matrix of zeros stays one."""
    u, _, v = torch.linalg.svd(torch.randn(40, 90), full_matrices=False)
    values = torch.linalg.svdvals(orthogonal((u * torch.logspace(0, -2, 40) @ v)[None]))
    assert 0.65 <= values.min() <= values.max() <= 1.25
    assert orthogonal(torch.zeros(1, 3, 4)).abs().max() == 0


# ------------------------------------------------------------------------------------------------ a step


@pytest.mark.parametrize(("dtype", "within"), [(torch.bfloat16, 0.01), (torch.float32, 0.02)])
def test_steps_are_those_of_torch(dtype: torch.dtype, within: float) -> None:
    """Which computes in bfloat16, of 8 bits: its own results are so far from exact ones that fp32 has another limit."""
    shapes = [(24, 24), (24, 24), (24, 60), (60, 24)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = copy.deepcopy(ours)
    settings = {"lr": 0.02, "weight_decay": 0.1}
    groups = [{"params": [p], "rows": (len(p),), "weight_decay": 0.1} for p in ours]
    optimizer = Muon(groups, lr=0.02, betas=(0.9, 0.99), eps=1e-8, dtype=dtype)
    other = torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    begun = [p.detach().clone() for p in ours]
    for number in range(4):
        gradients(ours, number)
        gradients(theirs, number)
        optimizer.step()
        other.step()
    for a, b, start in zip(ours, theirs, begun, strict=True):
        decayed = start * (1 - 0.02 * 0.1) ** 4
        assert near(a - decayed, b - decayed) <= within


def test_an_update_is_as_large_as_one_of_adamw() -> None:
    """Root mean square 0.2 x rate, whatever the shape (Liu et al. 2025, lemma 1)."""
    for shape in [(32, 32), (16, 64), (96, 32)]:
        weight = nn.Parameter(torch.zeros(shape))
        gradients([weight], 0)
        Muon([{"params": [weight], "rows": (shape[0],)}], lr=0.5, betas=(0.9, 0.9), eps=1e-8).step()
        assert size(weight) == pytest.approx(0.5 * ADAMW_RMS, rel=0.2)


def test_the_rest_moves_as_adamw_moves_it() -> None:
    model = Model(*preset("bert-tiny"), "masked_token")
    other = copy.deepcopy(model)
    optimizer = make_optimizer(model, RECIPE)
    adamw = make_optimizer(other, RECIPE.model_copy(update={"optimizer": "adamw"}))
    for number in range(3):
        gradients(list(model.parameters()), number)
        gradients(list(other.parameters()), number)
        optimizer.step()
        adamw.step()
    moved = matrices(model)
    same = {name: torch.equal(p, q) for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True)}
    assert same == {name: p not in moved for name, p in model.named_parameters()}


class Separate(nn.Module):
    """Every matrix of a list as a layer of its own."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*weight.shape[::-1], bias=False) for weight in weights)
        for layer, weight in zip(self.layers, weights, strict=True):
            layer.weight = nn.Parameter(weight.detach().clone())


@pytest.mark.parametrize(
    ("part", "name", "count"),
    [
        (SelfAttention(16, 4), "qkv.weight", (16, 16, 16)),
        (SelfAttention(16, 4, kv_heads=2, head_width=6), "qkv.weight", (24, 12, 12)),
        (CrossAttention(16, 4), "key_value.weight", (16, 16)),
        (GatedFeedForward(16, 24), "up.weight", (24, 24)),
        (MixtureOfExperts(16, 12, experts=3, active=2), "up", (12, 12)),
        (MixtureOfExperts(16, 12, experts=3, active=2), "down", (16,)),
    ],
    ids=["qkv", "shared keys", "cross", "gated", "experts up", "experts down"],
)
def test_matrices_that_are_kept_as_one_move_as_if_each_were_alone(
    part: nn.Module, name: str, count: tuple[int, ...]
) -> None:
    stack = Transformer(
        1, lambda layer: Block(attention=part, feedforward=FeedForward(16, 8), norm=nn.Identity, order=pre_norm)
    )
    joined = dict(part.named_parameters())[name]
    nn.init.normal_(joined)
    assert matrices(stack)[joined] == count
    whole = list(joined.detach()) if joined.ndim == 3 else [joined.detach()]
    alone = Separate(list(chain.from_iterable(weight.split(count) for weight in whole)))
    weights = [layer.weight for layer in alone.layers]
    optimizers = [
        Muon([{"params": [joined], "rows": count, "weight_decay": 0.3}], lr=0.1, betas=(0.9, 0.9), eps=1e-8),
        *(
            Muon([{"params": [w], "rows": (len(w),), "weight_decay": 0.3}], lr=0.1, betas=(0.9, 0.9), eps=1e-8)
            for w in weights
        ),
    ]
    for number in range(2):
        gradients([joined], number)
        parts = chain.from_iterable(g.split(count) for g in (joined.grad if joined.ndim == 3 else [joined.grad]))
        for weight, gradient in zip(weights, parts, strict=True):
            weight.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    ours = torch.cat(list(joined)) if joined.ndim == 3 else joined
    assert (ours - torch.cat(weights)).abs().max() <= 1e-5


def test_layers_and_new_scores_have_rates_of_their_own() -> None:
    """As the loop sets them: a group's rate is the run's times its factor."""
    family, config = preset("bert-tiny")
    model = Model(family, config.model_copy(update={"vocab_size": 50}), "class", ("a", "b"))
    optimizer = make_optimizer(model, RECIPE.model_copy(update={"layer_decay": 0.5, "weight_decay": 0.0}))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients(list(model.parameters()), 0)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["factor"]
    optimizer.step()
    for layer, factor in ((0, 0.25), (1, 0.5)):
        name = f"trunk.encoder.layers.{layer}.feedforward.up.weight"
        moved = dict(model.named_parameters())[name] - before[name]
        assert size(moved) == pytest.approx(0.01 * ADAMW_RMS * factor, rel=0.2)


def test_parameters_without_a_gradient_stay() -> None:
    model = Model(*preset("bert-tiny"), "masked_token")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    learnt = "trunk.encoder.layers.1.attention.qkv.weight"
    gradients([dict(model.named_parameters())[learnt]], 0)
    make_optimizer(model, RECIPE).step()
    assert [name for name, p in model.named_parameters() if not torch.equal(p, before[name])] == [learnt]


def test_a_state_that_is_saved_and_loaded_goes_on_to_the_bit() -> None:
    model = Model(*preset("llama-tiny"), "next_token")
    other = copy.deepcopy(model)
    optimizer = make_optimizer(model, RECIPE)
    for number in range(2):
        gradients(list(model.parameters()), number)
        optimizer.step()
    other.load_state_dict(model.state_dict())
    again = make_optimizer(other, RECIPE)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, by in ((model, optimizer), (other, again)):
        gradients(list(one.parameters()), 9)
        by.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_closure_is_called() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([{"params": [weight], "rows": (2,)}], lr=0.1, betas=(0.9, 0.9), eps=1e-8)

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert weight.max() < 1.0


# ------------------------------------------------------------------------------------------------ what is a matrix


@pytest.mark.parametrize("name", sorted(families().keys() - WITHOUT))
def test_every_matrix_of_a_layer_moves_by_muon_and_nothing_else(name: str) -> None:
    """By names: all that has two dimensions inside of a numbered layer, but for tables and norms."""
    family, config = preset(SMALLEST[name])
    for way_out in family.ways_out:
        with torch.device("meta"):
            model = Model(family, config, way_out, ("a", "b"))
        groups = make_optimizer(model, RECIPE).param_groups
        names = {p: n for n, p in model.named_parameters()}
        moved = {names[p] for group in groups if group["rows"] for p in group["params"]}
        inside = {n for p, n in names.items() if ".layers." in n and p.ndim > 1}
        tables = {n for n in inside if n.endswith("relative.table.weight")}
        assert moved == inside - tables
        assert len(moved) >= 4 * config.depth
        assert sum(len(group["params"]) for group in groups) == len(names)
        assert {names[p] for g in groups if g["weight_decay"] for p in g["params"]} >= moved


@pytest.mark.parametrize("name", sorted(families().keys() - WITHOUT))
def test_matrices_are_apart_where_files_keep_them_apart(name: str) -> None:
    """Their names for them are an independent list of what a matrix is made of."""
    family, config = preset(SMALLEST[name])
    with torch.device("meta"):
        model = Model(family, config.model_copy(update={"depth": 1}), "features")
    rows = matrices(model)
    split = 0
    for part_name, part in model.named_modules():
        if isinstance(part, nn.Linear) and part.weight in rows:
            in_files = tuple(part.rows for part in _parts(model, part_name, part))
            split += len(in_files) > 1
            assert in_files in (rows[part.weight], (sum(rows[part.weight]),))
    assert split or name in ("gpt2", "openai-gpt", "modernbert")  # whose files have them as one


def test_one_without_matrices_is_told() -> None:
    model = Model(*preset(SMALLEST["resnet"]), "features")
    with pytest.raises(UserError, match="adamw"):
        make_optimizer(model, RECIPE)


@pytest.mark.parametrize("tune", ["lora", "dora", "head"])
def test_it_needs_whole_layers(tune: str) -> None:
    with pytest.raises(ValueError, match=f"does not go with tune {tune}"):
        Recipe(steps=1, lr=0.1, optimizer="muon", tune=tune)


def test_products_are_in_the_type_of_the_run() -> None:
    model = Model(*preset("bert-tiny"), "features")
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        optimizer = make_optimizer(model, RECIPE.model_copy(update={"precision": precision}))
        assert isinstance(optimizer, Muon)
        assert optimizer.dtype == dtype
