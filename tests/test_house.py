"""The package layout: which module may import which, and where a family may be named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchword
from patchword.models.family import families

SOURCE = Path(patchword.__file__).parent
FLOORS = {
    "nn": 1,
    "models": 2,
    "data": 2,
    "checks": 3,
    "generation": 3,
    "tasks": 4,
    "explain": 5,
    "training": 5,
    "study": 6,
    "report": 6,
    "demo": 7,
    "cli": 8,
}
NAMES = {re.split("[-_]", name)[0] for name in families()} | {"gpt", "t5"}
FAMILIES = re.compile(rf"\b({'|'.join(sorted(NAMES))})\b", re.I)

# What Python, tokenizers, transformers and sentence-transformers call their own things.
OTHERS = {
    "bit_count",
    "bit_length",
    "BertNormalizer",
    "BertPreTokenizer",
    "BitImageProcessor",
    "sentence_bert_config.json",
}


def files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((SOURCE / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Modules of this package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("patchword."):
            yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("patchword."))


@pytest.mark.parametrize("folder", FLOORS)
def test_a_file_imports_from_its_own_floor_or_from_below(folder: str) -> None:
    for path in files(folder):
        for module in imports(path):
            floor = FLOORS.get(module.split(".")[1], 0)
            assert floor <= FLOORS[folder], f"{path.relative_to(SOURCE)} imports {module}"


def words(path: Path) -> Iterator[str]:
    """Identifiers, and strings that are no docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Constant(value=str() as text) if id(node) not in documentation:
                yield text


def test_no_family_is_named_outside_the_families() -> None:
    """Comments and docstrings may cite; code may not ask."""
    named = [
        f"{path.relative_to(SOURCE)}: {word[:60]}"
        for path in files("nn", "data", "generation", "tasks", "training")
        for word in set(words(path)) - OTHERS
        if FAMILIES.search(re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", word))
    ]
    assert named == []
