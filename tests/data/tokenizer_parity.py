"""Every tokenizer class with one key or file changed at a time, against transformers: equal, refused, or an exception.

`python -m tests.data.tokenizer_parity > docs/tokenizer_parity.md` writes the page.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from patchword.data.tokenizers import Tokenizer as Ours
from patchword.errors import UserError
from patchword.tasks.text_classification import TextExamples

CORPUS = [
    "Hello world, the lower newest widest low new wide!",
    "Don't stop: 1,234 naïve cafés cost £5 (or less).",
    "the quick brown fox jumps over the lazy dog 今日 は 天気 привет мир",
] * 20
TEXTS = [
    "Hello lower World",
    "",
    "  two  spaces \t and\na line ",
    "Naïve CAFÉS don't cost 1,234 !",
    "今日は天気 привет",
    "the<new>low <new> x<new>y [MASK] <mask>low",
    "e\u0301 ½ ﬁ 😀👩‍👧 \u200b\ufeff\x00 end .",
    "low\xa0new <s> </s> <|endoftext|> <unk> [UNK] [SEP]",
    "the lower newest widest " * 6,
]
PAIRS = [("the low", "new world"), ("", "x"), ("the lower newest " * 5, "wide " * 20)]


@dataclass(frozen=True)
class Kind:
    """A tokenizer as a folder: its files, the model type beside it, and the settings."""

    model_type: str
    files: Callable[[], Mapping[str, str]]
    settings: Mapping[str, Any]


def _trained(model: Any, trainer: Any, split: Any, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = split
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _word_pieces() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    tokenizer = _trained(
        models.WordPiece(unk_token="[UNK]"),
        trainer,
        pre_tokenizers.BertPreTokenizer(),
        normalizers.BertNormalizer(lowercase=False),
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _bytes(special: list[str]) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer = _trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _word_ends(special: list[str]) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=260, special_tokens=special, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer = _trained(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), trainer, pre_tokenizers.BertPreTokenizer()
    )
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return tokenizer


def _pieces(special: list[str], unknown: str = "<unk>") -> Tokenizer:
    trainer = trainers.UnigramTrainer(vocab_size=220, special_tokens=special, unk_token=unknown, show_progress=False)
    split = pre_tokenizers.Metaspace()
    tokenizer = _trained(models.Unigram(), trainer, split, normalizers.NFKC())
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _llama() -> Tokenizer:
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    split = pre_tokenizers.Metaspace(prepend_scheme="first")
    trained = json.loads(_trained(models.BPE(unk_token="<unk>"), trainer, split).to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    tokenizer = Tokenizer(models.BPE(trained["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _letters() -> Tokenizer:
    """Without the letter "a" and with a template of its own."""
    words = ["[PAD]", "[CLS]", "[SEP]", "l", "o", "w", "ow", "low", "H", "e", "[END]"]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [("o", "w"), ("l", "ow")]))
    tokenizer.add_special_tokens([word for word in words if word.startswith("[")])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(),
            processors.TemplateProcessing(
                single="[CLS]:1 $A:1 [SEP]:0 [END]:2",
                pair="[CLS] $A:2 [SEP] [SEP]:1 $B [END]:1",
                special_tokens=[("[CLS]", 1), ("[SEP]", 2), ("[END]", 10)],
            ),
        ]
    )
    return tokenizer


def _fast(make: Callable[..., Tokenizer], *args: Any) -> Callable[[], dict[str, str]]:
    return lambda: {"tokenizer.json": make(*args).to_str()}


def _slow(make: Callable[..., Tokenizer], *args: Any) -> Callable[[], dict[str, str]]:
    def files() -> dict[str, str]:
        tokenizer = make(*args)
        vocabulary = tokenizer.get_vocab()
        if isinstance(tokenizer.model, models.WordPiece):
            return {"vocab.txt": "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__))}
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        text = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
        return {"vocab.json": json.dumps(vocabulary), "merges.txt": text}

    return files


ANGLES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
END = ["<|endoftext|>"]
KINDS = {
    "BERT": Kind("bert", _fast(_word_pieces), {"tokenizer_class": "BertTokenizer"}),
    "BERT, vocab.txt": Kind("bert", _slow(_word_pieces), {"tokenizer_class": "BertTokenizerFast"}),
    "BERT, no class": Kind("distilbert", _fast(_word_pieces), {}),
    "DistilBERT": Kind("distilbert", _fast(_word_pieces), {"tokenizer_class": "DistilBertTokenizer"}),
    "GPT-2": Kind("gpt2", _fast(_bytes, END), {"tokenizer_class": "GPT2Tokenizer"}),
    "GPT-2, vocab.json": Kind("gpt2", _slow(_bytes, END), {}),
    "RoBERTa": Kind("roberta", _fast(_bytes, ANGLES), {"tokenizer_class": "RobertaTokenizer"}),
    "RoBERTa, vocab.json": Kind("roberta", _slow(_bytes, ANGLES), {}),
    "BART": Kind("bart", _fast(_bytes, ANGLES), {"tokenizer_class": "BartTokenizer"}),
    "Qwen": Kind("qwen3", _fast(_bytes, END), {"tokenizer_class": "Qwen2Tokenizer"}),
    "GPT": Kind("openai-gpt", _fast(_word_ends, ["<unk>"]), {"tokenizer_class": "OpenAIGPTTokenizer"}),
    "GPT, vocab.json": Kind("openai-gpt", _slow(_word_ends, ["<unk>"]), {}),
    "HerBERT": Kind("bert", _fast(_word_ends, ANGLES), {"tokenizer_class": "HerbertTokenizer"}),
    "HerBERT, vocab.json": Kind("bert", _slow(_word_ends, ANGLES), {"tokenizer_class": "HerbertTokenizerFast"}),
    "XLM-RoBERTa": Kind("xlm-roberta", _fast(_pieces, ANGLES), {"tokenizer_class": "XLMRobertaTokenizer"}),
    "CamemBERT": Kind("roberta", _fast(_pieces, ANGLES), {"tokenizer_class": "CamembertTokenizer"}),
    "T5": Kind("t5", _fast(_pieces, ["<pad>", "</s>", "<unk>"]), {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}),
    "Llama": Kind("llama", _fast(_llama), {"tokenizer_class": "LlamaTokenizer"}),
    "Llama of bytes": Kind("llama", _fast(_bytes, END), {"tokenizer_class": "LlamaTokenizerFast"}),
    "Mistral": Kind("mistral", _fast(_llama), {"tokenizer_class": "LlamaTokenizer"}),
    "ModernBERT": Kind("modernbert", _fast(_bytes, ANGLES), {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "template": Kind("bert", _fast(_letters), {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "Japanese BERT": Kind("bert", _slow(_word_pieces), {"tokenizer_class": "BertJapaneseTokenizer"}),
    "BERTweet": Kind("roberta", _slow(_bytes, ANGLES), {"tokenizer_class": "BertweetTokenizer"}),
    "no such class": Kind("bert", _fast(_word_pieces), {"tokenizer_class": "MyTokenizer"}),
}


def _new(**flags: bool) -> dict[str, Any]:
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False}
    return {"content": "<new>", **plain, **flags}


Change = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Settings that are changed, and JSON files that are put beside; a number "next" stands for the next free id."""
CHANGES: dict[str, Change] = {
    "as it is": ({}, {}),
    **{
        f"{key} {value}": ({key: value}, {})
        for key in (
            "do_lower_case",
            "strip_accents",
            "tokenize_chinese_chars",
            "add_prefix_space",
            "trim_offsets",
            "legacy",
            "add_bos_token",
            "add_eos_token",
            "split_special_tokens",
            "clean_up_tokenization_spaces",
            "fix_mistral_regex",
        )
        for value in (True, False)
    },
    "truncation_side left": ({"truncation_side": "left"}, {}),
    "padding_side left": ({"padding_side": "left"}, {}),
    "model_max_length 7": ({"model_max_length": 7}, {}),
    "no token types": ({"model_input_names": ["input_ids", "attention_mask"]}, {}),
    "token types": ({"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}, {}),
    "cleaned BPE": (
        {
            "clean_up_tokenization_spaces": True,
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True,
        },
        {},
    ),
    "added_tokens.json": ({}, {"added_tokens.json": {"<new>": "next"}}),
    **{
        f"added_tokens_decoder {flag}": ({"added_tokens_decoder": {"next": _new(**{flag: True})}}, {})
        for flag in ("lstrip", "rstrip", "single_word", "special")
    },
    "added_tokens_decoder not normalized": ({"added_tokens_decoder": {"next": _new(normalized=False)}}, {}),
    "added_tokens_decoder of a word": (
        {"added_tokens_decoder": {"next": {**_new(), "content": "low"}}},
        {},
    ),
    "added_tokens_decoder empty": ({"added_tokens_decoder": {}}, {}),
    "additional_special_tokens": ({"additional_special_tokens": ["<new>", "low"]}, {}),
    "extra_special_tokens": ({"extra_special_tokens": ["<new>"]}, {}),
    "extra_special_tokens by name": ({"extra_special_tokens": {"image_token": "<new>"}}, {}),
    "extra_special_tokens as objects": ({"extra_special_tokens": [{**_new(lstrip=True), "__type": "AddedToken"}]}, {}),
    "a named token": ({"image_token": "<new>"}, {}),
    "pad_token new": ({"pad_token": "<new>"}, {}),
    "mask_token with a space": ({"mask_token": {**_new(lstrip=True), "content": "low", "__type": "AddedToken"}}, {}),
    "unk_token another": ({"unk_token": "low"}, {}),
    "special_tokens_map.json": ({}, {"special_tokens_map.json": {"mask_token": "<new>", "pad_token": "low"}}),
    "special_tokens_map.json beside a decoder": (
        {"added_tokens_decoder": {"next": _new()}},
        {"special_tokens_map.json": {"mask_token": "low"}},
    ),
    "special_tokens_map.json with extras": (
        {"extra_special_tokens": ["low"]},
        {"special_tokens_map.json": {"extra_special_tokens": [{"content": "<new>", "lstrip": True}]}},
    ),
    "added_tokens.json of a special one": (
        {"additional_special_tokens": ["<new>"]},
        {"added_tokens.json": {"<new>": "next"}},
    ),
    "another class": ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}),
    "GPT2Tokenizer": ({"tokenizer_class": "GPT2Tokenizer"}, {}),
    "LlamaTokenizer": ({"tokenizer_class": "LlamaTokenizer"}, {}),
    "an unknown key": ({"do_something_else": True}, {}),
}

