"""The files that a tokenizer comes in, from the newest kind to the oldest, and what they say about its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, models, processors
from tokenizers import Tokenizer as Backend

from patchword.data.frames import read_frames
from patchword.data.sentencepiece import read_sentencepiece
from patchword.errors import UserError
from patchword.models.tokenizer_classes import (
    AS_IT_IS,
    CLASSES,
    PAIRS,
    PIECES,
    REFUSED,
    WORD_PIECES,
    TokenizerClass,
    class_of,
    class_of_bytes,
)

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""In the order in which `transformers` adds their tokens to a vocabulary that lacks them."""

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

# Settings that are read here or by `Tokenizer`.
_READ = {
    *(f"{role}_token" for role in ROLES),
    "tokenizer_class",
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "trim_offsets",
    "legacy",
    "extra_ids",
    "add_bos_token",
    "add_eos_token",
    "truncation_side",
    "model_max_length",
    "max_len",
    "model_input_names",
    "split_special_tokens",
    "clean_up_tokenization_spaces",
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
}
# Settings without an effect on ids, types and decoded text here: padding never enters a model, `generate` writes no
# chats, and the rest says where the files came from. `errors` and `spaces_between_special_tokens` have no effect in
# transformers 5 either.
_WITHOUT_EFFECT = {
    "padding_side",
    "pad_token_type_id",
    "pad_to_multiple_of",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "truncation_strategy",
    "chat_template",
    "use_default_system_prompt",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_file",
    "vocab_file",
    "merges_file",
    "processor_class",
    "auto_map",
    "backend",
    "is_local",
    "local_files_only",
    "files_loaded",
    "use_fast",
    "verbose",
    "errors",
    "spaces_between_special_tokens",
    "transformers_version",
    "_commit_hash",
    "_from_auto",
}
# The same, but any other value is ignored by transformers 5 as well.
_DEFAULTS: Mapping[str, Any] = {"do_basic_tokenize": True, "never_split": None, "sp_model_kwargs": {}}


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder's tokenizer files hold.

    Attributes:
        settings: `tokenizer_config.json`, completed by the older files beside it; `tokenizer_class` is the class by
            which the tokenizer was built.
        backend: the tokenizer with its special tokens.
        roles: role -> token, only those in the vocabulary.
        token_types: whether the model is given token types.
        unread: settings that nothing here reads, sorted.
    """

    settings: Mapping[str, Any]
    backend: Backend
    roles: Mapping[str, str]
    token_types: bool
    unread: tuple[str, ...]


@dataclass
class _Tokens:
    """Tokens that are added to a vocabulary: `transformers` adds them by id, then the roles', then the others."""

    by_id: dict[int, AddedToken] = field(default_factory=dict)
    named: dict[str, AddedToken | str] = field(default_factory=dict)
    extra: list[AddedToken | str] = field(default_factory=list)

    def add_to(self, backend: Backend) -> None:
        new: list[AddedToken | str] = [token for _, token in sorted(self.by_id.items())]
        known = {token.content for token in backend.get_added_tokens_decoder().values()} | {str(t) for t in new}
        for token in (*self.named.values(), *self.extra):
            if str(token) not in known:
                new.append(token)
                known.add(str(token))
        named = {str(token) for token in self.named.values()}
        for place, token in enumerate(new):
            if isinstance(token, str):
                new[place] = AddedToken(token, special=True)
            elif not token.special and token.content in named:
                token.special = True
        backend.add_tokens(new)


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """The tokenizer of a folder, as `AutoTokenizer` of transformers 5 builds it.

    Raises:
        UserError: there is none, or its class or a setting is not supported.
    """
    settings = _object(folder / "tokenizer_config.json")
    for key, value in REFUSED.items():
        if settings.get(key, value) not in (value, None):
            raise UserError(f"{folder / 'tokenizer_config.json'}: {key} is not supported. Leave it out.")
    path = folder / "tokenizer.json"
    file = Backend.from_file(str(path)) if path.is_file() else None
    tokens = _read_tokens(folder, settings, file)
    config = _object(folder / "config.json")
    # Looked for as transformers does it, in the whole file.
    name = class_of(settings, config, lambda: file is not None and b'"ByteLevel"' in path.read_bytes())
    unread = _unread(settings)
    if file is not None:
        if file.truncation is not None:
            settings.setdefault("truncation_side", file.truncation["direction"])
        settings.pop("add_bos_token", None)  # a post-processor says it
        settings.pop("add_eos_token", None)
        backend = _rebuilt(file, CLASSES[name], settings, tokens) if name in CLASSES else file
        tokens.add_to(backend)
    else:
        name, backend = _from_vocabulary(folder, name, settings, tokens)
    kind = CLASSES.get(name)
    if kind is not None and kind.restates:
        special = (*tokens.named.values(), *tokens.extra)
        backend.add_tokens([AddedToken(str(token), special=True) for token in special])
    unknown = getattr(backend.model, "unk_token", None)
    if unknown and backend.model.token_to_id(unknown) is None:
        raise UserError(f"{folder}: the unknown token {unknown!r} is not in the tokenizer's vocabulary.")
    roles = read_roles(tokens.named, kind.special if kind else {}, backend)
    if file is None or file.post_processor is None or (kind and kind.processor):
        _frame(folder, backend, name, settings, roles, file)
    settings["tokenizer_class"] = name
    if settings.get("split_special_tokens"):
        backend.encode_special_tokens = True
    inputs = settings.get("model_input_names")
    token_types = "token_type_ids" in inputs if inputs else kind is not None and kind.token_types
    return TokenizerFiles(settings, backend, roles, token_types, unread)


