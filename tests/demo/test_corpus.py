"""The demo's data: parsed and not imported, names struck out, parts by content, nothing of the test in stage 1."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path

import pytest

from patchword.data.documents import Documents
from patchword.data.sources import read_labelled
from patchword.demo import corpus
from patchword.errors import UserError


def make_package(folder: Path, name: str, docs: int, subject: str) -> None:
    """A package that can not be imported, with functions that have docstrings, some of them in tests."""
    package = folder / name
    (package / "inner").mkdir(parents=True)
    (package / "tests").mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    for number in range(4):
        body = "".join(
            f'def f{i}():\n    """Number {i * 4 + number} of {name}: {subject} and more of it.\n\n    '
            f'It takes {subject} apart in {i} steps, and says so in words enough to be a row.\n    """\n'
            for i in range(docs // 4)
        )
        (package / "inner" / f"m{number}.py").write_text(body)
    (package / "tests" / "t.py").write_text(
        f'"""A docstring of a test of {name}, which must not be read. {"x" * 99}"""\n'
    )
    (package / "broken.py").write_text("def f(:\n")
    (package / "latin.py").write_bytes(b'"""\xff"""\n')


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, subject in (("torch_like", "tensors"), ("pandas_like", "tables"), ("small_like", "nothing")):
        make_package(tmp_path / "site", name, 8 if name == "small_like" else 200, subject)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    names = {"torch": "torch_like", "pandas": "pandas_like", "small": "small_like", "absent": "not_installed_at_all"}
    monkeypatch.setattr(corpus, "LABELS", names)
    monkeypatch.setattr(corpus, "OTHERS", ("neither_installed",))
    monkeypatch.setattr(corpus, "_ROWS", {"test": 20, "validation": 6, "pool": 40})


def normalised(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("import numpy as np; np.zeros(3)", "import  as ; .zeros(3)"),
        ("NumPy, SciPy and scikit-learn (sklearn)", ",  and  ()"),
        ("torch.nn, PyTorch's torchvision and __torch_function__", ".nn, 's vision and ___function__"),
        ("plt.plot with matplotlib.pyplot", ".plot with ."),
        ("pd.DataFrame of pandas, nx.Graph of NetworkX, SymPy", ".DataFrame of , .Graph of , "),
        ("Hugging Face's transformers", "'s "),
        ("input, spline, respd, unpack a transformer", "input, spline, respd, unpack a transformer"),
    ],
)
def test_names_are_struck_out_and_nothing_else(text, left):
    assert corpus.struck(text) == left


