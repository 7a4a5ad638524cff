"""The same weights through transformers and through us: what every family's cases have in common.

A family's cases are in `tests/models/cases/FAMILY.py`, a list `CASES`; putting the file there is all it takes.
`python -m tests.models.parity` writes the table of the documentation.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn

import tests.models.cases
from patchword.models.family import Model, families
from patchword.models.folder import describe, read_model, write_model
from patchword.models.heads import VocabularyHead
from patchword.models.masked_image import MaskedImageHead
from patchword.nn.packing import Packed

LABELS = ("left", "none", "right")
WITH_LABELS = ("class", "class_distilled", "token_class")
TOLERANCE = 1e-5
"""On logits of the order of 1 in fp32: some hundred roundings of 6e-8, one after another."""


@dataclass(frozen=True)
class Case:
    """A class of transformers, and what it is in our words.

    Args:
        theirs: its name.
        family: `model_type`.
        way_out: ours.
        config: keyword arguments of their config class; small sizes.
        reads: what the model takes: packed ids, ids to read and ids to write, pixels `[3, 3, *image]`, or pixels of
            which a part is seen.
        auto: the Auto class that opens it.
        segments: whether it takes segment ids.
        image: height and width in pixels.
        ends_with: the last id of every sequence, where the class is read from it.
        untied: whether its scores are given a matrix of their own, as old checkpoints have.
        note: told apart from another case of the same class by this.
    """

    theirs: str
    family: str
    way_out: str
    config: Mapping[str, Any] = field(hash=False)
    reads: Literal["words", "pairs", "pixels", "patches"] = "words"
    auto: str = ""
    segments: bool = False
    image: tuple[int, int] = (16, 16)
    ends_with: int | None = None
    untied: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        return self.theirs + (f" ({self.note})" if self.note else "")

    def model(self) -> nn.Module:
        """One of theirs with weights far from those of a new one (norms of 1, biases of 0)."""
        kind = getattr(transformers, self.theirs).config_class
        labels = {"id2label": dict(enumerate(LABELS))} if self.way_out in WITH_LABELS else {}
        model = getattr(transformers, self.theirs)(kind(**{**self.config, **labels}))
        if self.untied:
            model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
        return scrambled(model)


@cache
def all_cases() -> list[Case]:
    """Of every family."""
    names = [module.name for module in pkgutil.iter_modules(tests.models.cases.__path__)]
    return [case for name in names for case in importlib.import_module(f"tests.models.cases.{name}").CASES]


def scrambled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random, so that none can be swapped for another unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = any(part in name.lower() for part in ("norm", "ln_")) and name.endswith("weight")
            parameter.copy_(is_norm + 0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
            if name.endswith(("final_logits_bias", "head.shift")):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return model.eval()


def pad(sequences: list[Tensor], value: int = 0) -> Tensor:
    return nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=value)


def outputs(case: Case, ours: Model, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The same input through both models: pairs of (ours, theirs)."""
    torch.manual_seed(1)
    ours.eval()
    with torch.no_grad():
        if case.reads == "patches":
            return _patches(case, ours, theirs)
        if case.reads == "pixels":
            pixels = torch.randn(3, 3, *case.image)
            return _images(case, ours, pixels, theirs(pixel_values=pixels))
        lengths = [7, 12, 2, 7]
        ids = [torch.randint(5, case.config["vocab_size"], (length,)) for length in lengths]
        if case.ends_with is not None:
            for sequence in ids:
                sequence[-1] = case.ends_with
        mask = pad([torch.ones_like(sequence) for sequence in ids])
        filler = theirs.config.pad_token_id
        if filler is None:
            theirs.config.pad_token_id = filler = 0
        given = {"input_ids": pad(ids, filler), "attention_mask": mask}
        inputs: list[Any] = [Packed.from_sequences(ids)]
        said = mask.bool()
        if case.segments:
            segments = [(torch.arange(length) >= length // 2).long() for length in lengths]
            given["token_type_ids"] = pad(segments)
            inputs[0] = replace(inputs[0], segments=torch.cat(segments))
        if case.reads == "pairs":
            target = [torch.randint(5, case.config["vocab_size"], (length,)) for length in (3, 1, 9, 6)]
            given["decoder_input_ids"] = pad(target, filler)
            inputs.append(Packed.from_sequences(target))
            said = pad([torch.ones_like(sequence) for sequence in target]).bool()
        return _words(case, ours, inputs, theirs(**given), said)


def _patches(case: Case, ours: Model, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Of pictures of which a part is seen: vectors, or what is guessed and the loss of it."""
    pixels = torch.randn(3, 3, *case.image)
    noise = torch.rand(3, ours.config.tokens - 1)
    order = noise.argsort(1)
    seen, hidden = order.tensor_split([int(order.shape[1] * (1 - theirs.config.mask_ratio))], 1)
    answer = theirs(pixel_values=pixels, noise=noise)
    vectors = ours.features(pixels, seen)
    if case.way_out == "features":
        return [(vectors.values, answer.last_hidden_state.flatten(0, 1))]
    assert isinstance(ours.head, MaskedImageHead)
    pictures = torch.arange(3).repeat_interleave(hidden.shape[1])
    errors = ours.head.errors(vectors, pixels, pictures, hidden.flatten())
    assert len(errors) == answer.mask.sum()
    assert abs(errors.mean() - answer.loss) <= TOLERANCE, (errors.mean(), answer.loss)
    return [(ours(pixels, seen), answer.logits.flatten(0, 1))]


def _images(case: Case, ours: Model, pixels: Tensor, answer: Any) -> list[tuple[Tensor, Tensor]]:
    if case.way_out in WITH_LABELS:
        return [(ours(pixels), answer.logits)]
    features = ours.features(pixels).values
    last = answer.last_hidden_state
    # A map of channels is a sequence of places.
    last = last.flatten(2).transpose(1, 2) if last.ndim == 4 else last
    pairs = [(features, last.flatten(0, 1))]
    pooled = getattr(answer, "pooler_output", None)
    return pairs if pooled is None else [*pairs, (ours(pixels), pooled.reshape(len(pixels), -1))]


def _words(case: Case, ours: Model, inputs: list[Any], answer: Any, said: Tensor) -> list[tuple[Tensor, Tensor]]:
    output = ours(*inputs)
    match case.way_out:
        case "class" | "next_sentence":
            return [(output, answer.logits)]
        case "token_class" | "masked_token" | "next_token":
            return [(output, answer.logits[said])]
        case "span":
            return [(output, torch.stack([answer.start_logits, answer.end_logits], -1)[said])]
    pairs = [(ours.features(*inputs).values, answer.last_hidden_state[said])]
    pooled = getattr(answer, "pooler_output", None)
    return pairs if pooled is None else [*pairs, (output, pooled)]


def losses(case: Case, ours: Model, theirs: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The mean loss of a language model by both; None for other heads."""
    if case.way_out not in ("masked_token", "next_token"):
        return None
    torch.manual_seed(2)
    head = ours.eval().head
    assert isinstance(head, VocabularyHead)
    ids = torch.randint(5, case.config["vocab_size"], (2, 8))
    rows = Packed.from_sequences(list(ids))
    with torch.no_grad():
        if case.reads == "pairs":
            target = torch.randint(5, case.config["vocab_size"], (2, 6))
            expected = theirs(input_ids=ids, labels=target).loss
            start = torch.full((2, 1), theirs.config.decoder_start_token_id)
            given = Packed.from_sequences(list(torch.cat([start, target[:, :-1]], 1)))
            tokens, targets = ours.features(rows, given).values, target.flatten()
        else:
            expected = theirs(input_ids=ids, labels=ids).loss
            tokens, targets = ours.features(rows).values, ids.flatten()
            if case.way_out == "next_token":
                tokens, targets = tokens.view(2, 8, -1)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        return head.loss(tokens, targets) / len(targets), expected


def difference(case: Case, ours: Model, theirs: nn.Module) -> float:
    """The largest, over all outputs; the loss is one."""
    pairs = outputs(case, ours, theirs)
    loss = losses(case, ours, theirs)
    for mine, other in pairs:
        assert mine.shape == other.shape, (mine.shape, other.shape)
        assert other.std() > 0.05, "a comparison of zeros"
    return max(float((mine - other).abs().max()) for mine, other in [*pairs, *([loss] if loss else [])])


def into_ours(case: Case, folder: Path) -> tuple[float, Any]:
    """Their folder, opened by us: (difference, what became of the tensors)."""
    theirs = case.model()
    theirs.save_pretrained(folder)
    loaded = read_model(folder)
    return difference(case, loaded.model, theirs), loaded


def into_theirs(case: Case, source: Path, folder: Path) -> tuple[float, nn.Module, dict[str, Any]]:
    """Our folder, opened by them: (difference, their model, what they say of the tensors)."""
    case.model().save_pretrained(source)
    told = describe(source)
    ours = scrambled(Model(told.family, told.config, case.way_out, told.labels, None), seed=1)
    assert isinstance(ours, Model)
    write_model(ours, folder)
    auto = getattr(transformers, case.auto or case.theirs)
    theirs, info = auto.from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__name__ == case.theirs
    return difference(case, ours, theirs.eval()), theirs, info


def main() -> None:
    """The table: family x head x direction."""
    out = sys.stdout
    out.write(
        "# Parity with transformers\n\n"
        f"Written by `python -m tests.models.parity` (transformers {transformers.__version__}, torch "
        f"{torch.__version__.split('+')[0]}, fp32 on a CPU). The same random weights through both, in both directions: "
        "a folder that they write and we open, and one that we write and they open. Largest absolute difference of "
        f"logits, features and loss; the tests demand {TOLERANCE:g}.\n\n"
        "| family | class of transformers | way out | theirs, opened by us | ours, opened by them |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    for case in all_cases():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            ours, _ = into_ours(case, path / "a")
            theirs, _, _ = into_theirs(case, path / "b", path / "c")
        out.write(f"| {case.family} | {case.name} | {case.way_out} | {ours:.1e} | {theirs:.1e} |\n")
    missing = families().keys() - {case.family for case in all_cases()}
    assert not missing, missing


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
