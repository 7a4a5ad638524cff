"""Ways out: from the core's vectors to features, scores of classes, or scores of words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.models.cross_entropy import linear_cross_entropy, losses_and_guesses
from patchword.nn.feedforward import ACTIVATIONS
from patchword.nn.packing import Packed
from patchword.nn.sizes import missing


class Head(nn.Module):
    """A way out."""

    per_label: tuple[str, ...] = ()
    """Names of the parameters that belong to one class (or one kind of score) each; new classes need new ones."""


class SequenceHead(Head):
    """A way out that takes one vector, or a few, of each sequence and goes on with these alone."""


class Features(Head):
    """No way out of its own: the core's vectors."""

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> the same."""
        return hidden.values


class FirstToken(nn.Module):
    """Each sequence's first token (the class token)."""

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, width]`."""
        return hidden.first()


class LastToken(nn.Module):
    """Each sequence's last token: the one that has seen all others, where each sees the earlier ones.

    Args:
        pad: id of the padding token. The last token of another id is taken, as transformers does, which can not tell a
            padding token that belongs to the text.
    """

    def __init__(self, pad: int | None = None) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, width]`."""
        if self.pad is None or hidden.ids is None:
            return hidden.last()
        return hidden.values[hidden.layout.last_of(hidden.ids != self.pad)]


class MeanToken(nn.Module):
    """The mean of each sequence's tokens."""

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, width]`."""
        return hidden.layout.mean(hidden.values)


class ClassAndPatches(nn.Module):
    """The class token beside the mean of the patches (Oquab et al. 2024).

    Args:
        special: tokens before the patches.
    """

    def __init__(self, special: int) -> None:
        super().__init__()
        self.special = special

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, 2 * width]`."""
        tokens = hidden.values.view(-1, hidden.layout.longest, hidden.values.shape[-1])
        return torch.cat([tokens[:, 0], tokens[:, self.special :].mean(1)], dim=1)


class Pooled(SequenceHead):
    """One vector of each sequence, as it is.

    Args:
        pool: from packed tokens to one vector a sequence.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> `[N, width]`."""
        vectors: Tensor = self.pool(hidden)
        return vectors


class Pooler(SequenceHead):
    """f(W x + b) of one token of each sequence; tanh of the first (Devlin et al. 2018, their code).

    Args:
        width: numbers per token.
        token: from packed tokens to one vector a sequence; the first token where not given.
        activation: a name in `ACTIVATIONS`.
        dropout: on the token, while training.
    """

    def __init__(
        self, width: int, *, token: nn.Module | None = None, activation: str = "tanh", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.token = token or FirstToken()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> one vector a sequence, `[N, width]`."""
        return self.activation(self.dense(self.dropout(self.token(hidden))))


class ClassHead(SequenceHead):
    """Scores of classes from one vector of each sequence.

    Args:
        width: numbers per token.
        classes: how many scores.
        pool: from packed tokens to one vector a sequence; the first token where not given.
        dropout: before the scores, while training.
        bias: whether a number is added to each score.
    """

    def __init__(
        self, width: int, classes: int, *, pool: nn.Module | None = None, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.pool = pool or FirstToken()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, classes, bias=bias)
        self.per_label = ("scores.weight", "scores.bias")[: 1 + bias]

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> logits `[N, classes]`."""
        logits: Tensor = self.scores(self.dropout(self.pool(hidden)))
        return logits


class TokenClassHead(Head):
    """Scores of classes for each token (Devlin et al. 2018, section 5.3).

    Args:
        width: numbers per token.
        classes: how many scores.
        dropout: before the scores, while training.
        before: what each token goes through first, `[T, width]` -> `[T, width]`.
    """

    per_label = ("scores.weight", "scores.bias")

    def __init__(self, width: int, classes: int, *, dropout: float = 0.0, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, classes)

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> logits `[T, classes]`."""
        logits: Tensor = self.scores(self.dropout(self.before(hidden.values)))
        return logits


