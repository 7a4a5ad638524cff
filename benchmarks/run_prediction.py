"""Both ways to predict, each checked against the other and timed in turns, in a process of its own."""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers
from PIL import Image

from benchmarks.prediction import OURS, OURS_BF16, OURS_INT8, PADDED, PADDED_INT8, THEIRS, THEIRS_BF16
from benchmarks.race import hand_back
from benchmarks.text import write_tokenizer
from patchword.data.atomic import write_json
from patchword.data.tables import rows
from patchword.models.family import Model, preset
from patchword.models.folder import write_model
from patchword.models.image_processors import read_image_processor
from patchword.tasks.export import export
from patchword.tasks.precision import choose_precision
from patchword.tasks.predictor import load

Chances = list[dict[str, float]]
Way = Callable[[], Chances]
_LABELS = tuple(f"class {i}" for i in range(9))


def text_folder(folder: Path) -> None:
    """MiniLM's shape, with the tokenizer of BERT."""
    family, config = preset("bert-base")
    config = config.model_copy(
        update={"width": 384, "depth": 6, "heads": 12, "hidden": 1536, "max_length": 256, "init_std": 0.1}
    )
    write_model(Model(family, config, "class", _LABELS), folder)
    write_tokenizer(folder, folder / "none")


def image_folder(folder: Path) -> None:
    """ViT-tiny, pictures of 224 x 224."""
    family, config = preset("vit-tiny-16")
    write_model(Model(family, config.model_copy(update={"init_std": 0.1}), "class", _LABELS), folder)
    write_json(folder / "preprocessor_config.json", read_image_processor(folder, family, config).to_dict())


def ours(folder: Path, inputs: list[Any], precision: str = "fp32") -> Way:
    """As `patchword predict` does."""
    model = load(folder, "cpu", precision)
    return lambda: [answer["probabilities"] for answer in model.predict(inputs)]


def theirs(folder: Path, inputs: list[Any], dtype: torch.dtype = torch.float32) -> Way:
    """`pipeline` with batches of 32."""
    if isinstance(inputs[0], str):
        texts = transformers.pipeline("text-classification", str(folder), device="cpu", dtype=dtype)

        def answer() -> Any:
            return texts(inputs, batch_size=32, top_k=None, truncation=True, max_length=256)

    else:
        images = transformers.pipeline("image-classification", str(folder), device="cpu", dtype=dtype)

        def answer() -> Any:
            return images(opened(inputs), batch_size=32, top_k=len(_LABELS))

    return lambda: [{found["label"]: found["score"] for found in row} for row in answer()]


def opened(pictures: list[bytes]) -> list[Image.Image]:
    """As RGB on white."""
    read = [Image.open(io.BytesIO(picture)).convert("RGBA") for picture in pictures]
    flat = [Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture) for picture in read]
    return [picture.convert("RGB") for picture in flat]


def padded(folder: Path, inputs: list[Any], int8: bool) -> Way:
    """onnxruntime over an exported file, batches of 32 padded to their longest text, as the pipeline's are."""
    path = folder / ("int8.onnx" if int8 else "fp32.onnx")
    export(folder, path, int8=int8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    if isinstance(inputs[0], str):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

        def read(batch: list[Any]) -> Any:
            return tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="np")

    else:
        processor = transformers.AutoImageProcessor.from_pretrained(folder)

        def read(batch: list[Any]) -> Any:
            return processor(opened(batch), return_tensors="np")

    def answer() -> Chances:
        found = []
        for first in range(0, len(inputs), 32):
            given = read(inputs[first : first + 32])
            (logits,) = session.run(None, {name: given[name] for name in names})
            found += torch.from_numpy(logits).softmax(1).tolist()
        return [dict(zip(_LABELS, row, strict=True)) for row in found]

    return answer


def run(path: Path, count: int, repeats: int) -> dict[str, list[float]]:
    """Rows a second, repeat by repeat."""
    torch.manual_seed(0)
    pictures = path.suffix == ".parquet"
    inputs = [cells["image" if pictures else "text"] for _, cells in itertools.islice(rows(path), count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (image_folder if pictures else text_folder)(folder)
        ways = {
            THEIRS: theirs(folder, inputs),
            PADDED: padded(folder, inputs, int8=False),
            OURS: ours(folder, inputs),
            PADDED_INT8: padded(folder, inputs, int8=True),
            OURS_INT8: ours(folder, inputs, "int8"),
        }
        if choose_precision("auto", torch.device("cpu"))[0] == "bf16":
            ways |= {OURS_BF16: ours(folder, inputs, "bf16"), THEIRS_BF16: theirs(folder, inputs, torch.bfloat16)}
    found = {who: np.array([[row[label] for label in _LABELS] for row in way()]) for who, way in ways.items()}
    for who in (PADDED, OURS):
        apart = np.abs(found[who] - found[THEIRS]).max()
        # One picture is resized in two ways, which may differ by a level.
        if apart > (0.05 if pictures else 1e-4):
            raise ValueError(f"{who} predicts other probabilities than {THEIRS}: by {apart:.2g}")
    taken: dict[str, list[float]] = {who: [] for who in ways}
    for _ in range(repeats):
        for who, way in ways.items():
            began = time.perf_counter()
            way()
            taken[who].append(len(inputs) / (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    file, how_many, times = sys.argv[1:]
    hand_back(run(Path(file), int(how_many), int(times)))