def read_roles(named: Mapping[str, AddedToken | str], special: Mapping[str, str], backend: Backend) -> dict[str, str]:
    """Role -> token, as the settings say, as the class has it, or as it is usual; only tokens in the vocabulary."""
    usual = dict(_USUAL)
    if backend.token_to_id("<mask>") is not None:  # an encoder with these names frames a text with bos and eos
        usual |= {"cls": ("[CLS]", "<s>"), "sep": ("[SEP]", "</s>")}
    roles = {}
    for role in ROLES:
        for token in (str(named.get(f"{role}_token", "")), special.get(role), *usual[role]):
            if token and backend.token_to_id(token) is not None:
                roles[role] = token
                break
    return roles


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


def added_tokens(backend: Backend) -> dict[str, dict[str, Any]]:
    """`added_tokens_decoder` of `tokenizer_config.json`: all added tokens by their ids."""
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    found = sorted(backend.get_added_tokens_decoder().items())
    return {str(i): {flag: getattr(token, flag) for flag in flags} for i, token in found}


def _object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def _read_tokens(folder: Path, settings: dict[str, Any], file: Backend | None) -> _Tokens:
    """The tokens that the files name; older files count only where `added_tokens_decoder` is missing."""
    tokens = _Tokens()
    older = "added_tokens_decoder" not in settings
    if older:
        for key, value in _object(folder / "special_tokens_map.json").items():
            if key == "extra_special_tokens" and isinstance(value, list):
                tokens_there = [token | {"special": True} if isinstance(token, dict) else token for token in value]
                value = [*(settings.get(key) or []), *tokens_there]
            settings[key] = value
    for key, value in settings.items():
        # Any other "..._token" is a special token with a name of its own.
        is_token = isinstance(value, str) or (isinstance(value, dict) and "content" in value)
        if key.endswith("_token") and is_token:
            tokens.named[key] = _token(value, key)
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    if isinstance(extra, dict):
        tokens.named |= {key: _token(value, key) for key, value in extra.items()}
    else:
        for value in extra:
            token = _token(value, "extra_special_tokens")
            if str(token) not in map(str, tokens.extra):
                tokens.extra.append(token)
    if not older:
        for number, value in settings["added_tokens_decoder"].items():
            tokens.by_id[int(number)] = _added(value)
    else:
        special = {str(token) for token in (*tokens.named.values(), *tokens.extra)}
        for content, number in _object(folder / "added_tokens.json").items():
            is_special = content in special
            tokens.by_id[int(number)] = AddedToken(content, normalized=not is_special, special=is_special)
        if file is not None:
            tokens.by_id |= file.get_added_tokens_decoder()
    by_content = {token.content: token for token in tokens.by_id.values()}
    tokens.named = {key: by_content.get(str(tokens.named[key]), tokens.named[key]) for key in _ordered(tokens.named)}
    return tokens


def _token(value: Any, key: str) -> AddedToken | str:
    if isinstance(value, str):
        return value
    return AddedToken(**(_flags(value) | {"special": True})) if key in _ROLE_KEYS else _added(value)


def _added(value: Any) -> AddedToken:
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise ValueError(f"{value!r} is no added token: an object with its content and its flags")
    return AddedToken(**_flags(value))


def _flags(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: flag for key, flag in value.items() if key != "__type"}


_ROLE_KEYS = frozenset(f"{role}_token" for role in ROLES)


def _unread(settings: Mapping[str, Any]) -> tuple[str, ...]:
    known = _READ | _WITHOUT_EFFECT | REFUSED.keys()
    return tuple(
        sorted(
            key
            for key, value in settings.items()
            if key not in known
            and value is not None
            and not key.endswith("_token")
            and value != _DEFAULTS.get(key, _MISSING)
        )
    )


_MISSING = object()


def _rebuilt(file: Backend, kind: TokenizerClass, settings: Mapping[str, Any], tokens: _Tokens) -> Backend:
    """The vocabulary and the post-processor of `tokenizer.json`; the rest as the class has it."""
    normalizer = None if file.normalizer is None else json.loads(bytes(file.normalizer.__getstate__()))
    backend = _of_class(kind, file.model, normalizer, settings, tokens)
    if file.post_processor is not None:
        backend.post_processor = file.post_processor
    return backend


