"""Gradient times input: a closed form on a linear model, a finite difference on a whole one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from patchword.explain.saliency import gradient_x_input
from patchword.models.family import Model, families, preset
from patchword.models.stems import WordEmbedding
from patchword.nn.packing import Layout, Packed

TOKENS = torch.tensor([3, 7, 7, 1, 12])


class MeanOfWords(nn.Module):
    """W mean(x): what each token adds is known."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = WordEmbedding(nn.Embedding(20, 6))
        self.scores = nn.Linear(6, 3)

    def forward(self, text: Packed) -> Tensor:
        return self.scores(self.embed(text).values.mean(0, keepdim=True))


def test_each_token_of_a_linear_model_has_its_own_share() -> None:
    torch.manual_seed(0)
    model = MeanOfWords()
    classes = torch.tensor([0.0, 1.0, -1.0])
    shares = gradient_x_input(model, Packed(TOKENS, Layout([5])), classes)  # a model in all that is asked of it
    weight = model.scores.weight.detach()[1] - model.scores.weight.detach()[2]
    expected = model.embed.words.weight.detach()[TOKENS] @ weight / 5
    torch.testing.assert_close(shares, expected)
    score = (model(Packed(TOKENS, Layout([5])))[0] * classes).sum()
    torch.testing.assert_close(shares.sum() + model.scores.bias[1] - model.scores.bias[2], score)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_it_is_the_slope_along_each_word_s_own_vector(family: str) -> None:
    torch.manual_seed(0)
    kind = families()[family]
    sizes = {"kv_heads": 2} if "kv_heads" in kind.config.model_fields else {}
    config = kind.config(width=16, depth=2, heads=2, hidden=32, vocab_size=20, max_length=16, **sizes)
    model = Model(kind, config, "class", ("a", "b"), "single_label_classification").eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens = torch.tensor([3, 7, 5, 1, 12])  # each once, so that a row of the table is a token
    text, classes = Packed(tokens, Layout([5])), torch.tensor([1.0, 0.0])
    shares = gradient_x_input(model, text, classes)
    table = next(m for m in model.modules() if isinstance(m, WordEmbedding)).words.weight
    step = 1e-2
    for place, token in enumerate(tokens.tolist()):
        kept = table.data[token].clone()
        ends = []
        for factor in (1 + step, 1 - step):
            table.data[token] = kept * factor
            with torch.no_grad():
                ends.append(float(model(text)[0] @ classes))
        table.data[token] = kept
        assert float(shares[place]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-4)
    assert shares.abs().max() > 1e-3


def test_the_model_is_left_as_it_was() -> None:
    model = MeanOfWords()
    gradient_x_input(model, Packed(TOKENS, Layout([5])), torch.ones(3))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_of_images_is_refused() -> None:
    family, config = preset("vit-tiny-32")
    with pytest.raises(ValueError, match="reads no words"):
        gradient_x_input(Model(family, config, "features"), Packed(TOKENS, Layout([5])), torch.ones(1))
