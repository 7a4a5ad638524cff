"""One training run of transformers' Trainer, in a process of its own.

Masked language modelling as their example `run_mlm.py` does it: `line_by_line` (a text a row, padded to the longest of
its batch), or grouped (all texts end to end, cut into full blocks). Images: ViTForImageClassification over pixels that
lie ready in memory as floats, so that the peer pays nothing for reading them.
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
        kind: "mlm" or "images".
        config: of the model.
        folder: for caches and output.
        batch: rows a step.
        grouped: full blocks instead of padded lines; columns that the collator can use are kept.
        inputs: `corpus` and `tokenizer`, files; or `images`, how many, and `side`, their pixels.

    Returns:
        tokens_per_second (without padding) or images_per_second, steps (timed ones), memory (bytes at most),
        first_step (seconds since the process began), precision.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    model: Any
    if kind == "mlm":
        model, data, collator = _masked_lm(config, Path(folder), grouped, max_length, **inputs)
    else:
        model, data, collator = _images(config, **inputs)
    counted: list[int] = []

    def count(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        counted.append(int(kwargs["attention_mask"].sum()) if kind == "mlm" else len(kwargs["pixel_values"]))

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
        remove_unused_columns=kind == "mlm" and not grouped,
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator, callbacks=[Watch()])
    trainer.train()
    return watch.figures("tokens" if kind == "mlm" else "images") | {"precision": "bf16" if bf16 else "fp32"}


def _masked_lm(
    config: dict[str, Any], folder: Path, grouped: bool, max_length: int, corpus: str, tokenizer: str
) -> tuple[Any, Any, Any]:
    from datasets import load_dataset
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

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

    def mapped(data: Any, function: Any, name: str) -> Any:
        # The cache file is named, so that a second run finds it whatever the function's hash is.
        columns = data.column_names
        return data.map(
            function,
            batched=True,
            batch_size=_BLOCK_TEXTS,
            remove_columns=columns,
            cache_file_name=str(folder / f"{name}.arrow"),
        )

    data = mapped(mapped(texts, whole, "whole"), group, "grouped") if grouped else mapped(texts, lines, "lines")
    model = BertForMaskedLM(BertConfig(**config))
    return model, data, DataCollatorForLanguageModeling(tokenizer=reader, mlm_probability=0.15)


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
