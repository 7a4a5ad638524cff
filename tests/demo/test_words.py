"""Sentences say what the numbers say, whichever way those came out."""

from __future__ import annotations

import numpy as np
import pytest

from patchword.demo import words
from patchword.study.labels import LabelCurve
from patchword.tasks.metrics import Interval

COUNTS = (25, 100, 400)


def curve(name: str, *accuracies: float, seeds: int = 5, rows: int = 1000) -> LabelCurve:
    """Right in so many rows, the same rows in every seed but one."""
    right = np.zeros((len(accuracies), seeds, rows), bool)
    for k, share in enumerate(accuracies):
        for s in range(seeds):
            right[k, s, : round(share * rows) + s] = True
    return LabelCurve(name, COUNTS[: len(accuracies)], right)


def test_each_comparison_names_the_winner_of_each_count():
    sentence = words.compared(curve("real encoder", 0.5, 0.6, 0.7), curve("TF-IDF", 0.3, 0.6, 0.8))
    assert sentence == (
        "The real encoder against TF-IDF: the real encoder wins at 25 labels (by 20 points); TF-IDF wins at 400 labels "
        "(by 10 points); at 100 labels the difference is within what chance does."
    )
    assert words.compared(curve("a", 0.5, 0.5), curve("b", 0.5, 0.5)) == (
        "The a against the b: at 25 and 100 labels the difference is within what chance does."
    )


def test_tf_idf_wins_is_said_where_it_wins():
    young, untrained = curve("45-second encoder", 0.3, 0.4, 0.5), curve("untrained encoder", 0.3, 0.4, 0.5)
    told = words.worth_of_young(young, untrained, curve("TF-IDF", 0.5, 0.6, 0.7))
    assert "bought nothing that can be seen" in told
    assert "TF-IDF, which counts words and knows no language, wins at every number of labels" in told
    told = words.worth_of_young(young, curve("untrained encoder", 0.1, 0.4, 0.2), curve("TF-IDF", 0.3, 0.4, 0.7))
    assert "beat the same network with random weights at 25 and 400 labels; TF-IDF" in told
    assert "wins at 400 labels" in told
    told = words.worth_of_young(young, curve("untrained encoder", 0.1, 0.1, 0.1), curve("TF-IDF", 0.1, 0.1, 0.1))
    assert "beat the same network with random weights at 25, 100 and 400 labels; they beat TF-IDF at 25" in told
    told = words.worth_of_young(young, curve("untrained encoder", 0.5, 0.5, 0.5), curve("TF-IDF", 0.5, 0.6, 0.7))
    assert "have done harm so far: the same network with random weights wins at 25 and 100 labels; TF-IDF" in told
    told = words.worth_of_young(young, untrained, curve("TF-IDF", 0.3, 0.4, 0.5))
    assert "no difference can be seen" in told


def test_fine_tuning_beside_random_weights():
    rows = np.arange(1000)
    told = words.fine_tuned(rows < 480, rows < 200, 9, 400)
    assert told == (
        "Fine-tuned on 400 labels, the 45-second model is right in 48 % of the rows, and the same network from random "
        "weights in 20 %: here stage 1 has bought 28 points (95 % interval over rows 25 to 31)."
    )
    assert "here stage 1 has cost 28 points (95 % interval over rows 25 to 31)" in words.fine_tuned(
        rows < 200, rows < 480, 9, 400
    )
    assert "no difference that these rows can tell." in words.fine_tuned(rows < 300, (rows >= 2) & (rows < 303), 9, 400)
    told = words.fine_tuned(rows < 115, rows < 111, 9, 400)
    assert "it is no better than guessing (11 %), so fine-tuning has not got going." in told


def test_what_the_real_encoder_saves_in_labels():
    real = curve("real encoder", 0.5, 0.6, 0.7)
    told = words.worth_of_real(real, curve("TF-IDF", 0.3, 0.55, 0.8))
    assert "With 25 labels the real encoder is right in 50 % of the rows; TF-IDF reaches that with 100." in told
    assert "With 400 labels TF-IDF wins" in told
    assert "does not reach that with 400" in words.worth_of_real(real, curve("TF-IDF", 0.1, 0.2, 0.3))
    told = words.worth_of_real(real, curve("TF-IDF", 0.5, 0.8, 0.9))
    assert "even the real encoder does not beat TF-IDF" in told
    assert "TF-IDF wins at 100 and 400 labels" in told


def test_pictures():
    told = words.worth_of_pictures(curve("p", 0.5, 0.6), curve("u", 0.3, 0.6), curve("x", 0.7, 0.8))
    assert told == (
        "Having seen 0 to 4 helps with 5 to 9 at 25 labels; logistic regression on the bare pixels wins at 25 and 100 "
        "labels."
    )
    assert "does not help visibly" in words.worth_of_pictures(curve("p", 0.3), curve("u", 0.3), curve("x", 0.2))


@pytest.mark.parametrize(("loss", "said"), [(4.5, "has learnt to use the words"), (6.4, "has not yet learnt anything")])
def test_stage_one_is_told_as_it_went(loss, said):
    report = {
        "validation": {"loss": loss, "unigram_loss": 6.0, "accuracy": 0.21},
        "seconds": 45.2, "tokens": 912_345, "steps": 110, "tokens_per_second": 20_000.0,
    }  # fmt: skip
    told = " ".join(words.stage_one(report, 11_000_000))
    assert said in told
    assert f"{loss:.2f} nats" in told
    assert "0.9 million tokens in 110 steps" in told


def test_numbers_in_words():
    assert words.large(456) == "456"
    assert words.large(456_000) == "0.5 million"
    assert words.large(words.PAPER_TOKENS) == "128,000 million"
    assert "100,000 times as many, in a model of 20 times the size" in words.scale(1_280_000, 5_500_000)
    assert words.accuracy(Interval(0.494, 0.464, 0.524)) == "49 ± 3"
    assert words.listed([1]) == "1"
    assert words.listed([1, 2, 3]) == "1, 2 and 3"
