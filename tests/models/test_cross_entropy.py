"""Scores of a large vocabulary: the same loss and slopes as all at once, and never all at once in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from patchword.models import cross_entropy
from patchword.models.cross_entropy import linear_cross_entropy, losses_and_guesses
from patchword.models.family import Model, preset

TOKENS, WIDTH, WORDS = 50, 8, 90


class Largest(TorchDispatchMode):
    """Notes the numbers of the largest tensor that anything gives."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes() // leaf.itemsize for leaf in tree_leaves(result) if torch.is_tensor(leaf)
        ]
        self.numbers = max(self.numbers, *sizes, 0)
        return result


def case(tokens: int = TOKENS, words: int = WORDS, spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, w, b = torch.randn(tokens, WIDTH), spread * torch.randn(words, WIDTH), spread * torch.randn(words)
    return x.requires_grad_(), w.requires_grad_(), b.requires_grad_(), torch.randint(words, (tokens,))


def slopes(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return [slope.double() for slope in torch.autograd.grad(3.0 * loss, of)]


def exact(x: Tensor, w: Tensor, b: Tensor | None, targets: Tensor, z_loss: float) -> tuple[Tensor, list[Tensor]]:
    """All at once, in double precision."""
    leaves = [value.detach().double().requires_grad_() for value in (x, w, b) if value is not None]
    logits = F.linear(*leaves)
    loss = F.cross_entropy(logits, targets, reduction="sum") + z_loss * logits.logsumexp(1).square().sum()
    return loss.detach(), slopes(loss, *leaves)


@pytest.mark.parametrize("at_once", [1, 3 * WORDS, 7 * WORDS + 5, 49 * WORDS, 50 * WORDS])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("biased", [True, False])
def test_in_parts_it_is_the_same_as_all_at_once(
    biased: bool, z_loss: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tokens are scored at a time, and with a last part that is smaller."""
    monkeypatch.setattr(cross_entropy, "AT_ONCE", at_once)
    x, w, b, targets = case()
    leaves = (x, w, b) if biased else (x, w)
    expected, gradients = exact(x, w, b if biased else None, targets, z_loss)
    loss = linear_cross_entropy(x, w, b if biased else None, targets, z_loss)
    assert abs(loss - expected) <= 1e-6 * expected
    for found, gradient in zip(slopes(loss, *leaves), gradients, strict=True):
        # Sums of 50 products in fp32.
        assert (found - gradient).abs().max() <= 50 * 2**-23 * gradient.abs().max()


def test_large_scores_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "AT_ONCE", 4 * WORDS)
    x, w, b, targets = case(spread=300.0)
    expected, gradients = exact(x, w, b, targets, 0.0)
    loss = linear_cross_entropy(x, w, b, targets)
    assert abs(loss - expected) <= 1e-5 * expected
    for found, gradient in zip(slopes(loss, x, w, b), gradients, strict=True):
        assert (found - gradient).abs().max() <= 1e-3 * gradient.abs().max()


def test_under_autocast_it_is_as_exact_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in bf16, sums in fp32: its errors are at most those of autocast's own way."""
    x, w, b, targets = case(tokens=400)
    expected, gradients = exact(x, w, b, targets, 0.0)
    errors = []
    for at_once in (10 * WORDS, 1000 * WORDS):
        monkeypatch.setattr(cross_entropy, "AT_ONCE", at_once)
        with torch.autocast("cpu", torch.bfloat16):
            loss = linear_cross_entropy(x, w, b, targets)
        assert loss.dtype == torch.float32
        found = [loss.detach().double(), *slopes(loss, x, w, b)]
        errors.append([float((a - e).norm() / e.norm()) for a, e in zip(found, [expected, *gradients], strict=True)])
    for in_parts, whole in zip(*errors, strict=True):
        assert in_parts <= 1.1 * whole + 2**-16


def test_what_does_not_learn_gets_no_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "AT_ONCE", 4 * WORDS)
    x, w, b, targets = case()
    _, gradients = exact(x, w, b, targets, 0.0)
    w.requires_grad_(False)
    b.requires_grad_(False)
    (found,) = slopes(linear_cross_entropy(x, w, b, targets), x)
    assert (found - gradients[0]).abs().max() <= 1e-4


@pytest.mark.parametrize("tokens", [400, 1600])
def test_the_scores_of_all_words_never_stand_in_memory_at_once(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor that is made forwards and backwards: a part's scores, or a slope, whatever the tokens."""
    at_once = 20 * WORDS
    x, w, b, targets = case(tokens)
    for limit, largest_of in ((at_once, max(at_once, tokens * WIDTH)), (1 << 25, tokens * WORDS)):
        monkeypatch.setattr(cross_entropy, "AT_ONCE", limit)
        with Largest() as largest:
            slopes(linear_cross_entropy(x, w, b, targets, 1e-3), x, w, b)
        assert largest.numbers == largest_of


def test_an_evaluation_is_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "AT_ONCE", 9 * WORDS)
    x, w, b, targets = case()
    logits = F.linear(x, w, b).detach()
    with Largest() as largest:
        losses, guesses = losses_and_guesses(x, w, b, targets)
    torch.testing.assert_close(losses, F.cross_entropy(logits, targets, reduction="none"))
    assert torch.equal(guesses, logits.argmax(-1))
    assert not losses.requires_grad
    assert largest.numbers <= 9 * WORDS


@pytest.mark.parametrize(
    ("name", "way_out"), [("bert", "masked_token"), ("gpt2", "next_token"), ("bart", "next_token")]
)
def test_shared_word_tables_get_both_slopes(name: str, way_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole model: through the words that it reads and the words that it scores."""
    family, config = preset(f"{name}-tiny")
    sizes = {"vocab_size": WORDS, "width": 16, "hidden": 16, "heads": 2, "max_length": 16}
    model = Model(family, config.model_copy(update=sizes), way_out).eval()
    if name == "bart":
        model.head.shift.normal_()
    tokens = torch.randint(WORDS, (12,))
    found = []
    for limit in (1 << 25, 5 * WORDS):
        monkeypatch.setattr(cross_entropy, "AT_ONCE", limit)
        words = model.head.scores.weight
        hidden = F.embedding(tokens, words)[:, :16]
        loss = model.head.loss(hidden, tokens, 1e-2)
        found.append([loss, *torch.autograd.grad(loss, [p for p in model.head.parameters() if p.requires_grad])])
    assert any(parameter is model.head.scores.weight for parameter in model.trunk.parameters())
    for whole, in_parts in zip(*found, strict=True):
        torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-5)
