"""The demo's text: docstrings of installed packages, and Python's own documentation topics.

Source files are parsed, never imported. What comes out depends on the installed versions and on nothing else: the
order is that of a hash of each file's name within its package, and a row's part is a hash of its text.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from patchword.errors import UserError

LABELS = {
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "sympy": "sympy",
    "torch": "torch",
    "transformers": "transformers",
}
"""Class -> package: those of them that are installed and have docstrings enough are the classes of stage 2."""
OTHERS = ("huggingface_hub", "joblib", "mpmath", "PIL", "pyarrow", "pydantic", "sentence_transformers", "tensorboard")
"""Packages that are read in stage 1 only, where they are installed."""

PACKAGE_CHARACTERS, PACKAGE_TEXTS = 200_000, 350
"""No more docstrings of a package when both are reached; 45 seconds on two cores read less than all of it anyway."""
ROW_CHARACTERS = 160
"""A row of stage 2 is the beginning of a docstring, cut at a word."""
LEAST_CHARACTERS = 100
TEST_ROWS, VALIDATION_ROWS, POOL_ROWS = 450, 90, 720
"""In all; as many of each class, rounded up."""
_ROWS = {"test": TEST_ROWS, "validation": VALIDATION_ROWS, "pool": POOL_ROWS}
TEST_SHARE, VALIDATION_SHARE = 0.25, 0.1  # of hashes; what is over is the pool

_SKIPPED = {"test", "tests", "testing", "_vendor", "vendored", "externals", "_external"}
# Long names also inside of others (torchvision, numpydoc); short ones as words only.
_NAMES = re.compile(
    r"num-?py|sci-?py|scikit[-_ ]?learn|scikit|sklearn|matplotlib|pyplot|pylab|pytorch|torch|pandas|networkx|sympy|"
    r"hugging ?face|transformers|(?<![a-z])(?:np|npt|sp|plt|mpl|pd|nx|sk|hf)(?![a-z])",
    re.IGNORECASE,
)
_KEY = 80  # characters by which a row is known again inside of another text
Defined = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Row:
    """A text and the package that it comes from; `label` is empty where that is no class."""

    text: str
    label: str


@dataclass(frozen=True)
class TextData:
    """The written text files and what is in them.

    Args:
        pretrain: .jsonl with a column `text`.
        train, validation, test: .jsonl with columns `text` and `label`; `train` is the pool that labels are drawn from.
        pool_rows, validation_rows, test_rows: the same in memory.
        labels: the classes.
        documents, characters: in `pretrain`.
        left_out: documents that hold a test row, and therefore are not in `pretrain`.
    """

    pretrain: Path
    train: Path
    validation: Path
    test: Path
    pool_rows: list[Row]
    validation_rows: list[Row]
    test_rows: list[Row]
    labels: tuple[str, ...]
    documents: int
    characters: int
    left_out: int


def struck(text: str) -> str:
    """The text without the names of the packages, all of them: a label must not stand in its own row."""
    return _NAMES.sub("", text)


def package_files(name: str) -> list[Path]:
    """Source files of an installed package without its tests, in an order fixed by their names; [] if it is absent."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return []
    root = Path(next(iter(found.submodule_search_locations)))
    files = [path.relative_to(root) for path in root.rglob("*.py")]
    kept = [path for path in files if not _SKIPPED & set(path.parts[:-1]) and not path.name.startswith("test_")]
    # Not by the alphabet: what is cut off at the end would be one part of the package.
    return [root / path for path in sorted(kept, key=lambda path: (content_hash(path.as_posix()), path))]


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a Python source, from the top down; none where it can not be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parsed file's own backslashes
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    yield from _docstrings_under(tree)


def _docstrings_under(node: ast.AST) -> Iterator[str]:
    """Statements only: `ast.walk` would look at every expression, which takes five times as long."""
    if isinstance(node, Defined) and (text := ast.get_docstring(node)):
        yield text
    for name in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, name, ()):
            if isinstance(child, ast.stmt | ast.excepthandler):
                yield from _docstrings_under(child)


def topics() -> list[str]:
    """Python's own documentation topics, as `help("FORMATTING")` shows them; [] where they are not installed."""
    found = importlib.util.find_spec("pydoc_data.topics")
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return []
    tree = ast.parse(Path(found.origin).read_text("utf-8"))
    dicts = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    values = [value for node in dicts for value in node.values if isinstance(value, ast.Constant)]
    return [inspect.cleandoc(value.value) for value in values if isinstance(value.value, str)]


