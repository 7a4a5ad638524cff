"""Tokenizers: what is trained or loaded here gives the ids that transformers gives from the same folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import SentencePieceUnigramTokenizer
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer, LlamaTokenizer, RobertaTokenizer
from transformers.convert_slow_tokenizer import SpmConverter
from transformers.tokenization_utils_base import generate_merges
from transformers.utils import sentencepiece_model_pb2_new as protobuf

from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer, vocabulary_size
from patchword.errors import UserError
from patchword.models.bert import FAMILY as BERT

TEXTS = [
    "A plain sentence, with a comma.",
    "",
    "   white \t space \n everywhere  ",
    "ÀÉÎÕÜ çñ ß æ -- accents and CASE",
    "e\u0301 as two code points, ﬁ as one, ½ and ² and Ⅷ",
    "東京と大阪 mixed with latin",
    "emoji 😀👩‍👩‍👧 and \u200bzero\u200dwidth\ufeff and \x00\x01 control \ufffd signs",
    "numbers 3.14159, 1,000,000 and a@b.example http://example.org/a?b=c&d=e",
    "special ones in the text: [MASK] [CLS] [SEP] [PAD] [UNK] [unused1]",
    'snake_case kebab-case CamelCase don\'t "quoted" `code` $100 #tag',
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101 + " " + "y" * 300,
    "مرحبا שלום привет γειά नमस्ते ไทย",
    " one space before and two after  ",
    "line\nline\r\n\n\tindented <s> </s> <0x41> <|endoftext|> ▁ Ġ",
]

STYLE = BERT.tokenizer
STYLES = {
    "wordpiece": STYLE,
    "begin": TokenizerStyle("bpe", {"bos": "<|begin|>", "eos": "<|end|>"}, before=("bos",)),
    "bare": TokenizerStyle("bpe", {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}, huggingface="GPT2Tokenizer"),
    "encoder": TokenizerStyle(
        "bpe",
        {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>", "bos": "<s>", "eos": "</s>"},
        before=("cls",),
        after=("sep",),
        between=("sep", "sep"),
        huggingface="RobertaTokenizer",
    ),
    "sentinels": TokenizerStyle(
        "unigram", {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, after=("eos",), sentinels=20
    ),
    "unigram": TokenizerStyle(
        "unigram", {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, before=("bos",), lowercase=True
    ),
}


def framed(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [[*tokenizer.before, *ids.tolist(), *tokenizer.after] for ids in tokenizer.encode(texts)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_opens_what_is_trained_here(lowercase: bool, corpus: list[str], tmp_path: Path) -> None:
    tokenizer = train_tokenizer([*corpus, *TEXTS * 5], replace(STYLE, lowercase=lowercase), 500)
    tokenizer.save(tmp_path, 128)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, *corpus[:50]]
    assert framed(tokenizer, texts) == [theirs(text)["input_ids"] for text in texts]
    assert (theirs.vocab_size, theirs.model_max_length) == (tokenizer.vocab_size, 128)
    ids = tuple(tokenizer.id(role) for role in STYLE.special)
    names = ("pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
    assert ids == tuple(getattr(theirs, name) for name in names)
    assert len(set(ids)) == 5


@pytest.fixture(scope="module")
def trained(corpus: list[str]) -> dict[str, Tokenizer]:
    """A vocabulary of 400 in each style."""
    return {name: train_tokenizer(corpus, style, 400) for name, style in STYLES.items()}


@pytest.mark.parametrize("name", STYLES)
def test_transformers_opens_every_style(
    name: str, trained: dict[str, Tokenizer], corpus: list[str], tmp_path: Path
) -> None:
    tokenizer, style = trained[name], STYLES[name]
    tokenizer.save(tmp_path, 64)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, *corpus[:50]]
    assert framed(tokenizer, texts) == [theirs(text)["input_ids"] for text in texts]
    assert (len(theirs), theirs.model_max_length) == (400, 64) == (tokenizer.vocab_size, 64)
    for role in style.special:
        assert tokenizer.id(role) == getattr(theirs, f"{role}_token_id")
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.roles.items() >= tokenizer.roles.items()  # a class of transformers may have more
    assert again.sentinels == tokenizer.sentinels
    assert (again.before, again.after) == (tokenizer.before, tokenizer.after)
    assert np.array_equal(again.is_special, tokenizer.is_special)


@pytest.mark.parametrize("name", STYLES)
def test_a_pair_is_framed_as_transformers_does(name: str, trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    """With a separator put between the texts, where there is none, too."""
    trained[name].save(tmp_path, 64)
    tokenizer = Tokenizer.load(tmp_path)
    for number, ours in enumerate([tokenizer, tokenizer.with_separator(), tokenizer.open_ended()]):
        ours.save(tmp_path, 64)
        theirs = AutoTokenizer.from_pretrained(tmp_path)
        for first, second in [("bababa zuzuzu", "a, b"), ("x", "y"), ("", "yyy")]:
            a, b = ours.encode([first, second])
            expected = theirs(first, second, return_token_type_ids=True)
            assert ours.pair.put(a, b).tolist() == expected["input_ids"]
            assert ours.pair.token_types(len(a), len(b)).tolist() == expected["token_type_ids"]
            assert ours.single.put(a).tolist() == theirs(first)["input_ids"]
            if number == 1 and name in ("bare", "begin", "unigram"):
                assert ours.pair.parts[1] == (ours.id("eos"),)
            if number == 2:
                assert not ours.after


@pytest.mark.parametrize("name", STYLES)
def test_special_tokens_come_first_and_sentinels_last(name: str, trained: dict[str, Tokenizer]) -> None:
    tokenizer, style = trained[name], STYLES[name]
    special = list(dict.fromkeys(style.special.values()))
    assert [tokenizer.token(i) for i in range(len(special))] == special
    assert tokenizer.sentinels == tuple(399 - i for i in range(style.sentinels))
    assert [tokenizer.token(i) for i in tokenizer.sentinels] == [f"<extra_id_{i}>" for i in range(style.sentinels)]
    assert np.flatnonzero(tokenizer.is_special).tolist() == sorted([*range(len(special)), *tokenizer.sentinels])
    assert tokenizer.before == tuple(tokenizer.id(role) for role in style.before)
    assert tokenizer.after == tuple(tokenizer.id(role) for role in style.after)


def test_a_missing_role_is_told_with_those_that_are_there(trained: dict[str, Tokenizer]) -> None:
    assert not trained["bare"].has("mask")
    with pytest.raises(UserError, match=r"no mask token.*bos, eos"):
        trained["bare"].id("mask")
    assert trained["bare"].pad == trained["bare"].id("eos")


@given(text=st.text())
def test_bytes_give_any_text_back(text: str, trained: dict[str, Tokenizer]) -> None:
    assert trained["begin"].decode(trained["begin"].encode([text])[0]) == text


@given(text=st.text().filter(lambda text: "▁" not in text and not text.startswith(" ")))
def test_a_unigram_vocabulary_spells_any_text(text: str, trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["sentinels"]
    (ids,) = tokenizer.encode([text])
    assert tokenizer.id("unk") not in ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    ("name", "text", "starts"),
    [
        ("begin", "bababa zuzuzu, 12 x\ny", "bababa| zuzuzu|,| 12| x|\ny"),
        ("sentinels", "bababa zuzuzu, 12 x\ny", "bababa| zuzuzu|,| 12| x|\ny"),
    ],
)
def test_pieces_go_on_with_a_word_until_white_space_or_punctuation(
    name: str, text: str, starts: str, trained: dict[str, Tokenizer]
) -> None:
    (ids,) = trained[name].encode([text])
    first = np.flatnonzero(~trained[name].continues_word[ids])
    parts = [trained[name].decode(part) for part in np.split(ids, first[first > 0])]
    assert [part.strip(" ") for part in parts] == [part.strip(" ") for part in starts.split("|")]


def test_unigram_spells_with_few_pieces(corpus: list[str], trained: dict[str, Tokenizer]) -> None:
    """Within 10 % of the pieces that the trainer of `tokenizers` needs with a vocabulary of the same size."""
    theirs = SentencePieceUnigramTokenizer()
    ours = trained["sentinels"]
    theirs.train_from_iterator(corpus, 400 - 256 - 22, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>")
    assert sum(map(len, ours.encode(corpus))) < 1.1 * sum(len(theirs.encode(text).ids) for text in corpus)


@given(text=st.text(max_size=60))
def test_any_text_gives_the_ids_that_transformers_gives(text: str, shared: tuple) -> None:
    tokenizer, theirs = shared
    assert framed(tokenizer, [text]) == [theirs(text)["input_ids"]]


@pytest.fixture(scope="module")
def shared(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder, 64)
    return tokenizer, AutoTokenizer.from_pretrained(folder)


def test_a_pair_of_texts_is_framed_as_transformers_frames_it(shared: tuple) -> None:
    tokenizer, theirs = shared
    ours, expected = tokenizer.backend.encode("ba be", "do"), theirs("ba be", "do")
    assert (ours.ids, ours.type_ids) == (expected["input_ids"], expected["token_type_ids"])


def test_a_saved_tokenizer_comes_back_equal(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path, 64)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint() == tokenizer.fingerprint()
    assert framed(again, TEXTS) == framed(tokenizer, TEXTS)
    lines = (tmp_path / "vocab.txt").read_text("utf-8").splitlines()
    assert lines == [tokenizer.token(i) for i in range(tokenizer.vocab_size)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_an_old_folder_with_nothing_but_a_word_list(lowercase: bool, corpus: list[str], tmp_path: Path) -> None:
    trained = train_tokenizer([*corpus, *TEXTS * 5], replace(STYLE, lowercase=lowercase), 500)
    trained.save(tmp_path, 64)
    (tmp_path / "tokenizer.json").unlink()
    if lowercase:  # the default of a folder without settings
        (tmp_path / "tokenizer_config.json").unlink()
    theirs = BertTokenizer.from_pretrained(tmp_path, do_lower_case=lowercase)
    assert framed(Tokenizer.load(tmp_path), TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


@pytest.mark.parametrize("name", STYLES)
def test_the_same_text_gives_the_same_vocabulary_in_every_process(
    name: str, corpus_file: Path, trained: dict[str, Tokenizer]
) -> None:
    program = (
        "import sys; from pathlib import Path; from patchword.data.tokenizers import *;"
        f"print(train_tokenizer(Path(sys.argv[1]).read_text('utf-8').splitlines(), {STYLES[name]}, 400).fingerprint())"
    )
    other = subprocess.run([sys.executable, "-c", program, corpus_file], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == trained[name].fingerprint()


@pytest.mark.parametrize("name", ["wordpiece", "begin", "unigram"])
def test_pieces_that_are_equally_frequent_are_chosen_alike_every_time(name: str) -> None:
    """Each word stands here once, so that wherever the vocabulary ends, as many pieces are in as out by a tie."""
    random = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]
    words = ["".join(random.choice(syllables, 3)) for _ in range(300)]
    documents = [" ".join(words[i : i + 10]) for i in range(0, 300, 10)]
    bytes_apart = 0 if name == "wordpiece" else 256
    for size in range(100, 400, 50):
        learnt = [train_tokenizer(documents, STYLES[name], size + bytes_apart) for _ in range(4)]
        assert len({tokenizer.fingerprint() for tokenizer in learnt}) == 1, size


def test_other_vocabularies_have_other_fingerprints(corpus: list[str], tokenizer: Tokenizer) -> None:
    others = [train_tokenizer(corpus, STYLE, 300), train_tokenizer(corpus, replace(STYLE, lowercase=False), 400)]
    assert len({one.fingerprint() for one in [tokenizer, *others]}) == 3


def test_a_vocabulary_has_the_size_asked_for(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 400
    assert [tokenizer.token(i) for i in range(5)] == list(STYLE.special.values())
    assert np.flatnonzero(tokenizer.is_special).tolist() == [0, 1, 2, 3, 4]
    pieces = {tokenizer.token(i) for i in np.flatnonzero(tokenizer.continues_word)}
    assert pieces == {token for token in tokenizer.backend.get_vocab() if token.startswith("##")}
    assert 20 < len(pieces) < 395


def test_every_word_of_the_corpus_is_spelt_without_unknown_pieces(corpus: list[str], tokenizer: Tokenizer) -> None:
    assert not any((ids == tokenizer.id("unk")).any() for ids in tokenizer.encode(corpus))
    # Words come back; a space before the full stop does not.
    decoded = [tokenizer.decode(ids).replace(" .", ".") for ids in tokenizer.encode(corpus)]
    assert decoded == [text.lower() for text in corpus]


def test_the_size_chosen_grows_slower_than_the_text() -> None:
    sizes = [vocabulary_size(10**n) for n in range(3, 11)]
    assert sizes == sorted(sizes)
    assert all(size % 32 == 0 for size in sizes)
    assert vocabulary_size(10**6) == pytest.approx(4000, rel=0.03)
    assert vocabulary_size(10**9) == pytest.approx(30528, rel=0.03)


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("documents", [[], [""], ["  \n "]])
def test_a_text_without_words_teaches_nothing(documents: list[str], name: str) -> None:
    with pytest.raises(UserError, match="no words"):
        train_tokenizer(documents, STYLES[name])


@pytest.mark.parametrize("name", ["begin", "sentinels"])
def test_a_size_without_room_for_the_bytes_is_told(name: str, corpus: list[str]) -> None:
    with pytest.raises(UserError, match="250 is too small"):
        train_tokenizer(corpus, STYLES[name], 250)


def test_a_size_without_room_for_the_letters_is_told() -> None:
    texts = ["ab ba abab"]  # a, b, ##a, ##b
    least = len(STYLE.special) + 4
    with pytest.raises(UserError, match=f"{least - 1} is too small: .* are {least}"):
        train_tokenizer(texts, STYLE, least - 1)
    assert train_tokenizer(texts, STYLE, least).vocab_size == least


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, "", "neither tokenizer.json nor vocab.txt"),
        ("tokenizer.json", "{", "can not be read"),
        ("tokenizer.model", "no protobuf", "can not be read"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_told(
    name: str | None, content: str, words: str, tmp_path: Path
) -> None:
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        Tokenizer.load(tmp_path)


def test_padding_and_truncation_that_a_folder_asks_for_are_not_done(minilm: Path, tmp_path: Path) -> None:
    settings = json.loads((minilm / "tokenizer.json").read_text("utf-8"))
    assert settings["truncation"]["max_length"] < 200
    text = "word " * 300
    theirs = AutoTokenizer.from_pretrained(minilm)(text, truncation=False)["input_ids"]
    shutil.copy(minilm / "tokenizer.json", tmp_path)
    assert framed(Tokenizer.load(tmp_path), [text]) == [theirs]
    assert [len(ids) for ids in Tokenizer.load(tmp_path).encode(["a", "a b c"])] == [1, 3]


def test_the_vocabulary_of_bert_itself(real_data: Path) -> None:
    folder = real_data / "tokenizers" / "bert-uncased"
    theirs = BertTokenizer.from_pretrained(folder)
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.vocab_size == 30522
    assert framed(tokenizer, TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


def test_the_vocabulary_of_gpt2_itself(real_data: Path) -> None:
    folder = real_data / "tokenizers" / "gpt2"
    theirs = GPT2Tokenizer.from_pretrained(folder)
    tokenizer = Tokenizer.load(folder)
    assert (tokenizer.vocab_size, tokenizer.before, tokenizer.after) == (50257, (), ())
    assert tokenizer.id("bos") == tokenizer.id("eos") == tokenizer.pad == 50256
    assert framed(tokenizer, TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


def test_an_old_encoder_folder_of_byte_pairs(trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    trained["encoder"].save(tmp_path, 64)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer, theirs = Tokenizer.load(tmp_path), RobertaTokenizer.from_pretrained(tmp_path)
    assert framed(tokenizer, TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]
    assert tokenizer.roles == trained["encoder"].roles


@pytest.mark.parametrize("said", [{}, {"add_bos_token": False}, {"add_bos_token": True}])
def test_an_old_decoder_folder_of_byte_pairs(
    said: dict[str, bool], trained: dict[str, Tokenizer], tmp_path: Path
) -> None:
    """OPT's, whose texts begin with an end token, and GPT-2's, whose do not."""
    trained["begin"].save(tmp_path, 64)
    (tmp_path / "tokenizer.json").unlink()
    roles = {"bos_token": "<|end|>", "eos_token": "<|end|>", "unk_token": "<|end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **roles, **said}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert framed(Tokenizer.load(tmp_path), TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


def test_a_real_sentencepiece_model(real_data: Path, tmp_path: Path) -> None:
    """Read with protobuf's own reader, and built as transformers builds it."""
    folder = real_data / "tokenizers" / "mistral-v1-sentencepiece"
    proto = protobuf.ModelProto()
    proto.ParseFromString((folder / "tokenizer.model").read_bytes())
    vocabulary = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.vocab_size == len(vocabulary) == 32000
    assert (tokenizer.before, tokenizer.after) == ((1,), ())
    assert [tokenizer.id(role) for role in ("unk", "bos", "eos")] == [0, 1, 2]
    plain = [text for text in TEXTS if "<s>" not in text]
    spm = SpmConverter.build_tokenizer_from_spm_proto(proto, vocabulary)
    assert [ids.tolist() for ids in tokenizer.encode(plain)] == [spm.encode(text).ids for text in plain]
    llama = LlamaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary), add_bos_token=True)
    unspaced = [text for text in plain if not text.startswith(" ")]  # before a space it puts no other one
    assert framed(tokenizer, unspaced) == [llama(text)["input_ids"] for text in unspaced]
    tokenizer.save(tmp_path, 64)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert framed(tokenizer, TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


@pytest.mark.parametrize("strip", [True, False])
def test_a_sentencepiece_model_of_the_other_kind(strip: bool, trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    """Written with protobuf's own writer: Unigram, with sentinels that only the settings know."""
    proto = protobuf.ModelProto()
    settings = json.loads(trained["sentinels"].backend.to_str())["model"]
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    for token, score in settings["vocab"][:-20]:
        kind = kinds.get(token, 6 if token.startswith("<0x") else 1)
        proto.pieces.add(piece=token, score=score, type=kind)
    proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback = 2, True
    proto.normalizer_spec.remove_extra_whitespaces = strip
    (tmp_path / "tokenizer.model").write_bytes(proto.SerializeToString())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 20, "eos_token": {"content": "</s>"}}))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.sentinels, tokenizer.vocab_size) == (trained["sentinels"].sentinels, 400)
    assert (tokenizer.before, tokenizer.after) == ((), (1,))
    spm = SpmConverter.build_tokenizer_from_spm_proto(proto, [(piece.piece, piece.score) for piece in proto.pieces])
    plain = [text for text in TEXTS if "</s>" not in text]
    assert [ids.tolist() for ids in tokenizer.encode(plain)] == [spm.encode(text).ids for text in plain]
