"""What the demo's numbers show and do not show, in sentences that are computed from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from patchword.study.labels import LabelCurve, difference, interval_over_rows
from patchword.tasks.metrics import Interval

PAPER_TOKENS = 128_000_000_000
"""What BERT was trained on: 128,000 tokens a batch, 1,000,000 steps (Devlin et al. 2018, appendix A.2)."""
PAPER_PARAMETERS = 110_000_000
"""Of BERT-base (section 3)."""


def listed(items: Sequence[Any]) -> str:
    """ "25", "25 and 50", "25, 50 and 100"."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def the(name: str) -> str:
    """With its article, but for names of methods."""
    return name if name[:1].isupper() else f"the {name}"


def large(number: float) -> str:
    """A number of tokens in words: "0.9 million"."""
    if number >= 1e9:
        return f"{number / 1e9:,.0f},000 million"
    return f"{number / 1e6:.1f} million" if number >= 1e5 else f"{number:,.0f}"


def accuracy(interval: Interval) -> str:
    """ "49 ± 3": per cent, and half of the 95 % interval."""
    return f"{100 * interval.mean:.0f} ± {100 * (interval.high - interval.low) / 2:.0f}"


def compared(a: LabelCurve, b: LabelCurve) -> str:
    """One sentence: at which label counts which of the two wins, where the 95 % interval of the difference says so."""
    groups: dict[str, list[int]] = {"a": [], "b": [], "": []}
    sizes: dict[str, list[float]] = {"a": [], "b": [], "": []}
    for k, count in enumerate(a.counts):
        found = difference(a, b, k)
        side = "a" if found.above_zero else "b" if found.below_zero else ""
        groups[side].append(count)
        sizes[side].append(100 * abs(found.mean))
    parts = [
        f"{the(winner.name)} wins at {listed(groups[side])} labels (by {_range(sizes[side])})"
        for side, winner in (("a", a), ("b", b))
        if groups[side]
    ]
    if groups[""]:
        parts.append(f"at {listed(groups[''])} labels the difference is within what chance does")
    sentence = f"{_upper(the(a.name))} against {the(b.name)}: "
    return sentence + (parts[0] if len(parts) == 1 else f"{'; '.join(parts[:-1])}; {parts[-1]}") + "."


def wins(a: LabelCurve, b: LabelCurve) -> list[int]:
    """Label counts at which `a` is more accurate than `b`, chance set aside."""
    return [count for k, count in enumerate(a.counts) if difference(a, b, k).above_zero]


def _range(points: Sequence[float]) -> str:
    low, high = round(min(points)), round(max(points))
    unit = "point" if high == 1 else "points"
    return f"{high} {unit}" if low == high else f"{low} to {high} {unit}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def stage_one(report: dict[str, Any], characters: int) -> list[str]:
    """What the 45 seconds of pretraining reached."""
    found = report["validation"]
    loss, unigram = found["loss"], found["unigram_loss"]
    told = [
        f"In {report['seconds']:.0f} seconds the model read {large(report['tokens'])} tokens in {report['steps']:,} "
        f"steps ({report['tokens_per_second']:,.0f} tokens a second) of a corpus of {characters / 1e6:.0f} million "
        "characters."
    ]
    if loss < unigram:
        told.append(
            f"On text that it has not seen, its loss on hidden words is {loss:.2f} nats; who knows only how frequent "
            f"each word is has {unigram:.2f}. So it has learnt to use the words around the gap, and guesses "
            f"{100 * found['accuracy']:.0f} % of the hidden word pieces."
        )
    else:
        told.append(
            f"On text that it has not seen, its loss on hidden words is {loss:.2f} nats; who knows only how frequent "
            f"each word is has {unigram:.2f}. So it has not yet learnt anything from the words around the gap; this "
            "machine needs more minutes."
        )
    return told


def fine_tuned(young: np.ndarray, untrained: np.ndarray, classes: int, count: int) -> str:
    """What 45 seconds of stage 1 have bought where all weights are fine-tuned; test rows that are right, bool `[R]`."""
    ours, theirs = interval_over_rows(young), interval_over_rows(untrained)
    bought = interval_over_rows(young.astype(int) - untrained)
    told = (
        f"Fine-tuned on {count} labels, the 45-second model is right in {100 * ours.mean:.0f} % of the rows, and the "
        f"same network from random weights in {100 * theirs.mean:.0f} %: "
    )
    if bought.above_zero:
        told += f"here stage 1 has bought {_points(bought)}"
    elif bought.below_zero:
        told += f"here stage 1 has cost {_points(Interval(-bought.mean, -bought.high, -bought.low))}"
    else:
        told += "no difference that these rows can tell"
    if ours.low <= 1 / classes:
        told += f"; and it is no better than guessing ({100 / classes:.0f} %), so fine-tuning has not got going"
    return told + "."


