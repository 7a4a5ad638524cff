"""The files that a tokenizer comes in, from the newest kind to the oldest, and what they say about its tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, models, processors
from tokenizers import Tokenizer as Backend

from patchword.data.sentencepiece import read_sentencepiece
from patchword.data.vocabularies import byte_bpe, wordpiece
from patchword.errors import UserError

Ends = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Roles put before and after a text, and between the two of a pair."""

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")

# What the roles' tokens are called nearly everywhere, for folders that do not say it.
_USUAL = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]", "<mask>"),
    "bos": ("<s>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos": ("</s>", "<|end_of_text|>", "<|endoftext|>"),
}


def read_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`, completed by an older folder's `special_tokens_map.json`."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= json.loads((folder / name).read_text("utf-8"))
    return settings


def read_roles(settings: Mapping[str, Any], backend: Backend) -> dict[str, str]:
    """Role -> token, as the settings say or as it is usual; only tokens that are in the vocabulary."""
    usual = dict(_USUAL)
    if backend.token_to_id("<mask>") is not None:  # an encoder with these names frames a text with bos and eos
        usual |= {"cls": ("[CLS]", "<s>"), "sep": ("[SEP]", "</s>")}
    roles = {}
    for role in ROLES:
        said = settings.get(f"{role}_token")
        said = said.get("content") if isinstance(said, dict) else said
        for token in (said, *usual[role]):
            if token and backend.token_to_id(token) is not None:
                roles[role] = token
                break
    return roles


def read_backend(folder: Path, settings: Mapping[str, Any]) -> Backend:
    """The tokenizer with its frame.

    Raises:
        UserError: the folder has none of the files.
    """
    if (folder / "tokenizer.json").is_file():
        return Backend.from_file(str(folder / "tokenizer.json"))
    ends: Ends = ("cls",), ("sep",), ("sep",)
    if (folder / "vocab.txt").is_file():
        vocabulary = models.WordPiece.read_file(str(folder / "vocab.txt"))
        unknown = read_roles(settings, Backend(models.WordPiece(vocabulary))).get("unk", "[UNK]")
        backend = wordpiece(models.WordPiece(vocabulary, unk_token=unknown), bool(settings.get("do_lower_case", True)))
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        parts = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        backend = byte_bpe(models.BPE(*parts), False, bool(settings.get("add_prefix_space")))
        # An encoder with such files is a RoBERTa or a BART.
        ends = _decoder_ends(backend, settings) if "add_bos_token" in settings else (*ends[:2], ("sep", "sep"))
    elif (folder / "tokenizer.model").is_file():
        backend = read_sentencepiece(folder / "tokenizer.model")
        _add_sentinels(backend, settings)
        ends = _decoder_ends(backend, settings)
    else:
        raise UserError(
            f"{folder} has no tokenizer: neither tokenizer.json nor vocab.txt, vocab.json with merges.txt, "
            "or tokenizer.model."
        )
    roles = read_roles(settings, backend)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in roles.values()])
    if all(role in roles for part in ends for role in part):
        add_frame(backend, *([roles[role] for role in part] for part in ends))
    return backend


def add_frame(backend: Backend, before: Sequence[str], after: Sequence[str], between: Sequence[str]) -> None:
    """Let the backend put these tokens around a text, and between the two of a pair.

    The second text is a segment of its own, but where two tokens stand between: RoBERTa tells texts apart by them.
    """
    if not before and not after:
        return
    kind = 0 if len(between) > 1 else 1
    backend.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *between, f"$B:{kind}", *(f"{token}:{kind}" for token in after)],
        special_tokens=[(token, backend.token_to_id(token)) for token in dict.fromkeys([*before, *between, *after])],
    )


def _decoder_ends(backend: Backend, settings: Mapping[str, Any]) -> Ends:
    """As the settings say, else the usual one of two: the beginning where it is known (a decoder), else the end."""
    roles = read_roles(settings, backend)
    begins = settings.get("add_bos_token", "bos" in roles)
    ends = settings.get("add_eos_token", "bos" not in roles and "eos" in roles)
    after = ("eos",) if ends else ()
    return ("bos",) if begins else (), after, after


def _add_sentinels(backend: Backend, settings: Mapping[str, Any]) -> None:
    """They are not in the file; the last of the ids is `<extra_id_0>`."""
    names = [f"<extra_id_{number}>" for number in reversed(range(int(settings.get("extra_ids") or 0)))]
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
