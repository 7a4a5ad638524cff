"""Model FLOPs utilisation of BERT-base, ViT-B/16, GPT-2 124M on one device, with others: `python -m benchmarks.gpu`.

ours: the one loop, its data, logging and all. transformers, timm: their model with the same sizes in a bare loop, on a
batch that lies on the device. nanoGPT-like: a bare GPT-2 through `torch.compile`. All: the same precision, AdamW in one
kernel, clipping at 1, no dropout. Utilisation is the same model FLOPs (`patchword explain`; scores of masked words
only) times tokens a second, by what the device can do at most, and by what a large matrix product reaches in this run.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import description
from benchmarks.profile import matmul_speed
from benchmarks.race import table
from benchmarks.subject import Subject, subject
from patchword.models.folder import write_model
from patchword.tasks.masked_lm import SHARE
from patchword.training.tracking import Tracker

_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}
"""FLOP/s of products in bf16 without sparsity, from data sheets."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A model to race over.

    Args:
        title: of its rows.
        preset: ours.
        peer: the class of transformers.
        length: tokens of a text; of a picture 0.
        tokens: a step.
    """

    title: str
    preset: str
    peer: str
    length: int
    tokens: int


_SHAPES = (
    Shape("BERT-base, masked words", "bert-base", "BertForMaskedLM", 512, 32768),
    Shape("ViT-B/16, classes", "vit-base-16", "ViTForImageClassification", 0, 128 * 197),
    Shape("GPT-2 124M, next words", "gpt2", "GPT2LMHeadModel", 1024, 32768),
)
_TINY = {"width": 64, "depth": 2, "heads": 2, "hidden": 256}


def main() -> None:
    """Race, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each contender in a round (10)")
    parser.add_argument("--quick", action="store_true", help="tiny models: does everything run?")
    given = parser.parse_args()
    rounds, steps = (1, 1) if given.quick else (given.rounds, given.steps)
    print("\n".join(description()), end="\n\n")
    rows = []
    for shape in _SHAPES:
        with tempfile.TemporaryDirectory(prefix="patchword-gpu-") as folder:
            rows += race(shape, Path(folder), given.device, given.precision, rounds, steps, given.quick)
    print(table(["model", "contender", "tokens/s", "of the data sheet", "of a matrix product", "ours is"], rows))


def race(
    shape: Shape, folder: Path, device: str, precision: str, rounds: int, steps: int, quick: bool
) -> list[list[str]]:
    """Rows of the table: contenders in turns, round after round."""
    tokens = 512 if quick else shape.tokens
    length = min(shape.length, 64) if quick else shape.length
    sizes = dict(_TINY) if quick else {}
    if shape.length:
        sizes["max_length"] = max(length, 64) if quick else max(length, 512)
    one = subject(
        shape.preset,
        folder,
        length=length or 128,
        batch_tokens=tokens,
        device=device,
        precision=precision,
        sizes=sizes,
        log_steps=10,
    )
    on = one.compute.device
    contenders = peers(shape, one, length, tokens, folder, compiled=not quick)
    with Tracker(None, quiet=True) as tracker:

        def ours(count: int) -> int:
            before = one.state.tokens
            one.learn(count, tracker)
            return one.state.tokens - before

        def theirs(step: Step, each: int, count: int) -> int:
            for _ in range(count):
                step()
            return each * count

        work: dict[str, Callable[[int], int]] = {"ours": ours}
        for name, (step, each) in contenders.items():
            work[name] = partial(theirs, step, each)
        speeds: dict[str, list[float]] = {name: [] for name in work}
        for name in work:
            work[name](1 if quick else 3)
        peak = 0.0
        for _ in range(rounds):
            peak = max(peak, matmul_speed(on, one.compute.autocast))
            for name, run in work.items():
                _wait(on)
                began = time.perf_counter()
                done = run(steps)
                _wait(on)
                speeds[name].append(done / (time.perf_counter() - began))
    sheet = next(
        (value for key, value in _PEAKS.items() if on.type == "cuda" and key in torch.cuda.get_device_name()), 0
    )
    rows = []
    for name, values in speeds.items():
        middle = statistics.median(values)
        flops = middle * one.flops_per_token
        factor = statistics.median(mine / other for mine, other in zip(speeds["ours"], values, strict=True))
        share = f"{flops / sheet:.1%}" if sheet else "unknown"
        rows.append([shape.title, name, f"{middle:,.0f}", share, f"{flops / peak:.1%}", f"{factor:.2f} x"])
    return rows


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peers(
    shape: Shape, one: Subject, length: int, tokens: int, folder: Path, compiled: bool
) -> dict[str, tuple[Step, int]]:
    """By name: what makes one step, and tokens of it."""
    device = one.compute.device
    found: dict[str, tuple[Step, int]] = {}
    config: Any = one.state.model.config
    each = length or config.tokens
    count = max(1, tokens // each)
    if not length:
        side = config.image_size[0]
        pictures = torch.randn(count, 3, side, side, device=device)
        classes = torch.randint(len(one.state.model.labels), (count,), device=device)
    else:
        words = torch.randint(5, 200, (count, length), device=device)
        masked = torch.rand(count, length, device=device) < SHARE

    if importlib.util.find_spec("transformers"):
        import transformers

        write_model(one.state.model, folder / "model")
        kind = getattr(transformers, shape.peer)
        model = kind.from_pretrained(folder / "model", attn_implementation="sdpa").to(device)
        if not length:
            inputs = {"pixel_values": pictures, "labels": classes}
        else:
            hidden = shape.peer == "BertForMaskedLM"
            inputs = {"input_ids": words, "labels": words.masked_fill(~masked, -100) if hidden else words}
        found["transformers"] = (_stepper(model, lambda: model(**inputs).loss, one), count * each)
    if not length and importlib.util.find_spec("timm"):
        import timm

        vit = timm.create_model("vit_base_patch16_224", num_classes=len(one.state.model.labels)).to(device)
        found["timm"] = (_stepper(vit, lambda: F.cross_entropy(vit(pictures), classes), one), count * each)
    if shape.peer == "GPT2LMHeadModel":
        gpt: Any = Bare(config.vocab_size, length, config.width, config.depth, config.heads).to(device)
        run = torch.compile(gpt) if compiled else gpt
        found["nanoGPT-like"] = (_stepper(gpt, lambda: run(words, words), one), count * each)
    return found


def _stepper(model: nn.Module, loss: Callable[[], Tensor], one: Subject) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step() -> None:
        with one.compute.autocast():
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class Bare(nn.Module):
    """GPT-2 in as few lines as nanoGPT has it: learned positions, pre-norm, tied words, no biases in linear layers.

    Args:
        words, length, width, depth, heads: its sizes.
    """

    def __init__(self, words: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(BareLayer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for table_ in (self.words, self.places):
            nn.init.normal_(table_.weight, std=0.02)

    def forward(self, words: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of word ids `[N, length]` against others."""
        x = self.words(words) + self.places(torch.arange(words.shape[1], device=words.device))
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.words.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class BareLayer(nn.Module):
    """One layer of `Bare`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, length, width]` -> the same."""
        parts = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        output: Tensor = x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))
        return output


if __name__ == "__main__":
    main()
