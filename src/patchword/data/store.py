"""Token sequences on disk: built once, memory-mapped ever after.

2 bytes a token (4 where the vocabulary has over 65,536 entries) and 8 bytes a sequence. A folder of the cache is
keyed by the content of the text, the tokenizer and the length of a sequence. A build that was interrupted goes on
after the last chunk of documents that was written whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from patchword.data.atomic import naming
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.config_file import read_json

VALIDATION_SHARE = 50
"""One sequence in so many is kept apart for validation, chosen by its content: equal sequences fall on one side."""

_CHUNK_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Sequences:
    """Token sequences end to end: sequence i is `tokens[ends[i - 1] : ends[i]]`."""

    tokens: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """Index of each sequence's first token, `[n]`."""
        return np.where(ids > 0, self.ends[np.maximum(ids - 1, 0)], 0).astype(np.int64)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each sequence, `[n]`."""
        return self.ends[ids].astype(np.int64) - self.starts(ids)

    def gather(self, ids: np.ndarray) -> list[np.ndarray]:
        """The sequences."""
        starts, lengths = self.starts(ids), self.lengths(ids)
        return [self.tokens[s : s + n] for s, n in zip(starts, lengths, strict=True)]

    @classmethod
    def from_arrays(cls, sequences: list[np.ndarray]) -> Sequences:
        """In memory, for a set of labelled texts."""
        tokens = np.concatenate([*sequences, np.zeros(0, np.int32)])
        return cls(tokens, np.cumsum([len(s) for s in sequences], dtype=np.int64))


@dataclass(frozen=True)
class Store:
    """A corpus as sequences, and what was counted while it was built."""

    train: Sequences
    validation: Sequences
    counts: np.ndarray
    """`[vocab_size]`: how often each id stands in `train`."""
    documents: int
    duplicates: int
    """Documents that are equal to an earlier one, to the letter."""
    folder: Path

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return len(self.train.tokens) + len(self.validation.tokens)

    @property
    def bytes_per_token(self) -> float:
        """What the files take."""
        return sum(f.stat().st_size for f in self.folder.iterdir() if f.suffix == ".bin") / max(self.tokens, 1)


def cache_folder() -> Path:
    """Where stores and learnt vocabularies are kept: `PATCHWORD_CACHE`, else the user's cache folder."""
    named = os.environ.get("PATCHWORD_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "patchword"


def build_store(
    documents: Iterable[str],
    fingerprint: str,
    tokenizer: Tokenizer,
    piece: int,
    *,
    end: int | None = None,
    hold_out: bool = True,
    cache: Path | None = None,
    progress: Callable[[int], None] = lambda documents: None,
) -> Store:
    """Tokenise a corpus, or open what an earlier run has made of it.

    Args:
        documents: in a fixed order; longer ones are cut into pieces.
        fingerprint: stands for their content.
        tokenizer: makes the ids.
        piece: tokens of the longest sequence, special tokens not counted.
        end: token that each document ends with.
        hold_out: whether one sequence in `VALIDATION_SHARE` is kept apart; if not, all are in `train`.
        cache: parent folder; `cache_folder()` where not given.
        progress: called with the number of documents done.
    """
    what = f"{fingerprint} {tokenizer.fingerprint()} {piece} {end} v2" + ("" if hold_out else " whole")
    key = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
    folder = (cache or cache_folder()) / "tokens" / key
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            build = _Build(folder, tokenizer, piece, end, hold_out)
            if not build.finished:
                build.run(documents, progress)
    except Timeout as error:
        raise UserError(
            f"Another run is tokenising the same text at this moment (in {folder}). Start again when it is done; "
            "what it makes will be used."
        ) from error
    return build.open()


class _Build:
    """A store in the making. `progress.json` is replaced after each chunk and says how much of each file counts."""

    FILES = (
        "train-tokens.bin",
        "train-ends.bin",
        "validation-tokens.bin",
        "validation-ends.bin",
        "hashes.tmp",
    )

    def __init__(self, folder: Path, tokenizer: Tokenizer, piece: int, end: int | None, hold_out: bool) -> None:
        self.folder, self.tokenizer, self.piece, self.hold_out = folder, tokenizer, piece, hold_out
        self.end = np.array([] if end is None else [end], np.int32)
        self.dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        self.state = {"finished": False, "documents": 0, "duplicates": 0, **dict.fromkeys(self.FILES, 0)}
        if (folder / "progress.json").is_file():
            self.state = read_json(folder / "progress.json")
            if not self.state.keys() >= {"finished", "documents", *self.FILES}:
                raise UserError(f"{folder / 'progress.json'} is damaged. Delete {folder}; it is built again.")

    @property
    def finished(self) -> bool:
        return bool(self.state["finished"])

    def run(self, documents: Iterable[str], progress: Callable[[int], None]) -> None:
        """Add the documents that are not in yet."""
        with naming(self.folder):
            self._run(documents, progress)

    def _run(self, documents: Iterable[str], progress: Callable[[int], None]) -> None:
        counts = np.zeros(self.tokenizer.vocab_size, np.int64)
        for name in self.FILES:
            (self.folder / name).touch()
            os.truncate(self.folder / name, self.state[name])
        if self.state["documents"]:
            counts = np.load(self.folder / f"counts-{self.state['documents']}.npy")
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(self.folder / name, "ab")) for name in self.FILES}
            for chunk in _chunks(islice(iter(documents), self.state["documents"], None)):
                self._add(chunk, files, counts)
                self._record(files, counts, self.state["documents"] + len(chunk))
                progress(self.state["documents"])
        hashes = self.folder / "hashes.tmp"
        self.state["duplicates"] = _count_duplicates(hashes)
        np.save(self.folder / "counts.npy", counts)
        self.state["finished"] = True
        self._write_state()
        hashes.unlink()
        for leftover in self.folder.glob("counts-*.npy"):
            leftover.unlink()

    def _add(self, chunk: list[str], files: Mapping[str, BinaryIO], counts: np.ndarray) -> None:
        pieces = []
        ends = {part: self.state[f"{part}-tokens.bin"] // self.dtype().itemsize for part in ("train", "validation")}
        for text, ids in zip(chunk, self.tokenizer.encode(chunk), strict=True):
            files["hashes.tmp"].write(hashlib.blake2b(text.encode(), digest_size=8).digest())
            ids = np.concatenate([ids, self.end])
            for start in range(0, len(ids), self.piece):
                content = ids[start : start + self.piece].astype(self.dtype)
                held_out = self.hold_out and zlib.crc32(content.tobytes()) % VALIDATION_SHARE == 0
                part = "validation" if held_out else "train"
                if not held_out:
                    pieces.append(content)
                ends[part] += len(content)
                files[f"{part}-tokens.bin"].write(content.tobytes())
                files[f"{part}-ends.bin"].write(np.uint64(ends[part]).tobytes())
        if pieces:
            counts += np.bincount(np.concatenate(pieces), minlength=len(counts))

    def _record(self, files: Mapping[str, BinaryIO], counts: np.ndarray, documents: int) -> None:
        """Make a chunk count: first its bytes, then the one small file that says so."""
        for name, file in files.items():
            file.flush()
            self.state[name] = file.tell()
        np.save(self.folder / f"counts-{documents}.npy", counts)
        before = self.state["documents"]
        self.state["documents"] = documents
        self._write_state()
        (self.folder / f"counts-{before}.npy").unlink(missing_ok=True)

    def _write_state(self) -> None:
        temporary = self.folder / "progress.json.part"
        temporary.write_text(json.dumps(self.state))
        os.replace(temporary, self.folder / "progress.json")

    def open(self) -> Store:
        def sequences(part: str) -> Sequences:
            return Sequences(
                _map(self.folder / f"{part}-tokens.bin", self.dtype),
                _map(self.folder / f"{part}-ends.bin", np.uint64),
            )

        return Store(
            sequences("train"),
            sequences("validation"),
            np.load(self.folder / "counts.npy"),
            self.state["documents"],
            self.state["duplicates"],
            self.folder,
        )


def _map(path: Path, dtype: type) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)


def _chunks(documents: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document)
        if size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _count_duplicates(hashes: Path, parts: int = 16) -> int:
    """Equal 64-bit hashes, a part of their range at a time: memory stays a sixteenth of them."""
    values = _map(hashes, np.uint64)
    duplicates = 0
    for part in range(parts):
        mine = values[(values >> np.uint64(60)) == part]
        duplicates += len(mine) - len(np.unique(mine))
    return int(duplicates)
