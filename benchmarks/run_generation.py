"""Both ways to write, each checked against the other and timed in turns, in a process of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.generation import OURS, THEIRS
from benchmarks.race import hand_back
from patchword.generation.sampling import write_tokens
from patchword.generation.settings import Generation
from patchword.generation.writer import Writer, lay_out_for_writing
from patchword.models.family import Model, preset
from patchword.models.folder import read_model, write_model
from patchword.training.memory import keep_freed_memory

Way = Callable[[int], list[list[int]]]
"""New tokens -> what is written after each prompt."""


def ours(model: Model, prompts: list[list[int]]) -> Way:
    """As `patchword generate` does."""

    def way(new: int) -> list[list[int]]:
        with torch.inference_mode():
            return write_tokens(Writer(model, prompts, new), Generation(max_new_tokens=new), ())

    return way


def theirs(folder: Path, prompts: list[list[int]]) -> Way:
    """`generate` with its defaults, prompts padded on the left as it asks for."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])

    def way(new: int) -> list[list[int]]:
        config = transformers.GenerationConfig(
            max_new_tokens=new, do_sample=False, eos_token_id=None, bos_token_id=None, pad_token_id=0
        )
        with torch.inference_mode():
            written = model.generate(ids, attention_mask=mask, generation_config=config)
        tokens: list[list[int]] = written[:, longest:].tolist()
        return tokens

    return way


def run(shape: str, new: int, repeats: int, lengths: list[int]) -> dict[str, Any]:
    """Seconds until the first token, and for each one after it, repeat by repeat."""
    keep_freed_memory()
    torch.manual_seed(0)
    family, config = preset(shape)
    # Larger weights than a new model's, so that the best token is not a matter of the last bit.
    random = Model(family, config.model_copy(update={"init_std": 0.1}), "next_token")
    prompts = [torch.randint(config.vocab_size, (length,)).tolist() for length in lengths]
    with tempfile.TemporaryDirectory() as folder:
        write_model(random, Path(folder))
        model = read_model(Path(folder)).model.eval()
        lay_out_for_writing(model)
        ways = {OURS: ours(model, prompts), THEIRS: theirs(Path(folder), prompts)}
    written = [way(new) for way in ways.values()]
    if written[0] != written[1]:
        raise ValueError("they write other tokens")
    taken: dict[str, dict[str, list[float]]] = {part: {name: [] for name in ways} for part in ("prompts", "token")}
    for _ in range(repeats):
        for name, way in ways.items():
            first, whole = (_seconds(way, count) for count in (1, new))
            taken["prompts"][name].append(first)
            taken["token"][name].append((whole - first) / (new - 1))
    return taken


def _seconds(way: Way, new: int) -> float:
    began = time.perf_counter()
    way(new)
    return time.perf_counter() - began


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    which, count, times, sizes = sys.argv[1:]
    hand_back(run(which, int(count), int(times), [int(size) for size in sizes.split(",")]))