def _points(found: Interval) -> str:
    return f"{100 * found.mean:.0f} points (95 % interval over rows {100 * found.low:.0f} to {100 * found.high:.0f})"


def scale(tokens: int, parameters: int) -> str:
    """How little that is."""
    times, size = PAPER_TOKENS / max(tokens, 1), PAPER_PARAMETERS / parameters
    return (
        f"This run read {large(tokens)} tokens. BERT was trained on {large(PAPER_TOKENS)} (128,000 tokens a step, a "
        f"million steps), {float(f'{times:.1g}'):,.0f} times as many, in a model of {size:.0f} times the "
        "size. What is seen here is how stage 1 works; what it is worth is not."
    )


def worth_of_young(young: LabelCurve, untrained: LabelCurve, words: LabelCurve) -> str:
    """What 45 seconds of stage 1 have bought in stage 2, whichever way it came out."""
    over_untrained, over_words, under_words = wins(young, untrained), wins(young, words), wins(words, young)
    under_untrained, every = wins(untrained, young), len(young.counts)
    if under_untrained:
        first = (
            "Frozen, under a linear probe, 45 seconds of stage 1 have done harm so far: the same network with random "
            f"weights wins at {listed(under_untrained)} labels"
        )
    elif over_untrained:
        first = (
            "Frozen, under a linear probe, 45 seconds of stage 1 beat the same network with random weights at "
            f"{listed(over_untrained)} labels"
        )
    else:
        first = (
            "Frozen, under a linear probe, 45 seconds of stage 1 have bought nothing that can be seen beside the same "
            "network with random weights"
        )
    if under_words and over_words:
        second = f"{words.name} wins at {listed(under_words)} labels and loses at {listed(over_words)}"
    elif under_words:
        second = f"{words.name}, which counts words and knows no language, wins" + (
            " at every number of labels" if len(under_words) == every else f" at {listed(under_words)} labels"
        )
    elif over_words:
        second = f"they beat {words.name} at {listed(over_words)} labels"
    else:
        second = f"between them and {words.name} no difference can be seen"
    return f"{first}; {second}."


def worth_of_real(real: LabelCurve, words: LabelCurve) -> str:
    """What a real encoder's stage 1 saves in labels, whichever way it came out."""
    over, under = wins(real, words), wins(words, real)
    if not over:
        end = f", and {words.name} wins at {listed(under)} labels" if under else ""
        return f"On this task even the real encoder does not beat {words.name} under a linear probe{end}."
    k = real.counts.index(over[0])
    level = real.interval(k).mean
    enough = [count for i, count in enumerate(words.counts) if words.interval(i).mean >= level]
    needs = (
        f"{words.name} reaches that with {enough[0]}"
        if enough
        else f"{words.name} does not reach that with {words.counts[-1]}"
    )
    end = f" With {listed(under)} labels {words.name} wins: there are words enough to count by then." if under else ""
    return (
        f"With {over[0]} labels the real encoder is right in {100 * level:.0f} % of the rows; {needs}. That is what a "
        f"long stage 1 is worth: labels.{end}"
    )


def worth_of_pictures(pretrained: LabelCurve, untrained: LabelCurve, pixels: LabelCurve) -> str:
    """What the digits 0 to 4 have taught for 5 to 9, whichever way it came out."""
    over_untrained, over_pixels, under_pixels = (
        wins(pretrained, untrained),
        wins(pretrained, pixels),
        wins(pixels, pretrained),
    )
    if over_untrained:
        first = f"Having seen 0 to 4 helps with 5 to 9 at {listed(over_untrained)} labels"
    else:
        first = "Having seen 0 to 4 does not help visibly with 5 to 9"
    if over_pixels and under_pixels:
        second = (
            f"logistic regression on the bare pixels loses at {listed(over_pixels)} labels and wins at "
            f"{listed(under_pixels)}"
        )
    elif over_pixels:
        second = f"it also beats logistic regression on the bare pixels at {listed(over_pixels)} labels"
    elif under_pixels:
        second = f"logistic regression on the bare pixels wins at {listed(under_pixels)} labels"
    else:
        second = "against logistic regression on the bare pixels no difference can be seen"
    return f"{first}; {second}."
