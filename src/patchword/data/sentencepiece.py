"""SentencePiece's `tokenizer.model`, a protobuf of which a dozen fields are read here (Kudo and Richardson 2018)."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers
from tokenizers import Tokenizer as Backend

# Kinds of a piece (`ModelProto.SentencePiece.Type`) and of a model (`TrainerSpec.ModelType`).
_NORMAL, _UNKNOWN, _CONTROL, _USER, _BYTE = 1, 2, 3, 4, 6
_UNIGRAM, _BPE = 1, 2


def read_sentencepiece(path: Path) -> Backend:
    """The tokenizer that encodes as SentencePiece does, without a frame.

    Raises:
        ValueError: the file is no such model, or one that is neither Unigram nor BPE.
    """
    model = _fields(path.read_bytes())
    pieces = [_piece(_fields(piece)) for piece in model[1]]
    trainer, normalizer = (_fields(b"".join(model[number])) for number in (2, 3))
    if not pieces:
        raise ValueError("it has no pieces")
    unknown = next((i for i, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN), None)
    with_bytes = any(kind == _BYTE for _, _, kind in pieces)
    algorithm = _last(trainer, 3, _UNIGRAM)
    if algorithm == _UNIGRAM:
        backend = Backend(models.Unigram([(text, score) for text, score, _ in pieces], unknown, with_bytes))
    elif algorithm == _BPE:
        vocabulary = {text: i for i, (text, _, _) in enumerate(pieces)}
        name = None if unknown is None else pieces[unknown][0]
        merges = _merges(pieces)
        backend = Backend(models.BPE(vocabulary, merges, unk_token=name, fuse_unk=True, byte_fallback=with_bytes))
    else:
        raise ValueError("it is neither a Unigram nor a BPE model")
    prefix = bool(_last(normalizer, 3, 1))
    backend.normalizer = _normalizer(normalizer, prefix)
    strip = [decoders.Strip(content=" ", left=1)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    kinds = {_UNKNOWN: True, _CONTROL: True, _USER: False}
    backend.add_tokens(
        [AddedToken(text, normalized=False, special=kinds[kind]) for text, _, kind in pieces if kind in kinds]
    )
    return backend


def _normalizer(spec: dict[int, list[Any]], prefix: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if _last(spec, 2, b""):
        steps.append(normalizers.Precompiled(_last(spec, 2, b"")))
    if _last(spec, 4, 1):  # other white space than spaces stays as it is
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if prefix:
        steps.append(normalizers.Prepend("▁"))
    steps.append(normalizers.Replace(" ", "▁"))
    return normalizers.Sequence(steps)


def _merges(pieces: list[tuple[str, float, int]]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, the best piece first."""
    rank = {text: (-score, i) for i, (text, score, kind) in enumerate(pieces) if kind == _NORMAL}
    ways = [
        (*rank[text], text[:cut], text[cut:])
        for text in rank
        for cut in range(1, len(text))
        if text[:cut] in rank and text[cut:] in rank
    ]
    return [(left, right) for _, _, left, right in sorted(ways)]


def _piece(fields: dict[int, list[Any]]) -> tuple[str, float, int]:
    return _last(fields, 1, b"").decode("utf-8"), _last(fields, 2, 0.0), _last(fields, 3, _NORMAL)


def _last(fields: dict[int, list[Any]], number: int, default: Any) -> Any:
    return fields[number][-1] if number in fields else default


def _fields(message: bytes) -> dict[int, list[Any]]:
    """A message's fields by number: whole numbers, bytes, and 32-bit ones as floats."""
    fields = defaultdict(list)
    for number, value in _wire(message):
        fields[number].append(value)
    return fields


def _wire(message: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(message):
                raise ValueError("it ends in the middle of a field")
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError("it is no protobuf")
        length = varint() if kind == 2 else 8 if kind == 1 else 4
        content = message[at : at + length]
        at += length
        if len(content) < length:
            raise ValueError("it ends in the middle of a field")
        yield number, struct.unpack("<f", content)[0] if kind == 5 else content
