"""Use of a model folder: predict, evaluate, and read its vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from patchword.data.files import Data
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.generation.settings import read_settings
from patchword.generation.write import write
from patchword.generation.writer import lay_out_for_writing, what_writes
from patchword.models.config import EncoderDecoderConfig, ImageConfig, TextConfig
from patchword.models.family import Model
from patchword.models.folder import describe, find_folder, read_json, read_model
from patchword.models.heads import VocabularyHead
from patchword.models.image_processors import read_image_processor
from patchword.models.trunks import Decoder, Generative
from patchword.nn.packing import Packed
from patchword.tasks.image_classification import ImageClassification
from patchword.tasks.task import Ask, Compute, Reader, Task, choose_device, task_of
from patchword.tasks.text_classification import TextClassification

Inputs = Sequence[str] | Sequence[Path | bytes]


_POOLS: dict[str, Callable[[Packed], torch.Tensor]] = {
    "mean": lambda hidden: torch.stack([sequence.mean(0) for sequence in hidden.sequences()]),
    "class": Packed.first,
    "last": Packed.last,
    "max": lambda hidden: torch.stack([sequence.amax(0) for sequence in hidden.sequences()]),
}


class Predictor:
    """A model with what turns raw input into what it reads.

    Args:
        folder: where it came from.
        model: in evaluation mode.
        reader: its tokenizer or image processor.
        max_length: tokens of a text at most, special ones included.
        compute: where.
        card: its `patchword.json`; empty where another program wrote the folder.
    """

    def __init__(
        self,
        folder: Path,
        model: Model,
        reader: Reader,
        max_length: int,
        compute: Compute,
        card: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.model = model.eval()
        self.reader = reader
        self.max_length = max_length
        self.compute = compute
        self.card = card

    @cached_property
    def task(self) -> Task:
        """What the model has learnt.

        Raises:
            UserError: it has learnt nothing.
        """
        return task_of(self.model, self.card.get("task")).restore(self.model, self.reader, self.card)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, where the model has classes."""
        return self.model.labels

    def predict(self, inputs: Inputs) -> list[dict[str, Any]]:
        """A prediction for each text, or for each picture (a path, or the bytes of a file).

        Returns:
            dicts; for a class `label`, `confidence` and `probabilities`, for several `labels` and `probabilities`,
            for a number `value`.

        Raises:
            UserError: the model has learnt no task, or a picture can not be read.
        """
        if isinstance(inputs, str | Path | bytes):
            raise UserError("Give a list of inputs, even for one: predict([...]).")
        task = self.task
        return task.predict(self.model, task.inputs(inputs, self.reader, self._ask()), self.compute) if inputs else []

    def evaluate(self, data: Data, **columns: Any) -> dict[str, float]:
        """Metrics on labelled data (on unlabelled text for a masked language model), with 95 % intervals.

        Args:
            data: a file, a folder, a pattern or a list of them.
            columns: `text_column`, `image_column`, `label_column`, `where`, `lines` where they are not to be found out.

        Raises:
            UserError: among others, a label that the model does not know, with file and row.
        """
        task = self.task
        return task.evaluate(self.model, task.labelled(self._ask(data, **columns), self.reader), self.compute)

    def features(self, inputs: Inputs, pool: str = "mean") -> np.ndarray:
        """One contextual vector for each input, `[n, width]`.

        Args:
            inputs: as for `predict`.
            pool: "mean" over an input's tokens, the "class" token (the first), the "last" one (which has seen all
                others where each sees the earlier ones), or "max".
        """
        if pool not in ("mean", "class", "last", "max"):
            raise UserError(f"There is no pooling '{pool}'; there are mean, class, last and max.")
        kind = TextClassification if isinstance(self.reader, Tokenizer) else ImageClassification
        examples = kind.inputs(inputs, self.reader, self._ask())
        out = np.empty((len(examples), self.model.config.width), np.float32)
        for ids, batch in self.compute.over(self.model, examples):
            vectors = _POOLS[pool](self.model.read(*batch.inputs))
            out[ids] = vectors.float().cpu().numpy()
        return out

    @property
    def goes_on(self) -> bool:
        """Whether what it writes is the rest of a prompt (a decoder), not an answer to it."""
        return isinstance(self.model.trunk, Decoder)

    def generate(
        self, prompts: Sequence[str], *, told: Callable[[str], None] | None = None, **settings: Any
    ) -> list[str]:
        """What the model writes after each prompt, or in answer to it.

        Args:
            prompts: texts.
            told: called with the text so far as tokens are written, where there is one prompt and one beam.
            settings: fields of `generation.settings.Generation`: `max_new_tokens`, `temperature`, `top_p`, `beams`, ...

        Raises:
            UserError: the model does not write, a setting is wrong, or a prompt is too long.
        """
        if isinstance(prompts, str):
            raise UserError("Give a list of prompts, even for one: generate([...]).")
        how = read_settings(settings)
        what_writes(self.model)
        assert isinstance(self.reader, Tokenizer)
        tell = None if told is None else lambda row, text: told(text)
        with torch.inference_mode():
            return write(self.model, self.reader, prompts, how, tell)

    def _ask(self, data: Data = "", **columns: Any) -> Ask:
        config = self.model.config
        tokens = config.tokens if isinstance(config, ImageConfig) else 0
        start = config.decoder_start_token_id if isinstance(config, EncoderDecoderConfig) else 0
        writes: Literal["answer", "rest"] = "answer" if isinstance(config, EncoderDecoderConfig) else "rest"
        return Ask(
            data=data, writes=writes, max_length=self.max_length, tokens_per_image=tokens, start_token=start, **columns
        )


def load(folder: str | Path, device: str = "auto") -> Predictor:
    """A model folder, ready for use.

    Args:
        folder: written by patchword or by `transformers`, or a name on the Hugging Face hub.
        device: where it runs; "auto" is a GPU where there is one.

    Raises:
        UserError: it can not be used as it is.
    """
    path = find_folder(folder)
    on = choose_device(device)
    card = read_json(path / "patchword.json") if (path / "patchword.json").is_file() else {}
    if card and "report" not in card:
        raise UserError(f"The run in {path} is not finished. Go on with it: `patchword resume {path}`.")
    description = describe(path)
    config = description.config
    reader: Reader
    changes: dict[str, Any] = {}
    if isinstance(config, TextConfig):
        reader = Tokenizer.load(path)
        if reader.vocab_size > config.vocab_size:
            raise UserError(
                f"{path}: the tokenizer has {reader.vocab_size:,} ids, but the model was built for "
                f"{config.vocab_size:,}. They do not belong together."
            )
        max_length = min(int(card.get("max_length") or config.max_length), config.max_length)
    else:
        assert isinstance(config, ImageConfig)
        reader = read_image_processor(path, description.family, config)
        changes["image_size"] = reader.size  # positions learnt for another size are resized
        max_length = config.tokens
    model = read_model(path, device=on, **changes).model
    if on.type == "cpu" and isinstance(model.head, VocabularyHead) and isinstance(model.trunk, Generative):
        lay_out_for_writing(model)
    return Predictor(path, model, reader, max_length, Compute(on), card)


def evaluate(folder: str | Path, data: Data, **columns: Any) -> dict[str, float]:
    """`load(folder).evaluate(data)`."""
    return load(folder).evaluate(data, **columns)
