"""Ways out: from the core's vectors to features, scores of classes, or scores of words."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.feedforward import ACTIVATIONS
from patchword.nn.packing import Packed


class Head(nn.Module):
    """A way out."""

    per_label: tuple[str, ...] = ()
    """Names of the parameters that belong to one class each; new classes need new ones."""


class Pooler(Head):
    """tanh(W x + b) of each sequence's first token (Devlin et al. 2018, their code)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> one vector a sequence, `[N, width]`."""
        return F.tanh(self.dense(hidden.first()))


class ClassHead(Head):
    """Scores of classes from each sequence's first token, or from what a pooler makes of it.

    Args:
        width: numbers per token.
        classes: how many scores.
        pool: from packed tokens to one vector a sequence; the first token where not given.
        dropout: before the scores, while training.
    """

    per_label = ("scores.weight", "scores.bias")

    def __init__(self, width: int, classes: int, *, pool: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool = pool or FirstToken()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, classes)

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> logits `[N, classes]`."""
        logits: Tensor = self.scores(self.dropout(self.pool(hidden)))
        return logits


class FirstToken(nn.Module):
    """Each sequence's first token (the class token)."""

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, width]`."""
        return hidden.first()


class MaskedTokenHead(Head):
    """Scores of the words under a mask: dense, activation, norm, then the word table itself (tied) and a bias.

    Devlin et al. 2018, section 3.1 and their code. It is given the masked tokens only: at 15 % masking that is
    a seventh of the largest product in a small model.

    Args:
        words: the word table `[vocab_size, width]` that the way in uses; shared, not copied.
        activation: a name in `ACTIVATIONS`.
        norm_eps: of the norm.
    """

    def __init__(self, words: nn.Embedding, *, activation: str, norm_eps: float) -> None:
        super().__init__()
        vocab_size, width = words.weight.shape
        self.dense = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.scores = nn.Linear(width, vocab_size)
        self.scores.weight = words.weight

    def transform(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, width]`: what is compared with the word table."""
        output: Tensor = self.norm(self.activation(self.dense(tokens)))
        return output

    def forward(self, hidden: Packed) -> Tensor:
        """Logits of every token, `[T, vocab_size]`."""
        logits: Tensor = self.scores(self.transform(hidden.values))
        return logits

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Summed cross-entropy in nats of tokens `[n, width]` against word ids `[n]`."""
        return F.cross_entropy(self.scores(self.transform(tokens)).float(), targets, reduction="sum")
