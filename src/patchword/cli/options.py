"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_DATA, _MODEL, _LEARN, _RUN = "The data", "The model", "How it learns", "The run"

TextColumn = Annotated[str | None, typer.Option(help="Column of texts. Found out if not given.", rich_help_panel=_DATA)]
ImageColumn = Annotated[
    str | None,
    typer.Option(help="Column of image paths or bytes. Found out if not given.", rich_help_panel=_DATA),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="Column of labels (of a CoNLL file its number). Found out if not given.", rich_help_panel=_DATA),
]
PairColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of a second text, where an example is two. Found out if not given.", rich_help_panel=_DATA
    ),
]
Where = Annotated[str | None, typer.Option(help="Only rows with COLUMN=VALUE.", rich_help_panel=_DATA)]
Lines = Annotated[
    bool, typer.Option("--lines", help="Each line of a .txt is a document of its own.", rich_help_panel=_DATA)
]
Validation = Annotated[
    list[str] | None,
    typer.Option(help="Data to validate on. A part of the data is held back if not given.", rich_help_panel=_DATA),
]
Test = Annotated[
    list[str] | None,
    typer.Option(help="Data to test on, looked at once, when all is chosen.", rich_help_panel=_DATA),
]

Task = Annotated[str | None, typer.Option(help="What to learn. Found out if not given.", rich_help_panel=_MODEL)]
Prefix = Annotated[
    str | None,
    typer.Option(
        help="Text put before every document to be summarized. The start's own if not given.", rich_help_panel=_DATA
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(help="Text between a document and its summary, for GPT-2 and the like.", rich_help_panel=_DATA),
]
MaxTargetLength = Annotated[
    int | None,
    typer.Option(help="Tokens of a summary at most. Found out if not given.", rich_help_panel=_DATA),
]
Problem = Annotated[
    str | None,
    typer.Option(
        help="single_label_classification, multi_label_classification or regression. Found out if not given.",
        rich_help_panel=_DATA,
    ),
]
Windows = Annotated[
    str | None,
    typer.Option(
        help="Read a long text in several windows: always, never, or auto (where over 5 % would be cut off).",
        rich_help_panel=_MODEL,
    ),
]
DocStride = Annotated[
    int | None,
    typer.Option(
        help="Question answering: tokens from one window of a long context to the next. 128 if not given.",
        rich_help_panel=_MODEL,
    ),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(help="none, or auto: rare classes count more, so that all count alike.", rich_help_panel=_LEARN),
]
Contrast = Annotated[
    float | None,
    typer.Option(
        help="Share of the loss that draws rows of one class together, 0 to under 1. Texts under 1,000 rows: 0.5.",
        rich_help_panel=_LEARN,
    ),
]
Tokenizer = Annotated[Path | None, typer.Option(help="A folder to take the tokenizer from.", rich_help_panel=_MODEL)]
VocabSize = Annotated[
    int | None,
    typer.Option(help="Word pieces to learn. Chosen by the text's size if not given.", rich_help_panel=_MODEL),
]
ExtendVocab = Annotated[
    int | None,
    typer.Option(help="Words of the data to add to the vocabulary of --from.", rich_help_panel=_MODEL),
]
MaxLength = Annotated[
    int | None, typer.Option(help="Tokens of a text at most (256 if not given).", rich_help_panel=_MODEL)
]
ImageSize = Annotated[int | None, typer.Option(help="Side of the pictures, in pixels.", rich_help_panel=_MODEL)]
PatchSize = Annotated[int | None, typer.Option(help="Side of a patch, in pixels.", rich_help_panel=_MODEL)]
Augment = Annotated[
    str | None,
    typer.Option(
        help="Change pictures while learning: none, light, standard, strong; mirrored too: standard+flip. Chosen by "
        "the data if not given.",
        rich_help_panel=_LEARN,
    ),
]
LabelSmoothing = Annotated[
    float | None, typer.Option(help="Share of a target that all classes get alike, e.g. 0.1.", rich_help_panel=_LEARN)
]
WholeWord = Annotated[
    bool, typer.Option("--whole-word", help="Mask whole words, not word pieces.", rich_help_panel=_MODEL)
]
MaskShare = Annotated[
    float | None,
    typer.Option(
        help="Share of a text to hide. Chosen by the model if not given: 0.15 or 0.3.", rich_help_panel=_LEARN
    ),
]
ZLoss = Annotated[
    float | None,
    typer.Option(
        help="Weight of the penalty on the size of a language model's scores, e.g. 1e-4.", rich_help_panel=_MODEL
    ),
]

Minutes = Annotated[
    float | None,
    typer.Option(
        help="Time budget of the whole command in minutes: data, baselines, all seeds, evaluation and report.",
        rich_help_panel=_LEARN,
    ),
]
Epochs = Annotated[float | None, typer.Option(help="Number of training epochs.", rich_help_panel=_LEARN)]
Steps = Annotated[int | None, typer.Option(help="Number of training steps.", rich_help_panel=_LEARN)]
Optimizer = Annotated[
    str | None,
    typer.Option(help="adamw, or muon: for the matrices of layers, and adamw for the rest.", rich_help_panel=_LEARN),
]
Lr = Annotated[float | None, typer.Option("--lr", help="Highest learning rate.", rich_help_panel=_LEARN)]
Schedule = Annotated[str | None, typer.Option(help="linear, cosine or wsd.", rich_help_panel=_LEARN)]
Warmup = Annotated[float | None, typer.Option(help="Share of the run in which the rate rises.", rich_help_panel=_LEARN)]
WeightDecay = Annotated[float | None, typer.Option(help="Weight decay.", rich_help_panel=_LEARN)]
BatchTokens = Annotated[int | None, typer.Option(help="Tokens in a batch at most.", rich_help_panel=_LEARN)]
BatchRamp = Annotated[
    float | None,
    typer.Option(help="Share of the run in which batches grow, from a quarter.", rich_help_panel=_LEARN),
]
LengthRamp = Annotated[
    float | None,
    typer.Option(help="Share of the run in which texts grow longer, from a quarter.", rich_help_panel=_LEARN),
]
BatchSize = Annotated[int | None, typer.Option(help="Examples in a batch at most.", rich_help_panel=_LEARN)]
MicroTokens = Annotated[
    int | None,
    typer.Option(
        help="Tokens computed at once: gradients are accumulated over the parts of a batch. Refused for batch norm "
        "(ResNet), where that changes the result.",
        rich_help_panel=_LEARN,
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        help="Gigabytes that learning may take; layers are computed twice where it would take more.",
        rich_help_panel=_LEARN,
    ),
]
Dropout = Annotated[
    float | None,
    typer.Option(help="Dropout while learning; fine-tuned texts: what the start has.", rich_help_panel=_LEARN),
]
Tune = Annotated[
    str | None,
    typer.Option(
        help="What learns: all, head, or lora or dora (a low-rank adapter in PEFT's format).", rich_help_panel=_LEARN
    ),
]
HeadLr = Annotated[
    float | None,
    typer.Option(help="A new head learns so many times faster than the rest.", rich_help_panel=_LEARN),
]
MatrixLr = Annotated[
    float | None,
    typer.Option(help="Matrices of layers learn so many times faster than the rest.", rich_help_panel=_LEARN),
]
LayerDecay = Annotated[
    float | None,
    typer.Option(help="Each layer learns so many times slower than the one above, e.g. 0.8.", rich_help_panel=_LEARN),
]
Unfreeze = Annotated[
    bool | None,
    typer.Option("--unfreeze", help="The head first, then a layer more from the top.", rich_help_panel=_LEARN),
]
LoraRank = Annotated[int | None, typer.Option(help="Rank of an adapter (8).", rich_help_panel=_LEARN)]
LoraAlpha = Annotated[
    float | None, typer.Option(help="An adapter's weight is this by its rank (16).", rich_help_panel=_LEARN)
]
LoraDropout = Annotated[float | None, typer.Option(help="Dropout before an adapter (0).", rich_help_panel=_LEARN)]
LoraTargets = Annotated[
    str | None, typer.Option(help="all linear layers, or those of attention.", rich_help_panel=_LEARN)
]
Keep = Annotated[
    str | None,
    typer.Option(help="Which weights: those of the best evaluation, or the last. [best|last]", rich_help_panel=_LEARN),
]
Patience = Annotated[
    int | None,
    typer.Option(help="Stop after so many evaluations without a better one.", rich_help_panel=_LEARN),
]
Average = Annotated[
    bool | None,
    typer.Option(
        "--average", help="Average the weights of evaluations while validation prefers it.", rich_help_panel=_LEARN
    ),
]
Ema = Annotated[
    float | None,
    typer.Option(
        help="Evaluate and keep the mean of the weights over about this share of the steps so far, e.g. 0.1.",
        rich_help_panel=_LEARN,
    ),
]
Blend = Annotated[
    float | None,
    typer.Option(
        help="Keep layers that lie so far on the way from the start's weights to those learnt, e.g. 0.5.",
        rich_help_panel=_LEARN,
    ),
]
Evaluations = Annotated[int | None, typer.Option(help="How often to validate in the run.", rich_help_panel=_LEARN)]

Out = Annotated[Path, typer.Option(help="Folder to write: a Hugging Face model folder.", rich_help_panel=_RUN)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another run in --out.", rich_help_panel=_RUN)]
Seed = Annotated[int, typer.Option(help="Of every random generator.", rich_help_panel=_RUN)]
Seeds = Annotated[
    int | None,
    typer.Option(
        help="Number of random seeds to train. Classification: folds of a cross-validation; the model that is kept "
        "is then trained on all rows. Other tasks, or with --validation or --keep best: the best on validation is "
        "kept. 5 under 2,000 labels (fewer if --minutes is short), 1 for more and for summaries.",
        rich_help_panel=_RUN,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_RUN)]
Precision = Annotated[
    str | None, typer.Option(help="auto (what the hardware runs fast), fp32 or bf16.", rich_help_panel=_RUN)
]
UsePrecision = Annotated[
    str, typer.Option(help="fp32, auto (what the hardware runs fast), bf16 or, on a CPU, int8.", rich_help_panel=_RUN)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing while it runs.", rich_help_panel=_RUN)]