def read_package(name: str) -> list[str]:
    """Docstrings of a package, names struck out, equal ones once; not all of them where there are many."""
    texts: dict[str, str] = {}
    size = 0
    for path in package_files(name):
        try:
            source = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for raw in docstrings(source):
            text = struck(raw)
            words = " ".join(text.split())
            if len(words) < LEAST_CHARACTERS or words in texts:
                continue
            texts[words] = text
            size += len(text)
        if size >= PACKAGE_CHARACTERS and len(texts) >= PACKAGE_TEXTS:
            break
    return list(texts.values())


def row_of(text: str) -> str:
    """What stage 2 reads of a docstring: its beginning on one line."""
    words = " ".join(text.split())
    return words if len(words) <= ROW_CHARACTERS else words[:ROW_CHARACTERS].rsplit(" ", 1)[0]


def part_of(row: str) -> str:
    """ "test", "validation" or "pool": from the row's content alone, so that it is the same whatever else there is."""
    share = content_hash(row) / 2**64
    return "test" if share < TEST_SHARE else "validation" if share < TEST_SHARE + VALIDATION_SHARE else "pool"


def split_rows(texts: dict[str, list[str]]) -> dict[str, list[Row]]:
    """Rows by part, as many of each class; classes with too few rows are left out.

    Args:
        texts: label -> documents. A row that two labels have is left out: nobody could tell where it is from.
    """
    labels_of: dict[str, set[str]] = {}
    for label, documents in texts.items():
        for document in documents:
            labels_of.setdefault(row_of(document), set()).add(label)
    found: dict[str, dict[str, list[Row]]] = {}
    for label in sorted(texts):
        own = sorted((row for row, labels in labels_of.items() if labels == {label}), key=content_hash)
        found[label] = {part: [Row(row, label) for row in own if part_of(row) == part] for part in _ROWS}
    while found:
        wanted = {part: -(-rows // len(found)) for part, rows in _ROWS.items()}
        short = [label for label, parts in found.items() if any(len(parts[p]) < n for p, n in wanted.items())]
        if not short:
            break
        del found[min(short, key=lambda label: len(found[label]["pool"]))]  # and the others have to give more
    rows = {part: [row for parts in found.values() for row in parts[part][: wanted[part]]] for part in _ROWS}
    return {part: sorted(chosen, key=lambda row: content_hash("order " + row.text)) for part, chosen in rows.items()}


def without(documents: Iterable[str], rows: Iterable[Row]) -> list[str]:
    """The documents in which none of the rows begins, at any line."""
    keys = {row.text[:_KEY] for row in rows}
    return [document for document in documents if not any(key in keys for key in _beginnings(document))]


def _beginnings(document: str) -> Iterator[str]:
    lines = [" ".join(line.split()) for line in document.splitlines()]
    joined = " ".join(line for line in lines if line)
    start = 0
    for line in lines:
        if line:
            yield joined[start : start + _KEY]
            start += len(line) + 1


def write_text(folder: Path, progress: Callable[[str, int], None] = lambda package, done: None) -> TextData:
    """Read the installed packages, and write the files of both stages into a folder.

    Args:
        folder: is made.
        progress: called with the name of each package before it is read (and 1 for the one that has been).

    Raises:
        UserError: fewer than two of the packages have docstrings enough.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled: dict[str, list[str]] = {}
    for label, package in LABELS.items():
        progress(label, 0)
        labelled[label] = read_package(package)
        progress(label, 1)
    others = []
    for package in OTHERS:
        progress(package, 0)
        others += read_package(package)
        progress(package, 1)
    others += [struck(text) for text in topics()]
    parts = split_rows(labelled)
    labels = tuple(sorted({row.label for row in parts["pool"]}))
    if len(labels) < 2:
        raise UserError(
            "The demo needs the sources of two or more of these packages, with their docstrings, to make classes of: "
            f"{', '.join(LABELS)}. It found {len(labels)}."
        )

    everything = list(dict.fromkeys([text for texts in labelled.values() for text in texts] + others))
    everything.sort(key=content_hash)
    kept = without(everything, parts["test"])
    _write(folder / "pretrain.jsonl", ({"text": text} for text in kept))
    paths = {"pool": folder / "train.jsonl", "validation": folder / "validation.jsonl", "test": folder / "test.jsonl"}
    for part, path in paths.items():
        _write(path, ({"text": row.text, "label": row.label} for row in parts[part]))
    return TextData(
        pretrain=folder / "pretrain.jsonl",
        train=paths["pool"],
        validation=paths["validation"],
        test=paths["test"],
        pool_rows=parts["pool"],
        validation_rows=parts["validation"],
        test_rows=parts["test"],
        labels=labels,
        documents=len(kept),
        characters=sum(map(len, kept)),
        left_out=len(everything) - len(kept),
    )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A .jsonl with columns `text` and `label`."""
    _write(path, ({"text": row.text, "label": row.label} for row in rows))


def _write(path: Path, lines: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def content_hash(text: str) -> int:
    """64 bits of a text's content."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
