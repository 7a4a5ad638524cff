"""Masked words from random weights, as encoders are pretrained since ModernBERT (Warner et al. 2024, section 2.2).

30 % of the words are hidden (Wettig et al. 2023); the rate is level and falls at the end; batches and texts begin
smaller; weights are averaged. Muon for the matrices, at a rate and with a decay that suit AdamW as well (Liu et al.
2025). The numbers are of these papers or between theirs, at the scale of one machine, and are not tuned yet.

Seen once, 90 seconds with evaluations on two cores without bf16 units (about 30 steps of 4,096 tokens), one seed,
held-out loss: 7.06; 7.04 with AdamW alone; 7.10 and 7.08 at half and twice the rate; bert-mini and its own recipe 7.88.
`python -m benchmarks.recipe` compares each part with its absence.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """Muon and AdamW; the rate falls with the square root of the width, 2e-3 at 256."""
    return Recipe(
        minutes=10,
        optimizer="muon",
        lr=2e-3 * (256 / width) ** 0.5,
        schedule="wsd",
        warmup=0.05,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        batch_tokens=4096,
        batch_ramp=0.1,
        length_ramp=0.2,
        mask_share=0.3,
        ema=0.05,
        evaluations=10,
    )
