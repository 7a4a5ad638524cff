"""Image classification from pretrained weights (Dosovitskiy et al. 2021, appendix B.1.1, with AdamW).

Seen over 3 draws, a small ViT that learnt the digits 0 to 4, on 50 labels of 5 to 9: 75 % right, 60 % from random
weights, logistic regression on the pixels 93 %.

Passes seen once, two ViTs of 0.8 M parameters that learnt letters or digits, in steps of 32: 1,000 labels of other
letters 35 % right after 310 steps, 59 after 620, 77 after 1,240 (at three times the rate 48 after 310; pixels 74);
digits 91 and 95 after 310 and 1,240, emoji 52 and 54. With 100 labels 720 steps were no better than 240 (digits 80 and
80, emoji 36 and 36). Kolesnikov et al. 2020 take 500 steps of 512. Starts that saw a million pictures were not there.

Augmentation seen once, a ViT of 4 layers and width 96 from random weights in batches of 64 at 1e-3; right of all test
pictures: 600 digits, 40 passes, 74 % (--augment none), 76 % (light), 65 % (standard); 1,000 emoji, 25 passes, 52 %
(none), 50 % (light). The loss was lower with light in both (0.91 to 0.73, 1.48 to 1.43), so it is what "auto" takes;
what changes more needs more passes than these. Neither strong nor starts from pretrained weights were compared.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """Batches of 32; 10 passes, or as many (60 at most) as make 1,200 steps; 3e-4 at width 192, lower above."""
    return Recipe(
        epochs=min(60, max(10, round(1200 * 32 / max(rows, 1)))),
        lr=3e-4 * (192 / width),
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.01,
        betas=(0.9, 0.999),
        batch_tokens=1 << 20,
        micro_tokens=32768,
        batch_size=32,
        evaluations=6,
    )
