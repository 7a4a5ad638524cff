"""Word pieces: what is trained or loaded here gives the ids that transformers gives from the same folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer

from patchword.data.tokenizers import SPECIAL, Tokenizer, train_wordpiece, vocabulary_size
from patchword.errors import UserError

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
]


def framed(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [[tokenizer.cls, *ids.tolist(), tokenizer.sep] for ids in tokenizer.encode(texts)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_opens_what_is_trained_here(lowercase: bool, corpus: list[str], tmp_path: Path) -> None:
    tokenizer = train_wordpiece([*corpus, *TEXTS * 5], 500, lowercase)
    tokenizer.save(tmp_path, 128)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, *corpus[:50]]
    assert framed(tokenizer, texts) == [theirs(text)["input_ids"] for text in texts]
    assert (theirs.vocab_size, theirs.model_max_length) == (tokenizer.vocab_size, 128)
    ids = (tokenizer.pad, tokenizer.unk, tokenizer.cls, tokenizer.sep, tokenizer.mask)
    names = ("pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
    assert ids == tuple(getattr(theirs, name) for name in names)
    assert len(set(ids)) == 5


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
    trained = train_wordpiece([*corpus, *TEXTS * 5], 500, lowercase)
    trained.save(tmp_path, 64)
    (tmp_path / "tokenizer.json").unlink()
    if lowercase:  # the default of a folder without settings
        (tmp_path / "tokenizer_config.json").unlink()
    theirs = BertTokenizer.from_pretrained(tmp_path, do_lower_case=lowercase)
    assert framed(Tokenizer.load(tmp_path), TEXTS) == [theirs(text)["input_ids"] for text in TEXTS]


def test_the_same_text_gives_the_same_vocabulary_in_every_process(
    corpus: list[str], corpus_file: Path, tokenizer: Tokenizer
) -> None:
    program = (
        "import sys; from pathlib import Path; from patchword.data.tokenizers import train_wordpiece as train;"
        "print(train(Path(sys.argv[1]).read_text('utf-8').splitlines(), 400).fingerprint())"
    )
    other = subprocess.run([sys.executable, "-c", program, corpus_file], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == tokenizer.fingerprint() == train_wordpiece(corpus, 400).fingerprint()


def test_pieces_that_are_equally_frequent_are_chosen_alike_every_time() -> None:
    """Each word stands here once, so that wherever the vocabulary ends, as many pieces are in as out by a tie."""
    random = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]
    words = ["".join(random.choice(syllables, 3)) for _ in range(300)]
    documents = [" ".join(words[i : i + 10]) for i in range(0, 300, 10)]
    for size in range(100, 400, 50):
        assert len({train_wordpiece(documents, size).fingerprint() for _ in range(4)}) == 1, size


def test_other_vocabularies_have_other_fingerprints(corpus: list[str], tokenizer: Tokenizer) -> None:
    others = [train_wordpiece(corpus, 300), train_wordpiece(corpus, 400, lowercase=False)]
    assert len({one.fingerprint() for one in [tokenizer, *others]}) == 3


def test_a_vocabulary_has_the_size_asked_for(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 400
    assert [tokenizer.token(i) for i in range(5)] == list(SPECIAL.values())
    assert np.flatnonzero(tokenizer.is_special).tolist() == [0, 1, 2, 3, 4]
    pieces = {tokenizer.token(i) for i in np.flatnonzero(tokenizer.continues_word)}
    assert pieces == {token for token in tokenizer.backend.get_vocab() if token.startswith("##")}
    assert 20 < len(pieces) < 395


def test_every_word_of_the_corpus_is_spelt_without_unknown_pieces(corpus: list[str], tokenizer: Tokenizer) -> None:
    assert not any((ids == tokenizer.unk).any() for ids in tokenizer.encode(corpus))
    # Words come back; a space before the full stop does not.
    decoded = [tokenizer.decode(ids).replace(" .", ".") for ids in tokenizer.encode(corpus)]
    assert decoded == [text.lower() for text in corpus]


def test_the_size_chosen_grows_slower_than_the_text() -> None:
    sizes = [vocabulary_size(10**n) for n in range(3, 11)]
    assert sizes == sorted(sizes)
    assert all(size % 32 == 0 for size in sizes)
    assert vocabulary_size(10**6) == pytest.approx(4000, rel=0.03)
    assert vocabulary_size(10**9) == pytest.approx(30528, rel=0.03)


@pytest.mark.parametrize("documents", [[""], ["  \n "]])
def test_a_text_without_words_teaches_nothing(documents: list[str]) -> None:
    with pytest.raises(UserError, match="no words"):
        train_wordpiece(documents)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, "", "neither tokenizer.json nor vocab.txt"),
        ("tokenizer.json", "{", "can not be read"),
        ("vocab.txt", "[PAD]\n[UNK]\n[MASK]\n[SEP]\nthe\n", r"no \[CLS\] token"),
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
