"""`patchword finetune`: stage 2."""

from __future__ import annotations

from typing import Annotated

import typer

from patchword.cli import options as o
from patchword.cli.learn import learn


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("finetune")(finetune)


def finetune(
    start: Annotated[str, typer.Argument(help="A model folder of patchword or transformers, or a hub name.")],
    data: Annotated[list[str], typer.Argument(help="Labelled data: tables, or images in a folder for each class.")],
    out: o.Out,
    task: o.Task = None,
    minutes: o.Minutes = None,
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    pair_column: o.PairColumn = None,
    where: o.Where = None,
    problem: o.Problem = None,
    windows: o.Windows = None,
    doc_stride: o.DocStride = None,
    class_weights: o.ClassWeights = None,
    contrast: o.Contrast = None,
    prefix: o.Prefix = None,
    prompt: o.Prompt = None,
    max_target_length: o.MaxTargetLength = None,
    validation: o.Validation = None,
    test: o.Test = None,
    max_length: o.MaxLength = None,
    image_size: o.ImageSize = None,
    augment: o.Augment = None,
    label_smoothing: o.LabelSmoothing = None,
    optimizer: o.Optimizer = None,
    lr: o.Lr = None,
    schedule: o.Schedule = None,
    warmup: o.Warmup = None,
    weight_decay: o.WeightDecay = None,
    batch_tokens: o.BatchTokens = None,
    batch_size: o.BatchSize = None,
    micro_tokens: o.MicroTokens = None,
    memory: o.Memory = None,
    dropout: o.Dropout = None,
    tune: o.Tune = None,
    head_lr: o.HeadLr = None,
    layer_decay: o.LayerDecay = None,
    unfreeze: o.Unfreeze = None,
    lora_rank: o.LoraRank = None,
    lora_alpha: o.LoraAlpha = None,
    lora_dropout: o.LoraDropout = None,
    lora_targets: o.LoraTargets = None,
    average: o.Average = None,
    ema: o.Ema = None,
    blend: o.Blend = None,
    evaluations: o.Evaluations = None,
    keep: o.Keep = None,
    patience: o.Patience = None,
    precision: o.Precision = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    seeds: o.Seeds = None,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn a task from few labels, beginning with pretrained weights.

    [dim]patchword finetune runs/base tickets.csv --out runs/tickets[/dim]
    """
    settings = dict(locals())
    learn("finetune", settings)
