"""Tokenizer classes of `transformers` 5, which build a tokenizer anew from a vocabulary.

`AutoTokenizer` takes from `tokenizer.json` the vocabulary, the merges and, where the class has none of its own, the
post-processor; the normalizer, the pre-tokenizer and the decoder are those of the class, with the settings of
`tokenizer_config.json`. Only `PreTrainedTokenizerFast` (today `TokenizersBackend`) reads `tokenizer.json` as it is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from patchword.errors import UserError

Settings = Mapping[str, Any]
Named = Mapping[str, str]

AS_IT_IS = "PreTrainedTokenizerFast"
"""The class that reads `tokenizer.json` as it is."""
WORD_PIECES = "BertTokenizer"
"""The class of a `vocab.txt` in a folder that names none."""
REFUSED: Mapping[str, Any] = {"fix_mistral_regex": False, "init_inputs": []}
"""Settings with the value that changes nothing; they are refused with any other."""
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend", "PythonBackend")


@dataclass(frozen=True)
class TokenizerClass:
    """How a class builds its tokenizer.

    Args:
        model: the kind of vocabulary that it needs.
        special: the tokens of roles that the settings leave out.
        parts: called with the settings and the normalizer of `tokenizer.json` (JSON, if any); gives normalizer,
            pre-tokenizer and decoder.
        attributes: of the model, which the class sets whatever the file says; `unk_token` is the role "unk" where True.
        processor: its own post-processor by the named tokens and their ids; None: the one of `tokenizer.json`.
        token_types: whether the model is given token types, unless `model_input_names` says otherwise.
        files: those that the class reads where there is no `tokenizer.json`.
        extra: special tokens besides, where the settings name none.
        restates: whether special tokens lose their flags: they are added once more, by their spelling.
    """

    model: type[models.Model]
    special: Named
    parts: Callable[[Settings, Any], tuple[Any, Any, Any]]
    attributes: Mapping[str, Any]
    processor: Callable[[Settings, Named, Mapping[str, int]], processors.PostProcessor] | None = None
    token_types: bool = False
    files: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    restates: bool = False

    def build(self, model: models.Model, normalizer: Any, settings: Settings, unknown: str) -> Backend:
        """A tokenizer without added tokens and without a post-processor.

        Args:
            model: the vocabulary.
            normalizer: that of `tokenizer.json`, as JSON.
            settings: of `tokenizer_config.json`.
            unknown: the unknown token.

        Raises:
            ValueError: the vocabulary is of another kind.
        """
        if not isinstance(model, self.model):
            raise ValueError(f"the class needs a {self.model.__name__} vocabulary, not {type(model).__name__}")
        if isinstance(model, models.Unigram):
            place = self.attributes["unk_id"]
            model = _unigram(model, (model.token_to_id(unknown) or 0) if place is None else place)
        else:
            for name, value in self.attributes.items():
                wanted = unknown if value is True and name == "unk_token" else value
                if (getattr(model, name) or None) != (wanted or None):  # "" is spelt null in some files
                    setattr(model, name, wanted)
        backend = Backend(model)
        normalize, split, decoder = self.parts(settings, normalizer)
        if normalize is not None:
            backend.normalizer = normalize
        backend.pre_tokenizer = split
        backend.decoder = decoder
        return backend


def class_of(settings: Settings, config: Settings, byte_level: Callable[[], bool]) -> str:
    """The name of the class that `AutoTokenizer` builds; `AS_IT_IS` for `tokenizer.json` as it is.

    Args:
        settings: of `tokenizer_config.json`.
        config: `config.json`.
        byte_level: called for a Llama's tokenizer: whether its `tokenizer.json` works on bytes.

    Raises:
        UserError: the class is not supported.
    """
    stated = str(settings.get("tokenizer_class") or config.get("tokenizer_class") or "").removesuffix("Fast")
    usual = _USUAL.get(str(config.get("model_type")))
    if stated == "LlamaTokenizer" and (usual == AS_IT_IS or byte_level()):
        return AS_IT_IS
    if usual == AS_IT_IS or stated in _GENERIC:
        return AS_IT_IS
    name = stated or usual or AS_IT_IS
    name = _ALIASES.get(name, name)
    if name != AS_IT_IS and name not in CLASSES:
        raise UserError(
            f"The tokenizer class {stated[:60]} (tokenizer_config.json) is not supported; supported are "
            f"{', '.join(sorted([*CLASSES, *_ALIASES, AS_IT_IS]))}. If the folder's tokenizer.json is to be read as it "
            f"is, set tokenizer_class to {AS_IT_IS}."
        )
    return name


def class_of_bytes(vocabulary: Mapping[str, int], settings: Settings) -> str:
    """The class of a `vocab.json` with `merges.txt` in a folder that names none.

    Raises:
        UserError: it is no vocabulary of bytes.
    """
    if any(token.endswith("</w>") for token in vocabulary):
        raise UserError(
            "vocab.json: its words end in </w>. Name the tokenizer's class in tokenizer_config.json "
            '("tokenizer_class": "OpenAIGPTTokenizer" or "HerbertTokenizer").'
        )
    # An encoder with such files is a RoBERTa or a BART.
    encoder = "add_bos_token" not in settings and "<mask>" in vocabulary
    return "RobertaTokenizer" if encoder else "GPT2Tokenizer"


# Of the model types that are supported here: what transformers builds where no class is named.
_USUAL = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "bart": "RobertaTokenizer",
    "gpt2": "GPT2Tokenizer",
    "opt": "GPT2Tokenizer",
    "openai-gpt": "OpenAIGPTTokenizer",
    "qwen3": "Qwen2Tokenizer",
    "t5": "T5Tokenizer",
    "modernbert": AS_IT_IS,
    "mistral": AS_IT_IS,
    "mixtral": AS_IT_IS,
}
_ALIASES = {
    "ElectraTokenizer": "BertTokenizer",
    "MobileBertTokenizer": "BertTokenizer",
    "LayoutLMTokenizer": "BertTokenizer",
    "SqueezeBertTokenizer": "BertTokenizer",
    "BartTokenizer": "RobertaTokenizer",
    "LongformerTokenizer": "RobertaTokenizer",
    "LEDTokenizer": "RobertaTokenizer",
}


def _unigram(model: models.Unigram, unknown: int) -> models.Unigram:
    """The same vocabulary, its unknown token at that id and without bytes."""
    state = bytes(model.__getstate__())
    if re.match(rb'\{"type":"Unigram","unk_id":%d,' % unknown, state) and state.endswith(b'"byte_fallback":false}'):
        return model
    return models.Unigram([(token, score) for token, score in json.loads(state)["vocab"]], unknown, False)


def _charsmap(normalizer: Any) -> normalizers.Normalizer | None:
    """SentencePiece's own table of characters, if `tokenizer.json` has one."""
    steps = (normalizer or {}).get("normalizers", [normalizer])
    found = (step["precompiled_charsmap"] for step in steps if step and step.get("type") == "Precompiled")
    table = next(found, None)
    return None if table is None else normalizers.Precompiled(base64.b64decode(table))


