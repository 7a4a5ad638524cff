"""What simple methods reach: near what scikit-learn reaches by hand, and near the floors that come with the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, log_loss, root_mean_squared_error

from patchword.tasks.floors import floor_predictions
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE
from patchword.tasks.metrics import scores

WORDS = [["sun", "sea", "sand"], ["snow", "ice", "frost"], ["rain", "wind", "cloud"]]


def texts(rows: int, seed: int, noise: float = 0.3) -> tuple[list[str], np.ndarray]:
    """Four words a text, mostly of its class, the first class twice as common."""
    random = np.random.default_rng(seed)
    targets = random.choice(3, rows, p=[0.5, 0.25, 0.25])
    lines = []
    for target in targets:
        kinds = np.where(random.random(4) < noise, random.integers(3, size=4), target)
        lines.append(" ".join(random.choice(WORDS[kind]) for kind in kinds))
    return lines, targets


def floors(
    modality: Any, problem: str, train: Any, test: Any, classes: int, unit: tuple[float, float] = (0.0, 1.0)
) -> dict[str, dict[str, float]]:
    """Metrics of the methods on test rows."""
    shift, scale = unit
    found = floor_predictions(modality, problem, *train, test[0], classes)
    truth = test[1] * scale + shift if problem == REGRESSION else test[1]
    return {name: scores(values * scale + shift, truth, problem) for name, values in found.items()}


def test_the_majority_is_that_of_scikit_learn() -> None:
    (train, targets), (test, truth) = texts(200, 0), texts(100, 1)
    got = floors("text", SINGLE, (train, targets), (test, truth), 3)["majority"]
    prior = DummyClassifier(strategy="prior").fit(train, targets)
    assert got["accuracy"] == accuracy_score(truth, prior.predict(test))
    assert got["macro_f1"] == pytest.approx(f1_score(truth, prior.predict(test), average="macro"))
    assert got["loss"] == pytest.approx(log_loss(truth, prior.predict_proba(test)), abs=1e-6)


def test_the_floor_of_texts_is_near_tf_idf_by_hand() -> None:
    (train, targets), (test, truth) = texts(300, 0), texts(400, 1)
    got = floors("text", SINGLE, (train, targets), (test, truth), 3)["tf-idf"]
    reader = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(reader.fit_transform(train), targets)
    expected = accuracy_score(truth, model.predict(reader.transform(test)))
    assert 0.7 < expected < 1
    assert got["accuracy"] == pytest.approx(expected, abs=0.01)
    assert got["accuracy"] > floors("text", SINGLE, (train, targets), (test, truth), 3)["majority"]["accuracy"]


def test_the_floor_of_pictures_is_near_logistic_regression_by_hand() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 48))

    def pictures(rows: int) -> tuple[np.ndarray, np.ndarray]:
        targets = random.integers(3, size=rows)
        return (centres[targets] + 3 * random.normal(size=(rows, 48))).astype(np.float32), targets

    train, test = pictures(300), pictures(300)
    got = floors("image", SINGLE, train, test, 3)["pixels"]
    expected = LogisticRegression(max_iter=1000, C=0.01).fit(*train).score(*test)
    assert 0.6 < expected < 1
    assert got["accuracy"] == pytest.approx(expected, abs=0.05)


def test_the_floors_of_several_labels() -> None:
    random = np.random.default_rng(0)

    def tagged(rows: int) -> tuple[list[str], np.ndarray]:
        tags = (random.random((rows, 3)) < 0.4).astype(np.float32)
        return [" ".join(["it", *(WORDS[k][0] for k in np.flatnonzero(row))]) for row in tags], tags

    train, test = tagged(200), tagged(100)
    got = floors("text", MULTI, train, test, 3)
    assert got["tf-idf"]["exact_match"] == 1.0  # each tag is a word
    assert got["majority"]["micro_f1"] == 0.0  # each is rarer than not
    assert got["majority"]["exact_match"] == pytest.approx((test[1].sum(1) == 0).mean())


def test_the_floors_of_a_number_are_in_its_own_unit() -> None:
    train, test = texts(200, 0), texts(100, 1)
    price = np.array([1000.0, 2000.0, 4000.0])
    shift, scale = 1500.0, 700.0

    def rows(part: tuple[list[str], np.ndarray]) -> tuple[list[str], np.ndarray]:
        return part[0], ((price[part[1]] - shift) / scale)[:, None].astype(np.float32)

    got = floors("text", REGRESSION, rows(train), rows(test), 1, (shift, scale))
    mean = DummyRegressor().fit(train[0], price[train[1]])
    expected = root_mean_squared_error(price[test[1]], mean.predict(test[0]))
    assert got["mean"]["rmse"] == pytest.approx(expected, rel=1e-4)
    reader = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    ridge = Ridge().fit(reader.fit_transform(train[0]), price[train[1]])
    expected = root_mean_squared_error(price[test[1]], ridge.predict(reader.transform(test[0])))
    assert got["tf-idf"]["rmse"] == pytest.approx(expected, rel=0.03)
    assert got["tf-idf"]["rmse"] < got["mean"]["rmse"]


def test_a_class_that_is_not_there_to_learn_from() -> None:
    train, targets = texts(100, 0)
    kept = targets != 1
    few = [text for text, keep in zip(train, kept, strict=True) if keep]
    got = floors("text", SINGLE, (few, targets[kept]), texts(50, 1), 3)
    assert all(np.isfinite(value) for floor in got.values() for value in floor.values())
    one = [text for text, target in zip(train, targets, strict=True) if target == 2]
    got = floors("text", SINGLE, (one, np.full(len(one), 2)), texts(50, 1), 3)
    assert got["tf-idf"]["accuracy"] == got["majority"]["accuracy"] == (texts(50, 1)[1] == 2).mean()


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_texts_without_words_still_have_floors(problem: str) -> None:
    """A set of smileys is no reason to lose the report of a finished run."""
    train = (["!!!", ":-)", "???", ":-("] * 5, np.array([0, 1, 0, 1] * 5))
    if problem != SINGLE:
        train = (train[0], np.stack([train[1], 1 - train[1]], 1)[:, : 2 if problem == MULTI else 1].astype(np.float32))
    got = floors("text", problem, train, train, 1 if problem == REGRESSION else 2)
    assert got.keys() == {"mean" if problem == REGRESSION else "majority", "tf-idf"}


def test_the_floor_that_comes_with_the_data(real_data: Path) -> None:
    """Accuracy on the test split after 1,000 labels: 0.706 ± 0.015 over three draws, the data's README says."""

    def rows(part: str) -> tuple[list[str], list[str]]:
        lines = (real_data / f"sentiment-{part}.jsonl").read_text("utf-8").splitlines()
        read = [json.loads(line) for line in lines]
        return [row["text"] for row in read], [str(row["label"]) for row in read]

    (train, labels), (test, truth) = rows("train"), rows("test")
    classes = sorted(set(labels))
    chosen = np.random.default_rng(0).permutation(len(train))[:1000]
    got = floors(
        "text",
        SINGLE,
        ([train[i] for i in chosen], np.array([classes.index(labels[i]) for i in chosen])),
        (test, np.array([classes.index(label) for label in truth])),
        len(classes),
    )
    assert got["tf-idf"]["accuracy"] == pytest.approx(0.706, abs=0.045)
