"""Files of weights that are damaged, that lead elsewhere, or that contradict each other: one message, at once."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

from patchword.errors import UserError
from patchword.models.folder import examine, read_model

INDEX, WHOLE, SHARD = "model.safetensors.index.json", "model.safetensors", "model-1.safetensors"
CONFIG = BertConfig(
    vocab_size=19, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_labels=2
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose weights are in one shard with an index."""
    torch.manual_seed(0)
    folder = tmp_path / "model"
    BertForSequenceClassification(CONFIG).save_pretrained(folder)
    (folder / WHOLE).rename(folder / SHARD)
    index(folder, dict.fromkeys(load_file(folder / SHARD), SHARD))
    return folder


def index(folder: Path, places: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def replaced(folder: Path, file: str) -> None:
    """Make room for something in the place of a file; for the whole weights, in that of the index too."""
    for gone in (INDEX, file) if file == WHOLE else (file,):
        (folder / gone).unlink(missing_ok=True)


def names(folder: Path) -> list[str]:
    return list(load_file(folder / SHARD))


def refused(folder: Path, *words: str) -> None:
    """Both what looks at the headers and what reads the numbers refuse it."""
    for call in (examine, read_model):
        with pytest.raises(UserError) as caught:
            call(folder)
        assert all(word in str(caught.value) for word in (str(folder), *words)), caught.value
        assert "\n" not in str(caught.value)


def test_a_shard_is_read(folder: Path) -> None:
    stored = load_file(folder / SHARD)
    assert torch.equal(read_model(folder).model.head.scores.weight, stored["classifier.weight"])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"metadata": {}}',
        "[]",
        "5",
        "null",
        '{"weight_map": null}',
        '{"weight_map": {}}',
        '{"weight_map": ["a"]}',
        '{"weight_map": "a"}',
        '{"weight_map"',
        "",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"weight_map":' * 100_000,
        '{"weight_map": {"a": ' + "9" * 5000 + "}}",
    ],
    ids=lambda text: text[:20],
)
def test_an_index_without_a_map_is_named(text: str, folder: Path) -> None:
    (folder / INDEX).write_text(text)
    refused(folder, INDEX)


def test_an_index_that_is_not_utf8_is_named(folder: Path) -> None:
    (folder / INDEX).write_bytes(b'{"weight_map": "\xff"}')
    refused(folder, INDEX)


@pytest.mark.parametrize("file", [5, None, "", [], {}, True, math.nan])
def test_a_map_to_what_is_no_name_is_named(file: Any, folder: Path) -> None:
    index(folder, dict.fromkeys(names(folder), file))
    refused(folder, INDEX, "where a name is needed")


@pytest.mark.parametrize(
    "file",
    [
        "../secret.safetensors",
        "x/../../secret.safetensors",
        "..\\secret.safetensors",
        "C:\\secret.safetensors",
        "\\\\host\\secret.safetensors",
        "{parent}/secret.safetensors",
        "secret.safetensors\0",
    ],
)
def test_a_map_out_of_the_folder_is_refused(file: str, folder: Path) -> None:
    (folder / "x").mkdir()
    (folder / SHARD).rename(folder.parent / "secret.safetensors")
    tensors = load_file(folder.parent / "secret.safetensors")
    index(folder, dict.fromkeys(tensors, file.replace("{parent}", str(folder.parent))))
    refused(folder, INDEX, "outside of the folder")


@pytest.mark.parametrize("file", ["x" * 5000, "\ud800", ".", "sub", "gone.safetensors", f"{SHARD}/x", "loop"])
def test_a_map_to_what_is_no_file_is_named(file: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "loop").symlink_to("loop")
    index(folder, dict.fromkeys(names(folder), file))
    refused(folder, INDEX)