def _bert(settings: Settings, _: Any) -> tuple[Any, Any, Any]:
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    return normalizer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix="##")


def _byte_level(settings: Settings, _: Any) -> tuple[Any, Any, Any]:
    split = pre_tokenizers.ByteLevel(add_prefix_space=settings.get("add_prefix_space", False))
    return None, split, decoders.ByteLevel()


_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _qwen(settings: Settings, _: Any) -> tuple[Any, Any, Any]:
    prefix = settings.get("add_prefix_space") or False
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
        ]
    )
    return normalizers.NFC(), split, decoders.ByteLevel()


def _llama(settings: Settings, _: Any) -> tuple[Any, Any, Any]:
    prefix = settings.get("add_prefix_space")
    prefix = True if prefix is None else prefix
    scheme = "never" if not prefix else "always" if settings.get("legacy", False) else "first"
    split = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return None, split, decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)


def _pieces(settings: Settings, normalizer: Any, always: bool) -> tuple[Any, Any, Any]:
    """Words at white space, each with a "▁" before it."""
    scheme = "always" if always or settings.get("add_prefix_space", True) else "never"
    metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    return _charsmap(normalizer), split, decoders.Metaspace(replacement="▁", prepend_scheme=scheme)


def _ends_of_words(settings: Settings, _: Any, normalizer: normalizers.Normalizer) -> tuple[Any, Any, Any]:
    return normalizer, pre_tokenizers.BertPreTokenizer(), decoders.BPEDecoder(suffix="</w>")


