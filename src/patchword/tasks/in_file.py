"""A model in an ONNX file, run by onnxruntime, with the inputs and outputs that our own models have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from patchword.models.config import ImageConfig, TextConfig
from patchword.models.family import Model
from patchword.models.stems import SegmentedEmbedding
from patchword.nn.finite import finite
from patchword.nn.packing import Layout, Packed
from patchword.tasks.padded import HIDDEN, Padded

_LONGEST = 256
"""Tokens of the longest random sequence, where the model reads more."""


class InFile(Model):
    """Stands for a model wherever it is called: tasks evaluate it as they do the model itself.

    Args:
        path: of the file.
        padded: what was put into it.
        model: what that was made from.
    """

    def __init__(self, path: Path, padded: Padded, model: Model) -> None:
        import onnxruntime

        nn.Module.__init__(self)  # a Model would be built once more; this one is in the file
        self.family, self.config, self.way_out = model.family, model.config, model.way_out
        self.labels, self.problem = model.labels, model.problem
        self.trunk, self.head = model.trunk, model.head
        self.names, self.is_text, self.per_sequence = list(padded.inputs), padded.is_text, padded.per_sequence
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def forward(self, *inputs: Any) -> Tensor:
        """As the model: packed tokens or pixels -> `[N, classes]` or `[T, ...]`."""
        (read,) = inputs
        given, said = _rectangle(read, len(self.names)) if self.is_text else ([read], None)
        feeds = {name: tensor.numpy() for name, tensor in zip(self.names, given, strict=True)}
        found = [torch.from_numpy(array) for array in self.session.run(None, feeds)]
        values = found[0] if len(found) == 1 else torch.stack(found, -1)
        if self.per_sequence:
            return values
        return values.flatten(0, 1) if said is None else values[said]


def _rectangle(tokens: Packed, count: int) -> tuple[list[Tensor], Tensor]:
    """Padded ids, mask and segments, `count` of them; and the mask as bool."""
    segments = torch.zeros_like(tokens.values) if tokens.segments is None else tokens.segments
    tensors = [
        pad_sequence(part.split(tokens.layout.lengths), batch_first=True)
        for part in (tokens.values, torch.ones_like(tokens.values), segments)
    ]
    return tensors[:count], tensors[1].bool()


def answer(model: Model, padded: Padded, read: Packed | Tensor) -> Tensor:
    """What the model itself gives for the same: `[N, classes]`, `[T, ...]`, or the core's vectors `[T, width]`."""
    return finite(model.read(read).values if padded.outputs == HIDDEN else model(read))


def random_inputs(model: Model, batches: int = 8, seed: int = 0) -> Iterator[Packed | Tensor]:
    """Batches of random inputs of random lengths: one of the shortest, one of the longest, then several together."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    for number in range(batches):
        count = 1 if number < 2 else int(torch.randint(2, 9, (), generator=generator))
        if isinstance(config, ImageConfig):
            yield torch.randn(count, config.channels, *config.image_size, generator=generator)
            continue
        assert isinstance(config, TextConfig)
        longest = min(config.max_length, _LONGEST)
        # Evenly by their logarithm: most are short, so that there is much padding.
        lengths = (longest ** torch.rand(count, generator=generator)).long().clamp(1, longest).tolist()
        layout = Layout([1] if number == 0 else [longest] if number == 1 else lengths)
        ids = torch.randint(config.vocab_size, (layout.tokens,), generator=generator)
        kinds = [part.segments.num_embeddings for part in model.modules() if isinstance(part, SegmentedEmbedding)]
        segments = torch.randint(kinds[0], ids.shape, generator=generator) if kinds else None
        yield Packed(ids, layout, segments=segments)