NOT_ADDED = "a special token that only the class names, and the vocabulary lacks, gets no id of its own"
BARE = "a bare vocabulary is read by its files, where transformers needs tokenizer.json"
REDUCED = ("BERT, no class", "DistilBERT", "BART", "Mistral", "Japanese BERT", "BERTweet", "no such class")
"""Kinds that are another one by another name, or refused: tried with every eighth change."""


def exception(kind: str, change: str, found: str) -> str | None:
    """Why a case may be neither equal nor refused; None where it may not."""
    if found == "different" and change in ("GPT2Tokenizer", "LlamaTokenizer"):
        return NOT_ADDED
    return BARE if found == "only ours opens" and change == "another class" else None


def cases() -> Iterator[tuple[str, str]]:
    """Each kind with each change."""
    for kind in KINDS:
        for number, change in enumerate(CHANGES):
            if kind not in REDUCED or number % 8 == 0:
                yield kind, change


_FILES: dict[str, Mapping[str, str]] = {}


def folder_of(kind: str, change: str, folder: Path) -> None:
    """Write the files of a case."""
    about, (settings, files) = KINDS[kind], CHANGES[change]
    if kind not in _FILES:
        _FILES[kind] = about.files()
    for name, content in _FILES[kind].items():
        (folder / name).write_text(content, "utf-8")
    count = _size(_FILES[kind])
    (folder / "config.json").write_text(json.dumps({"model_type": about.model_type, "vocab_size": count + 200}))
    written = {**about.settings, **settings}
    for name, value in {"tokenizer_config.json": written, **files}.items():
        text = json.dumps(value).replace('"next": {', f'"{count}": {{').replace('"next"', str(count))
        (folder / name).write_text(text)