def _cls_sep(settings: Settings, named: Named, ids: Mapping[str, int]) -> processors.PostProcessor:
    cls, sep = named["cls"], named["sep"]
    return processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )


def _roberta(settings: Settings, named: Named, ids: Mapping[str, int]) -> processors.PostProcessor:
    cls, sep = named["cls"], named["sep"]
    trim, prefix = settings.get("trim_offsets", True), settings.get("add_prefix_space", False)
    return processors.RobertaProcessing((sep, ids[sep]), (cls, ids[cls]), trim, prefix)


def _bos_eos(settings: Settings, named: Named, ids: Mapping[str, int]) -> processors.PostProcessor:
    bos, eos = named["bos"], named["eos"]
    return processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(bos, ids[bos]), (eos, ids[eos])],
    )


def _t5(settings: Settings, named: Named, ids: Mapping[str, int]) -> processors.PostProcessor:
    # The template spells "</s>"; the id is that of the role.
    return processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", ids[named["eos"]])]
    )


def _herbert(settings: Settings, named: Named, ids: Mapping[str, int]) -> processors.PostProcessor:
    sep, cls = named.get("sep", "</s>"), named.get("cls", "<s>")
    return processors.BertProcessing((sep, 2), (cls, 0))  # these ids, whatever the vocabulary says


_PLAIN_BPE = {"dropout": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False}
_PLAIN_BPE |= {"unk_token": None, "byte_fallback": False, "ignore_merges": False}
_WORD_END_BPE = {**_PLAIN_BPE, "end_of_word_suffix": "</w>", "unk_token": True}
_BRACKETS = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ANGLES = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
_END = "<|endoftext|>"
_NOT_USED = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")

PAIRS = ("vocab.json", "merges.txt")
PIECES = ("tokenizer.model", "spiece.model")

_BERT = TokenizerClass(
    models.WordPiece, _BRACKETS, _bert, {"unk_token": True}, _cls_sep, token_types=True, files=("vocab.txt",)
)
CLASSES: Mapping[str, TokenizerClass] = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": replace(_BERT, token_types=False),
    "GPT2Tokenizer": TokenizerClass(
        models.BPE, {"bos": _END, "eos": _END, "unk": _END}, _byte_level, _PLAIN_BPE, files=PAIRS
    ),
    "RobertaTokenizer": TokenizerClass(models.BPE, _ANGLES, _byte_level, _PLAIN_BPE, _roberta, files=PAIRS),
    "Qwen2Tokenizer": TokenizerClass(
        models.BPE, {"eos": _END, "unk": _END, "pad": _END}, _qwen, _PLAIN_BPE, files=PAIRS, restates=True
    ),
    "LlamaTokenizer": TokenizerClass(
        models.BPE,
        {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
        _llama,
        {**_PLAIN_BPE, "fuse_unk": True, "byte_fallback": True},
        files=PIECES,
    ),
    "OpenAIGPTTokenizer": TokenizerClass(
        models.BPE,
        {"unk": "<unk>"},
        partial(_ends_of_words, normalizer=normalizers.BertNormalizer(lowercase=True)),
        _WORD_END_BPE,
        files=PAIRS,
    ),
    "HerbertTokenizer": TokenizerClass(
        models.BPE,
        {"cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"},
        partial(_ends_of_words, normalizer=normalizers.BertNormalizer(lowercase=False, strip_accents=False)),
        _WORD_END_BPE,
        _herbert,
        files=PAIRS,
    ),
    "XLMRobertaTokenizer": TokenizerClass(
        models.Unigram, _ANGLES, partial(_pieces, always=False), {"unk_id": 3}, _bos_eos
    ),
    "CamembertTokenizer": TokenizerClass(
        models.Unigram, _ANGLES, partial(_pieces, always=False), {"unk_id": None}, _bos_eos, extra=_NOT_USED
    ),
    "T5Tokenizer": TokenizerClass(
        models.Unigram,
        {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"},
        partial(_pieces, always=True),
        {"unk_id": 2},
        _t5,
        files=PIECES,
        extra=tuple(f"<extra_id_{number}>" for number in range(100)),
    ),
}
"""By name. `transformers` 5.24, `models/*/tokenization_*.py`."""
