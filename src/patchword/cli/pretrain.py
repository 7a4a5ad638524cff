"""`patchword pretrain`: stage 1."""

from __future__ import annotations

from typing import Annotated

import typer

from patchword.cli import options as o
from patchword.cli.learn import learn


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("pretrain")(pretrain)


def pretrain(
    data: Annotated[list[str], typer.Argument(help="Files, folders or patterns: text or images.")],
    out: o.Out,
    model: Annotated[
        str | None, typer.Option(help="A preset, e.g. bert-mini (see `patchword presets`), or auto.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="A model to go on from: a folder, or a hub name.")] = None,
    task: o.Task = None,
    minutes: o.Minutes = None,
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    where: o.Where = None,
    lines: o.Lines = False,
    validation: o.Validation = None,
    tokenizer: o.Tokenizer = None,
    vocab_size: o.VocabSize = None,
    extend_vocab: o.ExtendVocab = None,
    max_length: o.MaxLength = None,
    whole_word: o.WholeWord = False,
    mask_share: o.MaskShare = None,
    z_loss: o.ZLoss = None,
    image_size: o.ImageSize = None,
    patch_size: o.PatchSize = None,
    augment: o.Augment = None,
    label_smoothing: o.LabelSmoothing = None,
    optimizer: o.Optimizer = None,
    lr: o.Lr = None,
    matrix_lr: o.MatrixLr = None,
    schedule: o.Schedule = None,
    warmup: o.Warmup = None,
    weight_decay: o.WeightDecay = None,
    batch_tokens: o.BatchTokens = None,
    batch_size: o.BatchSize = None,
    batch_ramp: o.BatchRamp = None,
    length_ramp: o.LengthRamp = None,
    micro_tokens: o.MicroTokens = None,
    memory: o.Memory = None,
    dropout: o.Dropout = None,
    tune: o.Tune = None,
    layer_decay: o.LayerDecay = None,
    average: o.Average = None,
    ema: o.Ema = None,
    blend: o.Blend = None,
    evaluations: o.Evaluations = None,
    keep: o.Keep = None,
    patience: o.Patience = None,
    precision: o.Precision = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn from lots of data without labels: from random weights (--model), or on from a model (--from).

    [dim]patchword pretrain notes/ --model bert-mini --minutes 10 --out runs/base[/dim]
    """
    settings = dict(locals())
    learn("pretrain", settings)
