"""Drawing: which tokens can be drawn, how often they are, and that texts do not depend on their neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from patchword.errors import UserError
from patchword.generation.sampling import limited, write_tokens
from patchword.generation.settings import Generation, complete, read_settings
from patchword.generation.write import cut
from patchword.generation.writer import Writer, lay_out_for_writing
from patchword.models.family import Model, preset


def model(way_out: str = "next_token", vocab_size: int = 30, max_length: int = 40) -> Model:
    family, config = preset("gpt2-tiny")
    torch.manual_seed(0)
    sizes = {"vocab_size": vocab_size, "width": 16, "heads": 2, "hidden": 16, "max_length": max_length, "init_std": 0.5}
    return Model(family, config.model_copy(update=sizes), way_out).eval()


scores = st.integers(0, 2**31).map(lambda seed: 3 * torch.randn(4, 20, generator=torch.Generator().manual_seed(seed)))


@given(logits=scores, k=st.integers(1, 25))
def test_top_k_is_that_of_transformers(logits: Tensor, k: int) -> None:
    expected = TopKLogitsWarper(k)(torch.zeros(4, 1), logits.clone())
    assert torch.equal(limited(logits, Generation(temperature=1.0, top_k=k)), expected)


@given(logits=scores, p=st.floats(0.05, 0.99))
def test_top_p_is_that_of_transformers(logits: Tensor, p: float) -> None:
    expected = TopPLogitsWarper(p)(torch.zeros(4, 1), logits.clone())
    assert torch.equal(limited(logits, Generation(temperature=1.0, top_p=p)), expected)


@given(logits=scores, p=st.floats(0.05, 0.99))
def test_typical_p_and_cutoffs_are_those_of_transformers(logits: Tensor, p: float) -> None:
    warpers = {
        "typical_p": TypicalLogitsWarper(p),
        "epsilon_cutoff": EpsilonLogitsWarper(p),
        "eta_cutoff": EtaLogitsWarper(p),
        "top_h": TopHLogitsWarper(p),
    }
    for name, warper in warpers.items():
        expected = warper(torch.zeros(4, 1), logits.clone())
        assert torch.equal(limited(logits, Generation(temperature=1.0, **{name: p})), expected), name


@given(logits=scores, p=st.floats(0.01, 0.9))
def test_min_p_is_that_of_transformers(logits: Tensor, p: float) -> None:
    expected = MinPLogitsWarper(p)(torch.zeros(4, 1), logits.clone())
    assert torch.equal(limited(logits, Generation(temperature=1.0, min_p=p)), expected)


def test_tokens_are_drawn_as_often_as_their_share_says() -> None:
    """4,000 draws of a first token: each share within five deviations of a binomial's."""
    writer_model, count = model(vocab_size=5), 4000
    with torch.inference_mode():
        chances = (Writer(writer_model, [[1, 2]], 1).logits[0] / 0.7).softmax(-1)
        how = Generation(max_new_tokens=1, temperature=0.7)
        drawn = write_tokens(Writer(writer_model, [[1, 2]] * count, 1), how, ())
    seen = torch.bincount(torch.tensor([text[0] for text in drawn]), minlength=5) / count
    deviation = (chances * (1 - chances) / count).sqrt()
    assert ((seen - chances).abs() <= 5 * deviation).all()


@given(seed=st.integers(0, 99))
def test_a_text_does_not_depend_on_how_its_neighbours_end(seed: int) -> None:
    how = Generation(max_new_tokens=8, temperature=1.0, seed=seed)
    with torch.inference_mode():
        together = write_tokens(Writer(model(), [[1, 2], [3, 4, 5]], 8), how, {7, 8, 9})
        alone = write_tokens(Writer(model(), [[1, 2]], 8), how, {7, 8, 9})
    assert together[0] == alone[0]


def test_what_is_drawn_depends_on_the_number_of_a_text_alone() -> None:
    how = Generation(max_new_tokens=8, temperature=1.0, seed=3)
    with torch.inference_mode():
        together = write_tokens(Writer(model(), [[3, 4, 5], [1, 2]], 8), how, (), numbers=[7, 2])
        alone = write_tokens(Writer(model(), [[1, 2]], 8), how, (), numbers=[2])
        other = write_tokens(Writer(model(), [[1, 2]], 8), how, (), numbers=[3])
    assert together[1] == alone[0] != other[0]


def test_tokens_are_told_as_they_are_written() -> None:
    told: list[tuple[int, int]] = []
    with torch.inference_mode():
        written = write_tokens(
            Writer(model(), [[1], [2]], 4), Generation(max_new_tokens=4), (), told=lambda r, t: told.append((r, t))
        )
    assert [[token for row, token in told if row == n] for n in range(2)] == written
    assert [row for row, _ in told] == [0, 1] * 4


def test_writing_ends_where_the_positions_do() -> None:
    with torch.inference_mode():
        written = write_tokens(Writer(model(max_length=6), [[1, 2], [1, 2, 3, 4]], 9), Generation(), ())
    assert [len(text) for text in written] == [4, 2]  # each as it has room, whatever stands beside it


@pytest.mark.parametrize(("prompt", "words"), [(range(9), "9 tokens.*6"), (range(6), "6 tokens.*no position")])
def test_a_prompt_that_is_too_long_is_told(prompt: range, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Writer(model(max_length=6), [list(prompt)], 9)


def test_a_model_that_does_not_write_says_so() -> None:
    with pytest.raises(UserError, match="'features' does not write"):
        Writer(model("features"), [[1]], 9)


@pytest.mark.parametrize(
    "settings",
    [
        {"beams": 2, "temperature": 1.0},
        {"top_k": 5},
        {"top_p": 0.5},
        {"length_penalty": 2.0},
        {"early_stopping": True},
        {"beams": 2, "stop": ("x",)},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"max_new_tokens": 0},
    ],
)
def test_settings_that_contradict_each_other(settings: dict) -> None:
    with pytest.raises(UserError):
        complete(read_settings(settings), {})


def test_a_text_is_cut_before_the_first_stop() -> None:
    assert cut("one. two; three", (";", ". ")) == "one"
    assert cut("one", (";",)) == "one"


def test_the_layout_in_memory_changes_no_value() -> None:
    before, after = model(), model()
    lay_out_for_writing(after)
    assert after.head.scores.weight is after.trunk.embed.words.weight  # still shared
    assert not after.trunk.decoder.layers[0].attention.qkv.weight.is_contiguous()
    ours, theirs = (dict(m.named_parameters()) for m in (before, after))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with torch.inference_mode():
        texts = [write_tokens(Writer(m, [[1, 2], [3, 4, 5]], 8), Generation(), ()) for m in (before, after)]
    assert texts[0] == texts[1]
