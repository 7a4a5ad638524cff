"""Training beside the Trainer of transformers: stage 1 of texts and pictures, and stage 2 of short texts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.beside_trainer import Shape, Steps, race
from benchmarks.race import Bench
from benchmarks.text import MAX_LENGTH
from patchword.demo.text import real_encoder
from patchword.explain.size import training_flops_per_token
from patchword.tasks.masked_lm import SHARE

_SIDE, _PATCH_TOKENS, _CLASSES = 224, 197, 4
_ONE = Steps(1, 1, 0.0)
_FEW = Steps(1, 3, 5.0)
_NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
_LABELLED = "sentiment-train.jsonl"
_SENTENCE = 32
"""About its tokens: attention is a hundredth of the FLOPs there."""


def main(bench: Bench) -> None:
    """Race over each shape; `--quick`: without those that are another one once more."""
    bench.report("## Training: patchword beside transformers' Trainer\n")
    read = bench.child("text", bench.folder, 3000 if bench.quick else 0)
    bench.report(
        f"Text: {read['text']}, at most {MAX_LENGTH} tokens a sequence, {read['tokens']:.0f} on average; vocabularies: "
        f"{read['vocabulary']}, 30,522 word pieces, and {read['bytes_vocabulary']}, {read['bytes']:,} of bytes. The "
        "same model on both sides (no dropout, if not said), AdamW, clipping at 1. Tokens are counted without padding, "
        "those that frame a text with. Every run is a process of its own, in turns; figures are medians (least-most). "
        "*Of a matrix product*: model FLOPs a second (`patchword explain`) by those of a product of 1024 x 1024 in the "
        "same type and round. *First step*: from the start of the process to the end of the first optimizer step, with "
        "what an earlier run has tokenised. *Default*: 8 rows a batch, fp32, lines padded to the longest of them (as "
        "`run_mlm.py --line_by_line`) or in full blocks (as `run_clm.py`). *Tuned*: full blocks and as large a batch "
        "as patchword's, the faster of fp32 and bf16, no columns dropped that the collator can use. No Trainer logs "
        "or saves; patchword writes its metrics and TensorBoard at every step. Pictures lie ready in memory: as floats "
        "for the Trainer, as bytes that are normalised batch by batch for patchword.\n"
    )
    _pictures(bench.folder / "images", 32 if bench.quick else 128)
    for shape in _shapes(bench, read):
        # Where auto is fp32, a second contender in fp32 would be the first one again.
        race(bench, replace(shape, both=shape.both and not bench.quick and read["precision"] != "fp32"))


def _shapes(bench: Bench, read: Mapping[str, Any]) -> Iterator[Shape]:
    """What is raced over, given what `benchmarks.text` handed back."""
    folder, quick = bench.folder, bench.quick
    yield _bert(folder, "bert-mini", 256, 4, 1024 if quick else 8192, read["tokens"], quick)
    if not quick:
        yield _bert(folder, "bert-base", 768, 12, 1024, read["tokens"], quick)
        yield _gpt2(folder, read["bytes"], read["tokens"])
    yield _vit(folder, 8 if quick else 32, quick)
    start, labelled = real_encoder(), Path(os.environ.get("PATCHWORD_DATA", ".")) / _LABELLED
    if start and labelled.is_file():
        yield _few_labels(folder, start, labelled, quick)
    else:
        bench.report(f"Fine-tuning is left out: it takes the extra `demo`, and PATCHWORD_DATA with {_LABELLED}.\n")


def _text(folder: Path, task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What patchword and the Trainer are told of the text."""
    tokenizer = str(folder / ("tokenizer" if task == "masked-lm" else "bytes-tokenizer"))
    corpus = str(folder / "corpus.txt")
    ours = {"data": corpus, "tokenizer": tokenizer, "lines": True, "max_length": MAX_LENGTH, "task": task}
    peer = {"max_length": MAX_LENGTH, "corpus": corpus, "tokenizer": tokenizer, "folder": str(folder)}
    return ours | _NO_DROPOUT, peer