def test_docstrings_are_those_that_ast_finds():
    source = inspect.getsource(json.decoder) + inspect.getsource(inspect) + inspect.getsource(ast)
    source = source.replace("from __future__ import annotations", "")
    expected = [
        ast.get_docstring(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert sorted(corpus.docstrings(source)) == sorted(text for text in expected if text)
    assert len(list(corpus.docstrings(source))) > 100


def test_docstrings_inside_of_any_statement():
    source = (
        "if x:\n    class A:\n        '''a'''\nelse:\n    def b():\n        '''b'''\n"
        "try:\n    pass\nexcept E:\n    def c():\n        '''c'''\nfinally:\n    async def d():\n        '''d'''\n"
        "with y:\n    def e():\n        '''e'''\n        def f():\n            '''f'''\n"
    )
    assert list(corpus.docstrings(source)) == ["a", "b", "c", "d", "e", "f"]
    assert list(corpus.docstrings("def f(:")) == []
    assert list(corpus.docstrings("x = '\0'")) == []


def test_python_s_own_topics_are_there():
    topics = corpus.topics()
    assert len(topics) > 50
    assert any("Format String Syntax" in topic for topic in topics)


@pytest.mark.usefixtures("packages")
def test_packages_are_read_without_importing_them(tmp_path: Path):
    files = corpus.package_files("torch_like")
    assert "torch_like" not in sys.modules
    root = tmp_path / "site" / "torch_like"
    assert {path.relative_to(root).as_posix() for path in files} == {
        "__init__.py", "broken.py", "latin.py", "inner/m0.py", "inner/m1.py", "inner/m2.py", "inner/m3.py",
    }  # fmt: skip
    assert corpus.package_files("not_installed_at_all") == []
    texts = corpus.read_package("torch_like")
    assert len(texts) == 200
    assert not any("torch" in text or "must not be read" in text for text in texts)


@pytest.mark.usefixtures("packages")
def test_order_does_not_follow_the_alphabet_or_the_place_of_installation(tmp_path: Path, monkeypatch):
    first = [path.name for path in corpus.package_files("torch_like")]
    assert first != sorted(first)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "site" / "torch_like").rename(moved / "torch_like")
    monkeypatch.syspath_prepend(str(moved))
    assert [path.name for path in corpus.package_files("torch_like")] == first


@pytest.mark.usefixtures("packages")
def test_a_package_gives_so_much_and_no_more(monkeypatch):
    monkeypatch.setattr(corpus, "PACKAGE_CHARACTERS", 3000)
    monkeypatch.setattr(corpus, "PACKAGE_TEXTS", 60)
    assert 60 <= len(corpus.read_package("torch_like")) < 200
    monkeypatch.setattr(corpus, "PACKAGE_CHARACTERS", 10**9)
    assert len(corpus.read_package("torch_like")) == 200


def test_rows_are_cut_at_a_word():
    text = "word " * 200
    row = corpus.row_of(text)
    assert len(row) <= corpus.ROW_CHARACTERS
    assert row.split() == ["word"] * len(row.split())
    assert corpus.row_of(" a\n  b ") == "a b"


def test_parts_are_shares_of_a_hash_of_the_content():
    parts = [corpus.part_of(f"row {i}") for i in range(4000)]
    assert parts == [corpus.part_of(f"row {i}") for i in range(4000)]
    assert abs(parts.count("test") / 4000 - corpus.TEST_SHARE) < 0.03
    assert abs(parts.count("validation") / 4000 - corpus.VALIDATION_SHARE) < 0.03


def test_split_is_balanced_disjoint_and_does_not_move_when_a_class_is_added(monkeypatch):
    monkeypatch.setattr(corpus, "_ROWS", {"test": 30, "validation": 9, "pool": 60})
    texts = {label: [f"{label} number {i}" for i in range(200)] for label in "abc"}
    texts["a"].append("said by both")
    texts["b"].append("said by both")
    parts = corpus.split_rows(texts)
    for part, count in {"test": 10, "validation": 3, "pool": 20}.items():
        assert [sum(row.label == label for row in parts[part]) for label in "abc"] == [count] * 3
    rows = [row.text for part in parts.values() for row in part]
    assert len(rows) == len(set(rows))
    assert "said by both" not in rows
    more = corpus.split_rows(texts | {"d": [f"d number {i}" for i in range(200)], "few": ["too few"]})
    assert {row.label for row in more["pool"]} == set("abcd")
    where = {row.text: part for part, chosen in parts.items() for row in chosen}
    for part, chosen in more.items():
        assert all(where.get(row.text, part) == part for row in chosen)


def test_documents_with_a_test_row_in_them_are_left_out():
    row = corpus.Row("Compute the mean of all values along an axis, leaving out those that are no numbers at all.", "a")
    inside = (
        "Another function.\n\n    Compute the mean of all values\n      along an axis, leaving out those that are no\n"
        "    numbers at all.\n"
    )
    other = "Compute the mean of all values along an axis, but keep those that are no numbers."
    assert corpus.without([inside, other, row.text], [row]) == [other]


@pytest.mark.usefixtures("packages")
def test_pretraining_text_holds_no_test_row(tmp_path: Path):
    data = corpus.write_text(tmp_path / "out")
    assert data.labels == ("pandas", "torch")
    text = normalised(data.pretrain.read_text("utf-8").replace("\\n", " "))
    assert len(data.test_rows) == 20
    assert data.left_out >= 20
    assert not any(row.text in text for row in data.test_rows)
    assert sum(row.text in text for row in data.pool_rows) == len(data.pool_rows) == 40


@pytest.mark.usefixtures("packages")
def test_files_are_what_the_commands_read_and_the_same_every_time(tmp_path: Path):
    data, again = corpus.write_text(tmp_path / "a"), corpus.write_text(tmp_path / "b")
    for name in ("pretrain", "train", "validation", "test"):
        assert getattr(data, name).read_bytes() == getattr(again, name).read_bytes()
    rows = read_labelled(data.test)
    assert [*zip(rows.inputs, rows.labels or (), strict=True)] == [(row.text, row.label) for row in data.test_rows]
    assert sum(1 for _ in Documents(data.pretrain)) == data.documents


def test_no_packages_no_demo(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus, "LABELS", {"absent": "not_installed_at_all"})
    monkeypatch.setattr(corpus, "OTHERS", ())
    with pytest.raises(UserError, match="two or more of these packages"):
        corpus.write_text(tmp_path)
