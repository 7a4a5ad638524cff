"""A label keeps its name: the order of rows or splits never changes it, and an unseen one stops with its row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, split, split_groups
from patchword.tasks.task import Ask
from patchword.tasks.text_classification import TextClassification

NAMES = st.one_of(st.text(max_size=4), st.integers(-50, 50).map(str), st.sampled_from(["1.0", "1e3", "inf", "²"]))


def origins(count: int) -> list[str]:
    return [f"data.csv, row {row + 2}" for row in range(count)]


@given(values=st.lists(NAMES, min_size=2, max_size=20).filter(lambda v: len(set(v)) > 1), data=st.data())
def test_the_order_of_the_rows_changes_no_number(values: list[str], data: st.DataObject) -> None:
    labels = LabelSet.find(values, "label")
    order = data.draw(st.permutations(range(len(values))))
    shuffled = [values[i] for i in order]
    assert LabelSet.find(shuffled, "label") == labels
    encoded = labels.encode(values, origins(len(values)))
    assert np.array_equal(labels.encode(shuffled, origins(len(values))), encoded[order])
    assert [labels.names[i] for i in encoded] == values
    assert encoded.dtype == np.int64


@given(values=st.lists(st.lists(NAMES, max_size=3), min_size=2, max_size=12), data=st.data())
def test_the_order_of_several_labels_changes_nothing_either(values: list[list[str]], data: st.DataObject) -> None:
    if len({name for row in values for name in row}) < 2:
        return
    labels = LabelSet.find(values, "tags")
    assert labels.problem == MULTI
    order = data.draw(st.permutations(range(len(values))))
    shuffled = [data.draw(st.permutations(values[i])) for i in order]
    assert LabelSet.find(shuffled, "tags") == labels
    encoded = labels.encode(values, origins(len(values)))
    assert np.array_equal(labels.encode(shuffled, origins(len(values))), encoded[order])
    assert (encoded.dtype, encoded.shape) == (np.float32, (len(values), len(labels.names)))
    for row, value in zip(encoded, values, strict=True):
        assert {labels.names[i] for i in np.flatnonzero(row)} == set(value)


def test_numbers_stand_in_their_natural_order_and_before_words() -> None:
    values = ["10", "b", "9", "-1", "2", "A", "1.5", "a"]
    assert LabelSet.find(values, "label").names == ("-1", "1.5", "2", "9", "10", "A", "a", "b")
    assert LabelSet.find([3, 20, 100, 3], "rating") == LabelSet(("3", "20", "100"), SINGLE)
    assert LabelSet.find([True, False], "spam").names == ("False", "True")


def test_a_label_that_is_spelt_like_not_a_number_disturbs_no_order() -> None:
    """As a float "nan" is neither before nor after any other: left so, the order would depend on chance."""
    for start in range(20):
        numbers = [str(i) for i in range(start, start + 30)]
        names = LabelSet.find([*reversed(numbers), "nan"], "label").names
        assert [name for name in names if name != "nan"] == numbers


@pytest.mark.parametrize(
    ("values", "asked", "expected"),
    [
        (["a", "b"], None, LabelSet(("a", "b"), SINGLE)),
        ([1, 2], None, LabelSet(("1", "2"), SINGLE)),
        ([["a"], []], MULTI, None),
        ([["a", "b"], []], None, LabelSet(("a", "b"), MULTI)),
        ([0.5, 1.0], None, LabelSet(("label",), REGRESSION)),
        ([1, 2], REGRESSION, LabelSet(("label",), REGRESSION)),
        ([0.5, 1.0], SINGLE, LabelSet(("0.5", "1.0"), SINGLE)),
        pytest.param(
            ["cat", "dog"],
            MULTI,
            LabelSet(("cat", "dog"), MULTI),
        ),
        (["a", "a"], None, None),
        (["a", "b"], "classes", None),
    ],
)
def test_what_a_column_of_labels_is(values: list, asked: str | None, expected: LabelSet | None) -> None:
    if expected is None:
        with pytest.raises(UserError):
            LabelSet.find(values, "label", asked)
    else:
        assert LabelSet.find(values, "label", asked) == expected


def test_an_unseen_label_stops_with_its_row_and_what_is_known() -> None:
    labels = LabelSet(("negative", "positive"), SINGLE)
    with pytest.raises(UserError, match=r"data.csv, row 4: .*'positve'.*did you mean 'positive'.*negative"):
        labels.encode(["positive", "negative", "positve"], origins(3))
    with pytest.raises(UserError, match=r"row 3: .*'x'"):
        LabelSet(("a", "b"), MULTI).encode([["a"], ["b", "x"]], origins(2))


@pytest.mark.parametrize("value", ["high", None, "nan", float("inf"), [1.0]])
def test_a_regression_reads_numbers_only(value: object) -> None:
    labels = LabelSet(("price",), REGRESSION)
    assert labels.encode([1, "2.5"], origins(2)).tolist() == [[1.0], [2.5]]
    with pytest.raises(UserError, match=r"data\.csv, row 3: .* is no number"):
        labels.encode([1.0, value], origins(2))


# ------------------------------------------------------------------------------------------------ files


def table(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def rows(labels: str, times: int) -> list[tuple[str, str]]:
    return [(f"ba {label} {i}", label) for i in range(times) for label in labels]


def test_rows_in_another_order_and_other_splits_make_the_same_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    content = rows("cab", 20)
    for order, seed in [(content, 0), (content[::-1], 0), (sorted(content), 1)]:
        ask = Ask(data=table(tmp_path / "train.csv", order), seed=seed)
        prepared = TextClassification.prepare(ask, tokenizer, lambda documents: None)
        assert prepared.task.labels == ("a", "b", "c")
        for part in (prepared.train, prepared.validation):
            texts = [text.split()[1] for text in part.texts]
            assert [("a", "b", "c")[target] for target in part.targets] == texts


def test_a_validation_file_that_lacks_labels_keeps_the_numbers_of_the_others(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    ask = Ask(
        data=table(tmp_path / "train.csv", rows("abc", 5)),
        validation=table(tmp_path / "validation.csv", rows("cb", 2)),
    )
    prepared = TextClassification.prepare(ask, tokenizer, lambda documents: None)
    assert prepared.task.labels == ("a", "b", "c")
    assert prepared.validation.targets.tolist() == [2, 1, 2, 1]
    assert len(prepared.train) == 15


def test_an_unseen_label_in_a_validation_file_stops_with_file_and_row(tokenizer: Tokenizer, tmp_path: Path) -> None:
    ask = Ask(
        data=table(tmp_path / "train.csv", rows("ab", 5)),
        validation=table(tmp_path / "validation.csv", [*rows("ab", 2), ("new", "c")]),
    )
    with pytest.raises(UserError, match=r"validation.csv, row 6: the label 'c'"):
        TextClassification.prepare(ask, tokenizer, lambda documents: None)


# ------------------------------------------------------------------------------------------------ splits

SHARES = st.sampled_from([0.1, 0.2, 0.5])


def label_set(targets: np.ndarray) -> LabelSet:
    return LabelSet(tuple(map(str, range(int(targets.max()) + 1))), SINGLE)


@given(counts=st.lists(st.integers(0, 60), min_size=2, max_size=8).filter(any), share=SHARES, seed=st.integers(0, 9))
def test_a_split_is_disjoint_complete_and_the_same_again(counts: list[int], share: float, seed: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    learn, hold = split(label_set(targets), targets, share, seed)
    assert sorted([*learn, *hold]) == list(range(len(targets)))
    again = split(label_set(targets), targets, share, seed)
    assert np.array_equal(learn, again[0])
    assert np.array_equal(hold, again[1])


@given(counts=st.lists(st.integers(4, 60), min_size=2, max_size=40), share=SHARES)
def test_every_class_is_held_back_in_its_proportion(counts: list[int], share: float) -> None:
    """As near as whole rows come to it."""
    targets = np.repeat(np.arange(len(counts)), counts)
    learn, hold = split(label_set(targets), targets, share, 0)
    held = np.bincount(targets[hold], minlength=len(counts))
    assert (np.abs(held - share * np.array(counts)) <= 1.0).all()
    assert (np.bincount(targets[learn], minlength=len(counts)) >= 1).all()


def test_rare_classes_take_no_rows_from_a_common_one() -> None:
    """Two hundred classes of one row each, none of which can be held back, before one of thirty."""
    targets = np.concatenate([np.arange(200), np.full(30, 200)])
    _, hold = split(label_set(targets), targets, 0.1, 0)
    assert (targets[hold] == 200).all()
    assert 2 <= (targets[hold] == 200).sum() <= 4


def test_small_classes_together_give_their_share() -> None:
    targets = np.repeat(np.arange(50), 4)
    _, hold = split(label_set(targets), targets, 0.1, 0)
    assert len(hold) == 20


@given(sizes=st.lists(st.integers(1, 4), min_size=30, max_size=80), share=SHARES, seed=st.integers(0, 9))
def test_rows_of_one_group_go_to_one_side(sizes: list[int], share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    targets = groups % 2
    learn, hold = split_groups(label_set(np.array([0, 1])), targets, groups, share, seed)
    assert sorted([*learn, *hold]) == list(range(len(groups)))
    assert not set(groups[learn]) & set(groups[hold])
    assert abs(len(set(groups[hold])) - share * len(sizes)) <= 1
    assert set(targets[hold]) == {0, 1}


def test_groups_of_one_row_are_split_as_rows_are_and_a_large_group_is_learnt_from() -> None:
    targets = np.repeat([0, 1], 50)
    one_each = split_groups(label_set(targets), targets, np.arange(100), 0.1, 3)
    for some, other in zip(one_each, split(label_set(targets), targets, 0.1, 3), strict=True):
        assert np.array_equal(some, other)
    groups = np.concatenate([np.zeros(60, np.int64), np.arange(1, 41)])
    learn, _ = split_groups(label_set(targets), targets, groups, 0.1, 3)
    assert set(range(60)) <= set(learn.tolist())


def test_another_seed_is_another_split() -> None:
    targets = np.repeat([0, 1], 50)
    held = {tuple(split(label_set(targets), targets, 0.1, seed)[1]) for seed in range(5)}
    assert len(held) == 5


def test_a_split_of_several_labels_keeps_the_rare_ones_on_both_sides() -> None:
    random = np.random.default_rng(0)
    targets = (random.random((400, 3)) < [0.5, 0.3, 0.05]).astype(np.float32)
    labels = LabelSet(("a", "b", "rare"), MULTI)
    learn, hold = split(labels, targets, 0.2, 0)
    assert sorted([*learn, *hold]) == list(range(400))
    assert len(hold) == pytest.approx(80, abs=2)
    assert targets[hold].mean(0) == pytest.approx(targets.mean(0), abs=0.05)
    assert targets[hold][:, 2].sum() == pytest.approx(0.2 * targets[:, 2].sum(), abs=1)


def test_a_split_of_numbers_has_the_same_spread_on_both_sides() -> None:
    targets = np.random.default_rng(0).lognormal(size=(500, 1)).astype(np.float32)
    learn, hold = split(LabelSet(("price",), REGRESSION), targets, 0.1, 0)
    assert sorted([*learn, *hold]) == list(range(500))
    assert len(hold) == pytest.approx(50, abs=2)
    quarters = np.quantile(targets, [0.25, 0.5, 0.75])
    shares = np.bincount(np.searchsorted(quarters, targets[hold, 0]), minlength=4) / len(hold)
    assert np.abs(shares - 0.25).max() <= 0.05