def _of_class(
    kind: TokenizerClass, model: models.Model, normalizer: Any, settings: Mapping[str, Any], tokens: _Tokens
) -> Backend:
    """A tokenizer of a class; `tokens` get those that the class has and the vocabulary knows."""
    backend = kind.build(model, normalizer, settings, str(tokens.named.get("unk_token", kind.special.get("unk", ""))))
    usual = {f"{role}_token": token for role, token in kind.special.items() if f"{role}_token" not in settings}
    # Those that the vocabulary lacks would get ids that no model has; the roles stay empty.
    known = {key: token for key, token in usual.items() if _is_known(token, backend, tokens)}
    by_content = {token.content: token for token in tokens.by_id.values()}
    named = known | tokens.named
    tokens.named = {key: by_content.get(str(named[key]), named[key]) for key in _ordered(named)}
    stated = "extra_special_tokens" in settings or "additional_special_tokens" in settings
    if not stated:
        tokens.extra = [token for token in kind.extra if _is_known(token, backend, tokens)]
    return backend


def _is_known(token: str, backend: Backend, tokens: _Tokens) -> bool:
    return backend.token_to_id(token) is not None or any(t.content == token for t in tokens.by_id.values())


def _ordered(keys: Iterable[str]) -> list[str]:
    """Roles in their order, then the others."""
    order = [f"{role}_token" for role in ROLES]
    return sorted(keys, key=lambda key: order.index(key) if key in order else len(order))


def _from_vocabulary(folder: Path, name: str, settings: Mapping[str, Any], tokens: _Tokens) -> tuple[str, Backend]:
    """A tokenizer from a bare vocabulary, and the name of the class by which it was built.

    Raises:
        UserError: the folder has none of the files, or none for the class.
    """
    kind = CLASSES.get(name)
    wanted = kind.files if kind else ("vocab.txt", *PAIRS, *PIECES)
    there = [file for file in wanted if (folder / file).is_file()]
    model: models.Model | None = None
    if "vocab.txt" in there:
        model = models.WordPiece(models.WordPiece.read_file(str(folder / "vocab.txt")))
        name = name if kind else WORD_PIECES
    elif set(PAIRS) <= set(there):
        vocabulary, merges = models.BPE.read_file(*(str(folder / file) for file in PAIRS))
        model = models.BPE(vocabulary, merges)
        name = name if kind else class_of_bytes(vocabulary, settings)
    elif pieces := [file for file in there if file in PIECES]:
        # Encoded as SentencePiece does it, which the classes do only nearly.
        backend = read_sentencepiece(folder / pieces[0])
        count = settings.get("extra_ids", len(kind.extra) if kind else 0) or 0
        # They are not in the file; the last of the ids is `<extra_id_0>`.
        sentinels = [f"<extra_id_{number}>" for number in reversed(range(int(count)))]
        backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in sentinels])
        roles = read_roles(tokens.named, {}, backend)
        backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in roles.values()])
        tokens.add_to(backend)
        return AS_IT_IS, backend
    if model is None:
        others = sorted(path.name for path in (*folder.glob("*.model"), *folder.glob("vocab.*")))
        files = "vocab.txt, vocab.json with merges.txt, tokenizer.model or spiece.model"
        raise UserError(
            f"{folder} has no tokenizer: neither tokenizer.json nor {files}."
            if not others
            else f"{folder}: the tokenizer class {name} can not be built from {', '.join(others)}. Save the tokenizer "
            "with transformers, which writes tokenizer.json."
        )
    backend = _of_class(CLASSES[name], model, None, settings, tokens)
    tokens.add_to(backend)
    return name, backend


def _frame(
    folder: Path,
    backend: Backend,
    name: str,
    settings: Mapping[str, Any],
    roles: Mapping[str, str],
    file: Backend | None,
) -> None:
    """The post-processor of the class; else bos and eos as the settings say."""
    kind = CLASSES.get(name)
    if kind is not None and kind.processor is not None:
        ids = {token: backend.token_to_id(token) or 0 for token in roles.values()}
        try:
            own = kind.processor(settings, roles, ids)
        except KeyError as error:
            role = error.args[0]
            raise UserError(
                f"{folder}: the class {name} puts a {role} token around a text, and the vocabulary has none. "
                f"Name it in tokenizer_config.json ({role}_token), or set tokenizer_class to {AS_IT_IS}."
            ) from error
        # An equal frame is left as it is written, so that the tokenizer keeps its fingerprint.
        if backend.post_processor is None or read_frames(own) != read_frames(backend.post_processor):
            backend.post_processor = own
        return
    if file is not None:
        return
    pieces = name == AS_IT_IS  # SentencePiece: its beginning where it is known (a decoder), else its end
    begins = settings.get("add_bos_token", pieces and "bos" in roles) and "bos" in roles
    ends = settings.get("add_eos_token", pieces and "bos" not in roles) and "eos" in roles
    bos, eos = [roles["bos"]] if begins else [], [roles["eos"]] if ends else []
    tokens = [(token, backend.token_to_id(token)) for token in dict.fromkeys([*bos, *eos])]
    if tokens:
        backend.post_processor = processors.TemplateProcessing(
            single=[*bos, "$A", *eos],
            pair=[*bos, "$A", *eos, *(f"{token}:1" for token in bos), "$B:1", *(f"{token}:1" for token in eos)],
            special_tokens=tokens,
        )
