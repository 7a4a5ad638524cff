"""A model as an ONNX file, for programs that serve models: written, and checked against the model itself."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchword.data.atomic import naming
from patchword.data.files import Data
from patchword.errors import UserError
from patchword.models.config import ImageConfig, TextConfig
from patchword.models.family import Model
from patchword.tasks.in_file import InFile, answer, random_inputs
from patchword.tasks.padded import HIDDEN, Padded
from patchword.tasks.predictor import Predictor, load

OPSET = 20
"""Of the file: the oldest in which GELU is one step (onnxruntime 1.17 and later know it)."""
TOLERANCE = 1e-4
"""What a file may differ from the model, in the largest number that the model gives (1 where all are smaller).

fp32 sums in another order differ by 1e-6 to 1e-5 of it; a wrong mask, position or weight by 1e-2 and more.
"""
_ONE_FILE = 2_000_000_000
"""Bytes of weights up to which all is in one file: a message of protobuf ends at 2 GiB."""
_NEEDS = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to the model.

    Attributes:
        path: of the file.
        inputs, outputs: their names.
        bytes: of the file, and of the one beside it that holds the weights of a model of over 2 GB.
        difference: from the model on random inputs of random lengths, the largest.
        mean_difference: the same, on average.
        largest: number that the model gave for them.
        agreement: share of them that get the same class; None where none is chosen.
        metrics: of the file on labelled data; empty where none were given.
        model_metrics: the same of the model.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bytes: int
    difference: float
    mean_difference: float
    largest: float
    agreement: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    model_metrics: dict[str, float] = field(default_factory=dict)


def export(
    folder: str | Path,
    onnx: str | Path,
    *,
    int8: bool = False,
    features: bool = False,
    data: Data | None = None,
    overwrite: bool = False,
    **columns: Any,
) -> Exported:
    """Write a model as an ONNX file, run it with onnxruntime, and compare it with the model.

    The inputs are `input_ids` and `attention_mask` (and `token_type_ids` where the model tells texts of a pair apart),
    `[batch_size, sequence_length]`, or `pixel_values` `[batch_size, channels, height, width]`; the outputs `logits`,
    `start_logits` and `end_logits`, or `last_hidden_state`. Nothing else is written: in the model's folder the file
    lies beside the tokenizer and the config that go with it.

    Args:
        folder: as for `load`.
        onnx: the file to write, which ends in .onnx.
        int8: weights of linear layers in 8 bits, and what they are multiplied with rounded to 8 bits as it comes.
        features: one vector for each token (patch, place), not what the model has learnt to say.
        data: labelled data on which the model and the file are evaluated.
        overwrite: replace a file that is there.
        columns: as for `Predictor.evaluate`.

    Raises:
        UserError: onnxruntime is not installed; the model has learnt no task, or one that is not exported; the file is
            there or can not be written; it is further from the model than fp32 explains.
    """
    if data is None and (given := [name for name, value in columns.items() if value is not None]):
        raise UserError(f"{', '.join(given)}: only for --data. Leave it out.")
    path = Path(onnx)
    _check_path(path, overwrite)
    _check_installed()
    predictor = load(folder, "cpu")
    model = predictor.model
    outputs = HIDDEN if features else _outputs(predictor)
    if features and data is not None:
        raise UserError("Vectors can not be evaluated on labelled data. Leave out --data or --features.")
    padded = Padded(model, outputs)
    try:
        place = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(f"{path} can not be written: {error.strerror}.") from error
    with naming(path), place as name, torch.inference_mode():
        whole, small = Path(name, "whole"), Path(name, "int8")
        whole.mkdir()
        small.mkdir()
        _trace(padded, predictor, whole / path.name)
        stand_in = InFile(whole / path.name, padded, model)
        shapes = {one.name: one.shape for one in stand_in.session.get_inputs()}
        if any(shapes[name][place] != axis for name, of in padded.inputs.items() for place, axis in of.items()):
            raise _no_graph(predictor)
        found = _compare(stand_in, padded, model)
        if not found["difference"] <= TOLERANCE * max(1.0, found["largest"]):
            raise UserError(
                f"{path} was not written: on random inputs it differs from the model by {found['difference']:.2g}, "
                f"where numbers are as large as {found['largest']:.2g}. That is a fault of patchword; please report it."
            )
        if int8:
            _quantise(whole / path.name, small / path.name)
            stand_in = InFile(small / path.name, padded, model)
            found = _compare(stand_in, padded, model)
        model_metrics: dict[str, float] = {}
        metrics: dict[str, float] = {}
        if data is not None:
            other = Predictor(
                predictor.folder, stand_in, predictor.reader, predictor.max_length, predictor.compute, predictor.card
            )
            model_metrics = predictor.evaluate(data, **columns)
            metrics = other.evaluate(data, **columns)
        files = sorted((small if int8 else whole).iterdir())
        size = sum(file.stat().st_size for file in files)
        for file in reversed(files):  # weights that lie beside it before the file that asks for them
            os.replace(file, path.parent / file.name)
    return Exported(path, tuple(padded.inputs), outputs, size, **found, metrics=metrics, model_metrics=model_metrics)


def _check_path(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path}: the file must end in .onnx.")
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file that ends in .onnx.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already. --overwrite (overwrite=True) replaces it.")
    if not path.parent.is_dir():
        raise UserError(f"{path} can not be written: there is no folder {path.parent}.")


def _check_installed() -> None:
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"An export needs {', '.join(missing)}: pip install 'patchword[export]'.")


def _outputs(predictor: Predictor) -> tuple[str, ...]:
    task = predictor.task
    if not task.outputs:
        raise UserError(
            f"{predictor.folder} has learnt {task.name.replace('_', '-')}, which is not exported. What is: classes of "
            "texts, pairs, tokens and images, answers to questions; and with --features (features=True) the vectors of "
            "most models."
        )
    return task.outputs


def _trace(padded: Padded, predictor: Predictor, path: Path) -> None:
    """Write the graph, whose batch and length are open."""
    config = predictor.model.config
    if isinstance(config, ImageConfig):
        example: tuple[Tensor, ...] = (torch.randn(2, config.channels, *config.image_size),)
    else:
        assert isinstance(config, TextConfig)
        ids = torch.zeros(2, min(7, config.max_length), dtype=torch.long)
        example = (ids, torch.ones_like(ids), torch.zeros_like(ids))[: len(padded.inputs)]
    limits = {"batch_size": None, "sequence_length": getattr(config, "max_length", None)}
    axes = {name: torch.export.Dim(name, min=1, max=most) for name, most in limits.items()}
    shapes = tuple({place: axes[name] for place, name in of.items()} for of in padded.inputs.values())
    try:
        with _silence():
            program = torch.onnx.export(
                padded,
                example,
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(padded.inputs),
                output_names=list(padded.outputs),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _no_graph(predictor) from error
    assert program is not None
    if predictor.labels:
        program.model.metadata_props["id2label"] = json.dumps(dict(enumerate(predictor.labels)), ensure_ascii=False)
    size = sum(parameter.nbytes for parameter in padded.parameters())
    program.save(path, external_data=size > _ONE_FILE)


def _no_graph(predictor: Predictor) -> UserError:
    return UserError(
        f"{predictor.model.family.model_type} models can not be exported: what they compute depends on their input in "
        "a way that has no graph for batches of any size and length."
    )


def _quantise(whole: Path, small: Path) -> None:
    """Linear layers only: a scale for each row of weights; what they are multiplied with is rounded as it comes."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _silence():
        quantize_dynamic(
            whole,
            small,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,  # 7 bits: without it sums of two products overflow on processors without VNNI
            weight_type=QuantType.QInt8,
            use_external_data_format=whole.with_name(f"{whole.name}.data").exists(),
        )


def _compare(stand_in: InFile, padded: Padded, model: Model) -> dict[str, Any]:
    """On random inputs of random lengths, alone and padded to the longest of a batch."""
    pairs = [(stand_in(read), answer(model, padded, read)) for read in random_inputs(model)]
    ours, theirs = (torch.cat(part) for part in zip(*pairs, strict=True))
    apart = (ours - theirs).abs()
    chooses = padded.outputs == ("logits",) and ours.shape[-1] > 1 and model.problem != "multi_label_classification"
    return {
        "difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "largest": float(theirs.abs().max()),
        "agreement": float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()) if chooses else None,
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What other libraries print and log of their own steps: a graph of hundreds of lines where one can not be made."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