def _size(files: Mapping[str, str]) -> int:
    if "tokenizer.json" in files:
        return Tokenizer.from_str(files["tokenizer.json"]).get_vocab_size()
    return len(files["vocab.txt"].splitlines()) if "vocab.txt" in files else len(json.loads(files["vocab.json"]))


def theirs_of(folder: Path) -> dict[str, Any]:
    """What transformers gives."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found: dict[str, Any] = {"length": tokenizer.model_max_length if tokenizer.model_max_length < 1e20 else None}
    for text in TEXTS:
        given = tokenizer(text, return_offsets_mapping=True)
        found[text] = _row(given, tokenizer.decode(given["input_ids"], skip_special_tokens=True))
        bare = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        found[text + "|offsets"] = _trimmed(text, bare["offset_mapping"])
        found[text + "|cut"] = tokenizer(text, truncation=True, max_length=8)["input_ids"] if text else None
    for pair in PAIRS:
        found[str(pair)] = _row(tokenizer(*pair), "")
        found[str(pair) + "|cut"] = tokenizer(*pair, truncation=True, max_length=12)["input_ids"]
    return found


def _row(given: Mapping[str, Any], decoded: str) -> tuple[list[int], list[int], str]:
    ids = list(given["input_ids"])
    return ids, list(given.get("token_type_ids") or [0] * len(ids)), decoded


def _trimmed(text: str, offsets: Any) -> list[tuple[int, int]]:
    """Without the white space that a token begins with."""
    out = []
    for start, end in offsets:
        while start < end and text[start].isspace():
            start += 1
        out.append((int(start), int(end)))
    return out


def ours_of(folder: Path) -> dict[str, Any]:
    """What patchword gives."""
    tokenizer = Ours.load(folder)
    found: dict[str, Any] = {"length": tokenizer.max_length}

    def row(examples: TextExamples, decoded: str) -> tuple[list[int], list[int], str]:
        packed = examples.batch(np.array([0]), (0, 0)).inputs[0]
        ids = packed.values.tolist()
        return ids, [0] * len(ids) if packed.segments is None else packed.segments.tolist(), decoded

    for text in TEXTS:
        ids = tokenizer.single.put(tokenizer.encode([text])[0]).tolist()
        kinds = tokenizer.single.token_types(len(ids) - len(tokenizer.single)).tolist()
        found[text] = ids, kinds if tokenizer.token_types else [0] * len(ids), tokenizer.decode(ids)
        found[text + "|offsets"] = _trimmed(text, tokenizer.encode_with_places([text])[0][1].tolist())
        found[text + "|cut"] = row(TextExamples([text], tokenizer, 8), "")[0] if text else None
    for pair in PAIRS:
        found[str(pair)] = row(TextExamples([pair], tokenizer, 512), "")
        found[str(pair) + "|cut"] = row(TextExamples([pair], tokenizer, 12), "")[0]
    return found


def outcome(kind: str, change: str, folder: Path) -> tuple[str, str]:
    """ "equal", "refused", "both fail", "only ours opens" or "different", and what is to be said of it."""
    folder_of(kind, change, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = theirs_of(folder)
        except Exception as error:
            theirs = {"error": type(error).__name__}
        try:
            ours = ours_of(folder)
        except UserError as error:
            return ("both fail" if "error" in theirs else "refused"), str(error).replace(str(folder), "FOLDER")
    if "error" in theirs:
        return "only ours opens", theirs["error"]
    for key, value in theirs.items():
        if ours[key] != value:
            return "different", f"{key!r}: ours {ours[key]}, theirs {value}"
    return "equal", ""


def page() -> str:
    """The page in Markdown."""
    transformers.logging.set_verbosity_error()
    counts: dict[str, Counter[str]] = {}
    for kind, change in cases():
        with tempfile.TemporaryDirectory() as name:
            found, _ = outcome(kind, change, Path(name))
        reason = exception(kind, change, found)
        counts.setdefault(kind, Counter())["exception" if reason else found] += 1
    columns = ("equal", "refused", "both fail", "exception")
    lines = [f"| {kind} | " + " | ".join(str(row[column]) for column in columns) + " |" for kind, row in counts.items()]
    total = [str(sum(row[column] for row in counts.values())) for column in columns]
    return "\n".join(
        [
            "# Tokenizers beside transformers\n",
            "Each kind of tokenizer folder with one key or file changed at a time: ids, token types, offsets, decoded",
            "text and truncation of hard texts and pairs, against `AutoTokenizer`;",
            "`python -m tests.data.tokenizer_parity`",
            "writes this page.",
            f"\nExceptions: {NOT_ADDED}; {BARE}.\n",
            "| folder | equal | refused | both fail | exception |\n|---|---|---|---|---|",
            *lines,
            f"| all | {' | '.join(total)} |",
        ]
    )


if __name__ == "__main__":
    print(page())
