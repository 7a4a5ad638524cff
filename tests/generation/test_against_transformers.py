"""Token for token what transformers writes with the same weights; prompts of unequal length together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from patchword.generation.beams import write_beams
from patchword.generation.sampling import write_tokens
from patchword.generation.settings import Generation
from patchword.generation.write import ends_of
from patchword.generation.writer import Writer
from patchword.models.folder import read_model
from tests.models.parity import Case, all_cases

WRITERS = [case for case in all_cases() if case.way_out == "next_token"]
every_writer = pytest.mark.parametrize("case", WRITERS, ids=lambda case: case.name)
NEW = 9


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both models of every case, opened once."""
    made = {}
    for case in WRITERS:
        folder = tmp_path_factory.mktemp("model")
        theirs = case.model()
        theirs.save_pretrained(folder)
        ours = read_model(folder).model.eval()
        ours.generation = {}  # what each test asks for is all that counts here
        made[case.name] = (ours, theirs)
    return made


def prompts(case: Case) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    lengths = [2, 3, 3, 7, 8]
    return [torch.randint(5, case.config["vocab_size"], (n,), generator=generator).tolist() for n in lengths]


def of_transformers(theirs: Any, prompt: list[int], end: int | None, **how: Any) -> list[int]:
    ids = torch.tensor([prompt])
    config = transformers.GenerationConfig(
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=0,
        bos_token_id=None,
        decoder_start_token_id=getattr(theirs.config, "decoder_start_token_id", None),
        # Their cache keeps nothing of a window of one token, and fails for a decoder that is deeper than its encoder.
        use_cache=getattr(theirs.config, "sliding_window", None) != 1 and not theirs.config.is_encoder_decoder,
        **how,
    )
    theirs.generation_config = config
    written = theirs.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0].tolist()
    written = written[1:] if theirs.config.is_encoder_decoder else written[len(prompt) :]
    return written[: written.index(end) + 1] if end in written else written


def likely_end(case: Case, pairs: dict[str, Any]) -> int:
    """A token that is written early, so that some texts end and others go on."""
    _, theirs = pairs[case.name]
    return of_transformers(theirs, prompts(case)[0], None)[2]


@every_writer
@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_greedy(case: Case, penalty: float, pairs: dict[str, Any]) -> None:
    ours, theirs = pairs[case.name]
    end = likely_end(case, pairs)
    how = Generation(max_new_tokens=NEW, repetition_penalty=penalty)
    with torch.inference_mode():
        written = write_tokens(Writer(ours, prompts(case), NEW), how, {end})
        expected = [of_transformers(theirs, p, end, repetition_penalty=penalty) for p in prompts(case)]
    assert written == expected
    assert len(written[0]) < NEW or penalty > 1.0  # one has ended before the others


@every_writer
@pytest.mark.parametrize(
    ("beams", "length_penalty", "penalty"),
    [(2, 1.0, 1.0), (4, 0.0, 1.0), (3, 2.0, 1.0), (3, -1.0, 1.0), (3, 1.0, 1.3)],
)
def test_beams(case: Case, beams: int, length_penalty: float, penalty: float, pairs: dict[str, Any]) -> None:
    ours, theirs = pairs[case.name]
    end = likely_end(case, pairs)
    how = Generation(max_new_tokens=NEW, beams=beams, length_penalty=length_penalty, repetition_penalty=penalty)
    options = {"num_beams": beams, "length_penalty": length_penalty, "repetition_penalty": penalty}
    with torch.inference_mode():
        written = write_beams(Writer(ours, prompts(case), NEW), how, {end})
        expected = [of_transformers(theirs, p, end, **options) for p in prompts(case)]
    assert written == expected


@every_writer
def test_several_end_tokens(case: Case, pairs: dict[str, Any]) -> None:
    ours, _ = pairs[case.name]
    with torch.inference_mode():
        plain = write_tokens(Writer(ours, prompts(case), NEW), Generation(max_new_tokens=NEW), ())
        ends = {plain[0][1], plain[1][3]}
        written = write_tokens(Writer(ours, prompts(case), NEW), Generation(max_new_tokens=NEW), ends)
    for text, whole in zip(written, plain, strict=True):
        first = min((whole.index(end) for end in ends if end in whole), default=len(whole) - 1)
        assert text == whole[: first + 1]


def test_the_end_tokens_of_a_config(tmp_path: Path) -> None:
    case = next(case for case in WRITERS if case.family == "gpt2")
    for end, expected in ((2, (2,)), ([2, 3], (2, 3)), (None, ())):
        theirs = case.model()
        theirs.config.eos_token_id = end
        theirs.generation_config.eos_token_id = end
        theirs.save_pretrained(tmp_path)
        assert ends_of(read_model(tmp_path).model) == expected
