"""One training run of transformers' Trainer, in a process of its own.

Masked language modelling as their example `run_mlm.py` does it: `line_by_line` (a text a row, padded to the longest of
its batch), or grouped (all texts end to end, cut into full blocks). Next words as `run_clm.py` does, in blocks.
Labelled texts as `run_classification.py` does: padded to the greatest length; or grouped by length and padded to the
longest of a batch. Images: ViTForImageClassification over pixels that lie ready in memory as floats, so that the peer
pays nothing for reading them.
"""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.race import hand_back
from benchmarks.stop_watch import StopWatch

_BLOCK_TEXTS = 1000  # run_mlm.py groups texts in batches of so many


def run(
    kind: str,
    config: dict[str, Any],
    folder: str,
    batch: int,
    warm_up: int,
    least: int,
    seconds: float,
    grouped: bool = False,
    bf16: bool = False,
    max_length: int = 128,
    **inputs: str,
) -> dict[str, Any]:
    """Train; after `warm_up` steps time `least` steps, or as many as begin within `seconds`.

    Args:
        kind: "mlm", "clm", "texts" or "images".
        config: of the model; for "texts" what is another than in `start`.
        folder: for caches and output.
        batch: rows a step.
        grouped: full blocks instead of padded lines; columns that the collator can use are kept. "texts": by length.
        inputs: `corpus` and `tokenizer`; `start` and `labelled`; or `images`, how many, and `side`, their pixels.

    Returns:
        tokens_per_second (without padding) or images_per_second, steps (timed ones), memory (bytes at most),
        first_step (seconds since the process began), precision.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    model: Any
    if kind == "images":
        model, data, collator = _images(config, **inputs)
    elif kind == "texts":
        model, data, collator = _labelled_texts(config, Path(folder), grouped, max_length, **inputs)
    else:
        model, data, collator = _language_model(kind, config, Path(folder), grouped, max_length, **inputs)
    counted: list[int] = []

    def count(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        pixels = kwargs.get("pixel_values")
        counted.append(int(kwargs["attention_mask"].sum()) if pixels is None else len(pixels))

    model.register_forward_pre_hook(count, with_kwargs=True)
    watch = StopWatch(warm_up, least, seconds)

    class Watch(TrainerCallback):
        """Stops the training when there are enough steps."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = watch.step(counted[state.global_step - 1])

    arguments = TrainingArguments(
        output_dir=str(Path(folder) / "output"),
        per_device_train_batch_size=batch,
        max_steps=100_000,
        use_cpu=not torch.cuda.is_available(),
        bf16=bf16,
        remove_unused_columns=kind in ("mlm", "texts") and not grouped,
        train_sampling_strategy="group_by_length" if kind == "texts" and grouped else "random",
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator, callbacks=[Watch()])
    trainer.train()
    return watch.figures("images" if kind == "images" else "tokens") | {"precision": "bf16" if bf16 else "fp32"}


def _language_model(
    kind: str, config: dict[str, Any], folder: Path, grouped: bool, max_length: int, corpus: str, tokenizer: str
) -> tuple[Any, Any, Any]:
    from datasets import load_dataset
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        GPT2Config,
        GPT2LMHeadModel,
        default_data_collator,
    )

    reader = AutoTokenizer.from_pretrained(tokenizer)
    texts = load_dataset("text", data_files={"train": corpus}, split="train", cache_dir=str(folder / "datasets"))

    def lines(rows: dict[str, list[str]]) -> Any:
        kept = [text for text in rows["text"] if text and not text.isspace()]
        return reader(kept, padding=False, truncation=True, max_length=max_length, return_special_tokens_mask=True)

    def whole(rows: dict[str, list[str]]) -> Any:
        return reader(rows["text"], return_special_tokens_mask=True)

    def group(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        ends = {name: list(chain.from_iterable(values)) for name, values in rows.items()}
        total = len(next(iter(ends.values()))) // max_length * max_length
        return {name: [v[i : i + max_length] for i in range(0, total, max_length)] for name, v in ends.items()}

    if grouped:
        data = _mapped(_mapped(texts, whole, folder / f"{kind}-whole"), group, folder / f"{kind}-grouped")
    else:
        data = _mapped(texts, lines, folder / f"{kind}-lines")
    if kind == "mlm":
        model = BertForMaskedLM(BertConfig(**config))
        return model, data, DataCollatorForLanguageModeling(tokenizer=reader, mlm_probability=0.15)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        ids = default_data_collator([{"input_ids": row["input_ids"]} for row in rows])["input_ids"]
        return {"input_ids": ids, "attention_mask": ids.new_ones(ids.shape), "labels": ids}

    return GPT2LMHeadModel(GPT2Config(**config)), data, collate


def _labelled_texts(
    config: dict[str, Any], folder: Path, grouped: bool, max_length: int, start: str, labelled: str
) -> tuple[Any, Any, Any]:
    from datasets import load_dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        default_data_collator,
    )

    reader = AutoTokenizer.from_pretrained(start)
    texts = load_dataset("json", data_files={"train": labelled}, split="train", cache_dir=str(folder / "datasets"))
    numbers = {name: number for number, name in enumerate(sorted(set(texts["label"])))}

    def encode(rows: dict[str, list[str]]) -> Any:
        padding = False if grouped else "max_length"
        found = reader(rows["text"], padding=padding, truncation=True, max_length=max_length)
        return {**found, "labels": [numbers[label] for label in rows["label"]]}

    data = _mapped(texts, encode, folder / ("by-length" if grouped else "padded"))
    model = AutoModelForSequenceClassification.from_pretrained(start, **config)
    return model, data, DataCollatorWithPadding(reader) if grouped else default_data_collator


def _mapped(data: Any, function: Any, cached: Path) -> Any:
    """What the examples do with a data set. The cache is named: a second run finds it, whatever the function's hash."""
    return data.map(
        function,
        batched=True,
        batch_size=_BLOCK_TEXTS,
        remove_columns=data.column_names,
        cache_file_name=f"{cached}.arrow",
    )


def _images(config: dict[str, Any], images: str, side: str) -> tuple[Any, Any, Any]:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    pixels = torch.randn(int(images), 3, int(side), int(side))
    rows = [{"pixel_values": picture, "labels": i % config["num_labels"]} for i, picture in enumerate(pixels)]

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:  # as run_image_classification.py does
        return {
            "pixel_values": torch.stack([row["pixel_values"] for row in batch]),
            "labels": torch.tensor([row["labels"] for row in batch]),
        }

    return ViTForImageClassification(ViTConfig(**config)), rows, collate


if __name__ == "__main__":
    hand_back(run(**json.loads(sys.argv[1])))
