"""`python -m benchmarks.recipe`: what each part of a pretraining recipe is worth in a fixed time.

The same text, the same word pieces and the same held-out sequences for all. Of hidden words the same 15 % are asked
for, whatever share a contender hides while it learns; of next words all: the losses are of the very same words. A
budget is the time of learning with its ten evaluations, without the tokenising. Every result is kept in `--results` as
soon as it is there, and the same command goes on. `--task causal_lm` is about next words in place of hidden ones.

modern       patchword-mini (patchword-decoder-mini) with its recipe (`training/recipes/pretrain_*_modern.py`);
             "modern, ...": one part of it is another
plain        bert-mini (gpt2-mini) with its recipe (`training/recipes/pretrain.py`); "plain, ...": one part is another
Trainer      transformers' Trainer on a BERT (GPT-2) of the same sizes with what its arguments and the model's config
             default to: batches of 8, AdamW at 5e-5 that falls in a line, no decay, dropout 0.1; its steps are those
             that fit
Trainer, tuned  batches of 32 rows, 5e-4 with a tenth of warm-up, no dropout
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kept import Kept
from benchmarks.timed_trainer import train_for

WIDTH = 256
MASKED, CAUSAL = "masked_lm", "causal_lm"
_NOT_SAID = {"steps", "epochs", "minutes", "tune", "head_lr", "layer_decay", "unfreeze", "blend"}
"""Of a recipe: its time, and what is for models that have learnt already."""
_UNCHANGED: dict[str, Any] = {"ema": 1e-9}  # looks back on less than a step: the weights as they are


@dataclass(frozen=True)
class Setup:
    """What all contenders have in common.

    Args:
        task: "masked_lm" or "causal_lm".
        data, where: the text.
        tokenizer: folder.
        max_length: tokens of a sequence.
        seconds: of learning.
    """

    task: str
    data: str
    where: str | None
    tokenizer: str
    max_length: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """One contender with one seed."""

    method: str
    seed: int
    seconds: float
    loss: float
    steps: int
    tokens: int
    asked: int
    curve: Sequence[tuple[float, float]]
    """(seconds, held-out loss) at every evaluation."""

    @property
    def key(self) -> tuple[str, int, float]:
        """What it is a result of."""
        return self.method, self.seed, self.seconds


def contenders(task: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """A preset and what is said of its recipe, by name."""
    from patchword.training.recipes import default_recipe

    ours, theirs = ("patchword-mini", "bert-mini") if task == MASKED else ("patchword-decoder-mini", "gpt2-mini")
    modern = default_recipe("pretrain", task, WIDTH, 0, named="modern")
    plain = default_recipe("pretrain", task, WIDTH, 0)
    new, old = (recipe.model_dump(exclude=_NOT_SAID, exclude_none=True) for recipe in (modern, plain))
    ramps = {"batch ramp": {"batch_ramp": 0.1}, "length ramp": {"length_ramp": 0.2}}
    muon: dict[str, dict[str, Any]] = {"muon": {"optimizer": "muon", "matrix_lr": 3.0}}
    changed: dict[str, dict[str, Any]] = {
        **muon,
        **({"15 % hidden": {"mask_share": 0.15}} if task == MASKED else {}),
        "cosine": {"schedule": "cosine"},
        "no mean": _UNCHANGED,
        "batches / 2": {"batch_tokens": modern.batch_tokens // 2},
        "batches x 2": {"batch_tokens": modern.batch_tokens * 2},
        **ramps,
        "rate / 2": {"lr": modern.lr / 2},
        "rate x 2": {"lr": modern.lr * 2},
    }
    more: dict[str, dict[str, Any]] = {
        **muon,
        **({"30 % hidden": {"mask_share": 0.3}} if task == MASKED else {}),
        "wsd": {"schedule": "wsd"},
        "mean": {"ema": modern.ema},
        **ramps,
        "rate x 2": {"lr": plain.lr * 2},
        "rate x 4": {"lr": plain.lr * 4},
    }
    return {
        "modern": (ours, new),
        **{f"modern, {name}": (ours, new | change) for name, change in changed.items()},
        f"modern, {theirs}": (theirs, new),
        "plain": (theirs, old),
        **{f"plain, {name}": (theirs, old | change) for name, change in more.items()},
        f"plain, {ours}": (ours, old | _UNCHANGED),
    }


def patchword(setup: Setup, model: str, settings: Mapping[str, Any], method: str, seed: int, folder: Path) -> Result:
    """`pw.pretrain`."""
    import patchword as pw
    from patchword.training.tracking import read_metrics

    run = pw.pretrain(
        setup.data,
        model=model,
        out=folder / "run",
        tokenizer=setup.tokenizer,
        where=setup.where,
        max_length=setup.max_length,
        minutes=setup.seconds / 60,
        seed=seed,
        quiet=True,
        **settings,
    )
    lines = read_metrics(run.folder)
    seconds = {line["step"]: line["seconds"] for line in lines if line["kind"] == "train"}
    curve = [(seconds[line["step"]], line["loss"]) for line in lines if line["kind"] == "validation"]
    found = run.report["validation"]
    figures = run.report["steps"], run.report["tokens"], found["hidden_tokens"]
    return Result(method, seed, setup.seconds, found["loss"], *figures, curve)


def peer(task: str, vocab_size: int, dropout: float | None) -> Any:
    """A model of transformers with random weights.

    Args:
        task: what it is to learn.
        vocab_size: word pieces.
        dropout: everywhere; None: what its config defaults to.
    """
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    def said(*names: str) -> dict[str, Any]:
        return {} if dropout is None else dict.fromkeys(names, dropout)

    if task == MASKED:
        sizes: dict[str, Any] = {
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 4 * WIDTH,
        }
        drops = said("hidden_dropout_prob", "attention_probs_dropout_prob")
        return BertForMaskedLM(BertConfig(vocab_size=vocab_size, **sizes, **drops))
    drops = said("resid_pdrop", "embd_pdrop", "attn_pdrop")
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, n_embd=WIDTH, n_layer=4, n_head=4, **drops))


def trainer(setup: Setup, method: str, seed: int, folder: Path) -> Result:
    """transformers' Trainer on the sequences that patchword learns from, judged on those that it is judged on."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoTokenizer, DataCollatorForLanguageModeling

    from patchword.data.loader import Batch, in_order
    from patchword.data.tokenizers import Tokenizer
    from patchword.tasks.causal_lm import CausalExamples, CausalLM
    from patchword.tasks.masked_lm import MaskedExamples, MaskedLM
    from patchword.tasks.task import Ask

    tokenizer = Tokenizer.load(Path(setup.tokenizer))
    ask = Ask(setup.data, where=setup.where, max_length=setup.max_length)
    task = MaskedLM if setup.task == MASKED else CausalLM
    data = task.prepare(ask, tokenizer, lambda documents: None)
    assert isinstance(data.train, MaskedExamples | CausalExamples)
    sequences = data.train.sequences
    held_out = [batch for _, batch in in_order(data.validation, 8192)]
    special = torch.from_numpy(tokenizer.is_special)
    asked = [int((~special[batch.targets]).sum()) for batch in held_out]  # an end is no word
    after = tokenizer.after if setup.task == MASKED else ()

    class Rows(torch.utils.data.Dataset[dict[str, list[int]]]):
        """Framed sequences."""

        def __len__(self) -> int:
            return len(sequences)

        def __getitem__(self, i: int) -> dict[str, list[int]]:
            start = int(sequences.ends[i - 1]) if i else 0
            ids = sequences.tokens[start : int(sequences.ends[i])].tolist()
            return {"input_ids": [*tokenizer.before, *ids, *after]}

    def padded(parts: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Words, which of them are there, and labels."""
        there = [torch.ones_like(part) for part in parts]
        columns = {"input_ids": (parts, 0), "attention_mask": (there, 0), "labels": (labels, -100)}
        return {name: pad_sequence(list(c), batch_first=True, padding_value=f) for name, (c, f) in columns.items()}

    def judged(batch: Batch) -> dict[str, torch.Tensor]:
        """A batch of patchword's; who says the next word finds it at its own place (transformers shifts it)."""
        packed: Any = batch.inputs[0]
        assert batch.at is not None
        labels = torch.full_like(packed.values, -100)
        labels[batch.at + (setup.task == CAUSAL)] = batch.targets.masked_fill(special[batch.targets], -100)
        return padded(packed.values.split(batch.lengths), labels.split(batch.lengths))

    def next_words(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        parts = [torch.tensor(row["input_ids"]) for row in rows]
        return padded(parts, parts)

    tuned = method != "Trainer"
    better: dict[str, Any] = (
        {"per_device_train_batch_size": 32, "learning_rate": 5e-4, "warmup_steps": 0.1} if tuned else {}
    )
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer", setup.max_length)
    collator: Any = next_words
    if setup.task == MASKED:
        theirs = AutoTokenizer.from_pretrained(folder / "tokenizer")
        collator = DataCollatorForLanguageModeling(theirs, mlm_probability=0.15)

    def judge(model: Any) -> float:
        model.eval()
        with torch.inference_mode():
            losses = [float(model(**judged(batch)).loss) for batch in held_out]
        model.train()
        return sum(loss * words for loss, words in zip(losses, asked, strict=True)) / sum(asked)

    tokens = 0

    def build() -> Any:
        nonlocal tokens
        tokens = 0
        model = peer(setup.task, tokenizer.vocab_size, 0.0 if tuned else None)

        def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            nonlocal tokens
            tokens += int(kwargs["attention_mask"].sum()) if module.training else 0

        model.register_forward_pre_hook(count, with_kwargs=True)
        return model

    how: dict[str, Any] = {"seed": seed, "folder": folder, "judge": judge}
    model, steps, curve = train_for(setup.seconds, build, Rows(), collator, **how, **better)
    model.save_pretrained(folder / "run")
    tokenizer.save(folder / "run", setup.max_length)
    return Result(method, seed, setup.seconds, curve[-1][1], steps, tokens, sum(asked), curve)


def table(results: Sequence[Result], beside: str = "Trainer") -> str:
    """A table for each budget: loss and its spread over seeds, and after which share of it another's end is reached."""
    lines = []
    for seconds in sorted({result.seconds for result in results}):
        mine = [result for result in results if result.seconds == seconds]
        ends = [result.loss for result in mine if result.method == beside]
        goal = statistics.mean(ends) if ends else None
        lines += [f"**{seconds:g} seconds**, {mine[0].asked:,} words asked for\n"]
        lines += [
            f"| | held-out loss | steps | tokens | reaches {beside}'s after |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for method in dict.fromkeys(result.method for result in mine):
            found = [result for result in mine if result.method == method]
            losses = [result.loss for result in found]
            spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
            figures = (statistics.mean(getattr(result, name) for result in found) for name in ("steps", "tokens"))
            cells = [f"{statistics.mean(losses):.3f}{spread}", *(f"{figure:,.0f}" for figure in figures)]
            lines.append(f"| {method} | " + " | ".join([*cells, _reached(found, goal)]) + " |")
        lines.append("")
    return "\n".join(lines)


def _reached(results: Sequence[Result], goal: float | None) -> str:
    """The share of the budget after which an evaluation was at least as good; the median over seeds."""
    if goal is None:
        return ""
    times = [next((at for at, loss in result.curve if loss <= goal), float("inf")) for result in results]
    middle = statistics.median(times)
    return "not" if middle == float("inf") else f"{middle / results[0].seconds:.0%}"


def main() -> None:
    """Run what is missing in the results, then print the tables."""
    data = Path(os.environ.get("PATCHWORD_DATA", "."))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--task", choices=(MASKED, CAUSAL), default=MASKED, help="hidden words, or next words")
    parser.add_argument("--seconds", nargs="+", type=float, default=[300.0], help="budgets (300)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="all of the task's if not given")
    parser.add_argument("--data", default=str(data / "corpus_software.parquet"))
    parser.add_argument("--where", help="only such rows (split=train of corpus_software.parquet)")
    parser.add_argument("--tokenizer", help="a folder (BERT's, or GPT-2's, of the data)")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--results", type=Path, default=Path("recipe.jsonl"), help="kept here, and gone on with")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the models, for benchmarks.few_labels")
    given = parser.parse_args()
    ours = contenders(given.task)
    names = [*ours, "Trainer", "Trainer, tuned"]
    if unknown := set(given.methods or ()) - set(names):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    tokenizer = given.tokenizer or str(data / "tokenizers" / ("bert-uncased" if given.task == MASKED else "gpt2"))
    where = given.where or ("split=train" if Path(given.data).name == "corpus_software.parquet" else None)
    kept = Kept(given.results, Result)
    for seconds in given.seconds:
        setup = Setup(given.task, given.data, where, tokenizer, given.max_length, seconds)
        for seed in range(given.seeds):
            for method in given.methods or names:
                if (method, seed, seconds) in kept:
                    continue
                with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
                    if method in ours:
                        result = patchword(setup, *ours[method], method, seed, Path(folder))
                    else:
                        result = trainer(setup, method, seed, Path(folder))
                    if given.keep:
                        shutil.copytree(Path(folder) / "run", given.keep / f"{method}-{seed}-{seconds:g}")
                print(method, seed, f"{result.loss:.3f}", result.steps, flush=True)
                kept.add(result)
    print(table(kept.results))


if __name__ == "__main__":
    main()