def test_links_of_the_cache_of_the_hub_are_followed(folder: Path) -> None:
    """A snapshot of the hub's cache holds links into a folder of blobs beside it."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for file in (SHARD, INDEX, "config.json"):
        (folder / file).rename(blobs / file)
        (folder / file).symlink_to(Path("..", "blobs", file))
    assert read_model(folder).unused == ()


@pytest.mark.parametrize("place", [SHARD, INDEX, WHOLE, "config.json"])
def test_a_pipe_is_not_waited_for(place: str, folder: Path) -> None:
    replaced(folder, place)
    os.mkfifo(folder / place)
    refused(folder, place, "not a regular file")


@pytest.mark.parametrize("place", [SHARD, INDEX, WHOLE])
def test_a_folder_in_the_place_of_a_file_is_named(place: str, folder: Path) -> None:
    replaced(folder, place)
    (folder / place).mkdir()
    refused(folder, place, "not a regular file")


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


@pytest.mark.parametrize(
    "change",
    [
        cut(0),
        cut(0.01),
        cut(0.5),
        cut(0.99),
        lambda content: (2**63).to_bytes(8, "little") + content[8:],
        lambda content: (len(content) - 8).to_bytes(8, "little") + content[8:],
        lambda content: content[:8] + b"x" * 40 + content[48:],
        lambda content: content + b"more",
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    ],
)
def test_a_damaged_file_is_named(change: Callable[[bytes], bytes], folder: Path) -> None:
    (folder / SHARD).write_bytes(change((folder / SHARD).read_bytes()))
    refused(folder, SHARD)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["classifier.weight", "bert.embeddings.word_embeddings.weight"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_named(value: float, name: str, dtype: torch.dtype, folder: Path) -> None:
    tensors = {key: tensor.to(dtype) for key, tensor in load_file(folder / SHARD).items()}
    tensors[name].view(-1)[3] = value
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"{re.escape(str(folder))}: '{name}' holds numbers that are not finite"):
        read_model(folder)


def test_large_weights_are_finite(folder: Path) -> None:
    """Their sum is not, in fp32."""
    tensors = load_file(folder / SHARD)
    tensors["classifier.weight"].fill_(3e38)
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    assert torch.equal(read_model(folder).model.head.scores.weight, tensors["classifier.weight"])


def test_a_missing_shard_is_named(folder: Path) -> None:
    places = dict.fromkeys(names(folder), SHARD)
    index(folder, places | {"classifier.bias": "model-2.safetensors"})
    refused(folder, INDEX, "model-2.safetensors", "not there")


def test_a_tensor_that_a_shard_lacks_is_named(folder: Path) -> None:
    index(folder, {**dict.fromkeys(names(folder), SHARD), "more.weight": SHARD})
    refused(folder, INDEX, "more.weight")


def test_a_tensor_in_two_shards_is_named(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    save_file({"classifier.bias": tensors["classifier.bias"] + 1, "x": torch.ones(1)}, folder / "second.safetensors")
    index(folder, dict.fromkeys(tensors, SHARD) | {"x": "second.safetensors"})
    refused(folder, "classifier.bias", "twice")


def test_a_tensor_under_an_old_and_a_new_name_is_named(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    tensors["bert.embeddings.LayerNorm.gamma"] = tensors["bert.embeddings.LayerNorm.weight"] + 1
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    refused(folder, "bert.embeddings.LayerNorm.weight", "twice")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.int64, torch.float8_e4m3fn])
def test_quantised_weights_are_named(dtype: torch.dtype, folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    tensors["bert.pooler.dense.weight"] = tensors["bert.pooler.dense.weight"].to(dtype)
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    refused(folder, "bert.pooler.dense.weight", "quantised")


def test_the_whole_file_has_precedence_over_an_index_as_in_transformers(folder: Path) -> None:
    tensors = {key: tensor + 1 for key, tensor in load_file(folder / SHARD).items()}
    save_file(tensors, folder / WHOLE, metadata={"format": "pt"})
    theirs = BertModel.from_pretrained(folder).embeddings.word_embeddings.weight
    assert torch.equal(read_model(folder, way_out="features").model.trunk.embed.words.weight, theirs)