def _bert(folder: Path, name: str, width: int, depth: int, tokens: int, length: float, quick: bool) -> Shape:
    config = {
        "vocab_size": 30522,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    ours, peer = _text(folder, "masked-lm")
    small = name == "bert-mini"
    return Shape(
        f"Masked language model, {name} ({depth} layers of {width}), {tokens:,} tokens a batch",
        "tokens",
        ours | {"model": name, "batch_tokens": tokens},
        peer | {"kind": "mlm", "config": config},
        {"grouped": True, "batch": tokens // MAX_LENGTH},
        _ONE if quick else Steps(2, 3, 5.0) if small else _FEW,
        _ONE if quick else Steps(5, 3, 5.0) if small else _FEW,
        _ONE if quick else _FEW,
        training_flops_per_token(name, length=round(length), targets=SHARE),
        cold=small,
    )


def _gpt2(folder: Path, vocabulary: int, length: float) -> Shape:
    """Both of the Trainer's runs read full blocks, as `run_clm.py` does."""
    ours, peer = _text(folder, "causal-lm")
    drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return Shape(
        "Next words, GPT-2 (12 layers of 768), 1,024 tokens a batch",
        "tokens",
        ours | {"model": "gpt2", "batch_tokens": 1024},
        peer | {"kind": "clm", "config": {"vocab_size": vocabulary, **drops}, "grouped": True},
        {"batch": 1024 // MAX_LENGTH},
        _FEW,
        _FEW,
        _FEW,
        training_flops_per_token("gpt2", length=round(length)),
        both=False,
    )


def _vit(folder: Path, batch: int, quick: bool) -> Shape:
    config = {
        "hidden_size": 192,
        "num_hidden_layers": 12,
        "num_attention_heads": 3,
        "intermediate_size": 768,
        "image_size": _SIDE,
        "patch_size": 16,
        "num_labels": _CLASSES,
    }
    ours = {
        "data": str(folder / "images" / "train"),
        "validation": str(folder / "images" / "validation"),
        "model": "vit-tiny-16",
        "task": "image-classification",
        "image_size": _SIDE,
        "batch_size": batch,
    }
    images = {"images": str(batch * 2), "side": str(_SIDE), "folder": str(folder)}
    return Shape(
        f"Image classification, vit-tiny-16 at {_SIDE} x {_SIDE} (12 layers of 192), {batch} images a batch",
        "images",
        ours | _NO_DROPOUT,
        {"kind": "images", "config": config, **images},
        {"batch": batch},
        _ONE if quick else _FEW,
        _ONE if quick else Steps(2, 3, 5.0),
        _ONE if quick else _FEW,
        _PATCH_TOKENS * training_flops_per_token("vit-tiny-16"),
        image_tokens=_PATCH_TOKENS,
        both=False,
    )


def _few_labels(folder: Path, start: Path, labelled: Path, quick: bool) -> Shape:
    """Sentences of reviews: the Trainer's default pads each to 128 tokens, as `run_classification.py` does."""
    many = _ONE if quick else Steps(5, 10, 5.0)
    ours = {"start": str(start), "data": str(labelled), "task": "text-classification", "max_length": MAX_LENGTH}
    peer = {"kind": "texts", "config": {"num_labels": 2}, "max_length": MAX_LENGTH}
    return Shape(
        "Fine-tuning, sentences of reviews, all-MiniLM-L6-v2 (6 layers of 384), dropout 0.1, 16 rows a batch",
        "tokens",
        ours | {"seeds": 1},
        peer | {"start": str(start), "labelled": str(labelled), "folder": str(folder)},
        {"batch": 16, "grouped": True},
        many,
        many,
        many,
        training_flops_per_token(start, way_out="class", length=_SENTENCE),
        stage="finetune",
        both=False,
    )


def _pictures(folder: Path, count: int) -> None:
    """Noise as PNG files in folders of classes, to train and to validate on."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for part, number in (("train", count), ("validation", 2 * _CLASSES)):
        for i in range(number):
            place = folder / part / f"class-{i % _CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png", compress_level=0)