class SpanHead(Head):
    """Two scores for each token: that an answer begins there, that it ends there (Devlin et al. 2018, section 4.2).

    Args:
        width: numbers per token.
        dropout, before: as in `TokenClassHead`.
    """

    per_label = ("scores.weight", "scores.bias")

    def __init__(self, width: int, *, dropout: float = 0.0, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, 2)

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> logits of beginning and end `[T, 2]`."""
        logits: Tensor = self.scores(self.dropout(self.before(hidden.values)))
        return logits


class VocabularyHead(Head):
    """Scores of all words for a token. It can be given only the tokens that have a target.

    Args:
        width: numbers per token.
        vocab_size: how many words.
        words: the word table `[vocab_size, width]` of a way in, shared; a matrix of its own where None.
        bias: whether a number is added to each score.
    """

    def __init__(self, width: int, vocab_size: int, *, words: nn.Embedding | None, bias: bool) -> None:
        super().__init__()
        self.scores = nn.Linear(width, vocab_size, bias=bias)
        if words is not None:
            self.scores.weight = words.weight

    def transform(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, width]`: what is compared with the words."""
        return tokens

    @property
    def added(self) -> Tensor | None:
        """`[vocab_size]`: what is added to each score, if anything."""
        return self.scores.bias

    def logits(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, vocab_size]`."""
        return F.linear(self.transform(tokens), self.scores.weight, self.added)

    def forward(self, hidden: Packed) -> Tensor:
        """Logits of every token, `[T, vocab_size]`."""
        return self.logits(hidden.values)

    def loss(self, tokens: Tensor, targets: Tensor, z_loss: float = 0.0) -> Tensor:
        """Summed cross-entropy in nats of tokens `[n, width]` against word ids `[n]`.

        Args:
            tokens, targets: what is compared.
            z_loss: weight of log(Z)^2, which keeps the scores near 0 (Chowdhery et al. 2022, section 5).
        """
        if more := missing(tokens):
            tokens = F.pad(tokens, (0, 0, 0, more))
        return linear_cross_entropy(self.transform(tokens), self.scores.weight, self.added, targets, z_loss)

    def losses_and_guesses(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Of tokens `[n, width]`: cross-entropy in nats against word ids `[n]`, and the likeliest word, each `[n]`."""
        return losses_and_guesses(self.transform(tokens), self.scores.weight, self.added, targets)


class NextTokenHead(VocabularyHead):
    """Scores of the next word: x E^T with the word table E, or a matrix of its own (Radford et al. 2018, equation 2).

    Args:
        width, vocab_size, words, bias: as in `VocabularyHead`.
        scale: of the vectors before the product (T5: 1 / sqrt(width) where the table is shared).
    """

    def __init__(
        self,
        width: int,
        vocab_size: int,
        *,
        words: nn.Embedding | None = None,
        bias: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__(width, vocab_size, words=words, bias=bias)
        self.scale = scale

    def transform(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, width]`."""
        return tokens * self.scale


class ShiftedScores(NextTokenHead):
    """Scores of the next word, and a number added to each that comes with the weights and is not learnt (BART).

    Args:
        width, vocab_size, words: as in `VocabularyHead`.
    """

    shift: Tensor

    def __init__(self, width: int, vocab_size: int, *, words: nn.Embedding | None) -> None:
        super().__init__(width, vocab_size, words=words)
        self.register_buffer("shift", torch.zeros(vocab_size))

    @property
    def added(self) -> Tensor:
        """The numbers that came with the weights."""
        return self.shift


class MaskedTokenHead(VocabularyHead):
    """Scores of the words under a mask: dense, activation, norm, then the word table (usually) and a bias.

    Devlin et al. 2018, section 3.1 and their code. It is given the masked tokens only: at 15 % masking that is
    a seventh of the largest product in a small model.

    Args:
        width, vocab_size, words: as in `VocabularyHead`.
        activation: a name in `ACTIVATIONS`.
        norm: of what is compared with the words.
        bias: whether the dense layer adds one.
    """

    def __init__(
        self,
        width: int,
        vocab_size: int,
        *,
        words: nn.Embedding | None,
        activation: str,
        norm: nn.Module,
        bias: bool = True,
    ) -> None:
        super().__init__(width, vocab_size, words=words, bias=True)
        self.dense = nn.Linear(width, width, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.norm = norm

    def transform(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, width]`: what is compared with the word table."""
        output: Tensor = self.norm(self.activation(self.dense(tokens)))
        return output
