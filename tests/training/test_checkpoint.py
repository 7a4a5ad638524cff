"""The last complete checkpoint survives, whatever happens to the one that is being written."""

from __future__ import annotations

import errno
import importlib
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from patchword.data.loader import Position
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.training.checkpoint import TrainState, check_space, latest, seed_everything
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe


def make_state(depth: int = 1, seed: int = 0, width: int = 16) -> TrainState:
    torch.manual_seed(seed)
    family = families()["bert"]
    config = family.config(width=width, depth=depth, heads=2, hidden=32, vocab_size=30, max_length=8)
    model = Model(family, config, "masked_token")
    return TrainState(model, make_optimizer(model, Recipe(steps=9, lr=0.01)))


def learn(state: TrainState, steps: int = 3) -> TrainState:
    """Random gradients, which need no data."""
    for _ in range(steps):
        for parameter in state.model.parameters():
            parameter.grad = torch.randn_like(parameter)
        state.optimizer.step()
        state.step += 1
    return state


def tensors(state: TrainState) -> dict[str, torch.Tensor]:
    names = {id(p): name for name, p in state.model.named_parameters()}
    held = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    for parameter, values in state.optimizer.state.items():
        held |= {f"{names[id(parameter)]}/{key}": value.clone() for key, value in values.items()}
    return held


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# ------------------------------------------------------------------------------------------------ there and back


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    state = learn(make_state())
    state.position, state.tokens, state.seconds = Position(2, 17), 12345, 6.789
    state.best, state.best_step, state.since_best, state.evaluations = (0.1 + 0.2, -1e-300), 2, 1, 4
    state.save(tmp_path)
    held, drawn = tensors(state), torch.rand(5)

    other = make_state(seed=1)
    other.load(tmp_path / "step-00000003")
    assert torch.equal(torch.rand(5), drawn)  # the generator stands where it stood
    assert_equal(tensors(other), held)
    for name in ("step", "position", "tokens", "seconds", "best", "best_step", "since_best", "evaluations"):
        assert getattr(other, name) == getattr(state, name)
    assert other.model.head.scores.weight is other.model.trunk.embed.words.weight
    # And it goes on alike.
    torch.manual_seed(5)
    learn(state)
    torch.manual_seed(5)
    learn(other)
    assert_equal(tensors(other), tensors(state))


def test_a_state_without_an_evaluation_comes_back(tmp_path: Path) -> None:
    learn(make_state()).save(tmp_path)
    other = make_state(seed=1)
    other.load(tmp_path / "step-00000003")
    assert other.best is None


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    state = make_state()
    for _ in range(3):
        learn(state).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000009"]


def test_best_weights_of_a_discarded_future_are_not_taken(tmp_path: Path) -> None:
    state = learn(make_state(), 2)
    state.best, state.best_step = (0.5,), 2
    state.save_best(tmp_path)
    held = state.best_weights(tmp_path).read_bytes()
    state.save(tmp_path)
    learn(state, 2)
    state.best, state.best_step = (0.9,), 4
    state.save_best(tmp_path)  # and killed here, before the next checkpoint

    again = make_state(seed=1)
    again.load(tmp_path / "step-00000002")
    assert again.best_weights(tmp_path).read_bytes() == held
    learn(again, 3).save(tmp_path)
    assert [path.name for path in tmp_path.glob("best-*")] == ["best-00000002.safetensors"]


def test_the_newest_complete_one_is_found(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None
    learn(make_state(), 9).save(tmp_path)
    for torn in ("step-00000012", ".step-00000015.part"):
        (tmp_path / torn).mkdir()
        (tmp_path / torn / "state.safetensors").write_bytes(b"")
    found = latest(tmp_path)
    assert found
    assert found.name == "step-00000009"


def test_seeding_sets_every_generator() -> None:
    drawn = []
    for _ in range(2):
        seed_everything(2**33 + 1)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


# ------------------------------------------------------------------------------------------------ faults


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_in_safetensors() -> None:
    raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(call: Callable[[], object]) -> bool:
    """Do it in a child process, and say whether that was killed."""
    child = os.fork()
    if child == 0:
        try:
            call()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


WRITES = {
    "the tensors": ("patchword.training.checkpoint", "write_tensors", 1),
    "the file of tensors": ("patchword.models.folder", "save_file", 1),
    "the numbers": ("patchword.training.checkpoint", "write_json", 1),
    "the first flush": ("os", "fsync", 1),
    "the second flush": ("os", "fsync", 2),
    "the first name": ("os", "replace", 1),
    "the second name": ("os", "replace", 2),
    "the name of the folder": ("os", "replace", 3),
}
every_write = pytest.mark.parametrize("write", list(WRITES))


Fault = Callable[[str, Callable[[], None]], list[int]]


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Let something happen instead of one of the writes; the calls of it are counted."""

    def arm(write: str, event: Callable[[], None]) -> list[int]:
        place, name, number = WRITES[write]
        module = importlib.import_module(place)
        real, calls = getattr(module, name), []

        def watched(*arguments, **options):
            calls.append(1)
            if len(calls) == number:
                event()
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, watched)
        return calls

    return arm


@every_write
def test_a_full_disk_leaves_the_last_complete_one_and_says_so(
    write: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = learn(make_state())
    state.save(tmp_path)
    held = tensors(state)
    learn(state)
    calls = fault(write, full_in_safetensors if write == "the file of tensors" else full)
    with pytest.raises(UserError, match=r"step 6 .*No space left.*step-00000003 is complete.*patchword resume"):
        state.save(tmp_path)
    assert len(calls) == WRITES[write][2]
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    other = make_state(seed=1)
    found = latest(tmp_path)
    assert found
    other.load(found)
    assert_equal(tensors(other), held)
    state.save(tmp_path)  # after room was made
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]


@every_write
def test_a_kill_leaves_the_last_complete_one(
    write: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = learn(make_state())
    state.save(tmp_path)
    held = tensors(state)
    learn(state)
    fault(write, kill)
    assert killed(lambda: state.save(tmp_path))
    monkeypatch.undo()
    found = latest(tmp_path)
    assert found
    assert found.name == "step-00000003"
    other = make_state(seed=1)
    other.load(found)
    assert_equal(tensors(other), held)
    learn(other).save(tmp_path)  # what the kill left is in nobody's way
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["kill", "full disk"])
def test_the_same_step_saved_again_is_no_less_safe(
    kind: str, write: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's end saves its last step once more; until that is whole, the first is all there is."""
    state = learn(make_state())
    state.save(tmp_path)
    if kind == "full disk":
        fault(write, full)
        with pytest.raises(UserError):
            state.save(tmp_path)
    else:
        fault(write, kill)
        assert killed(lambda: state.save(tmp_path))
    monkeypatch.undo()
    found = latest(tmp_path)
    assert found
    other = make_state(seed=1)
    other.load(found)
    assert_equal(tensors(other), tensors(state))


@pytest.mark.parametrize(("steps", "removal"), [(3, 1), (3, 2), (3, 3), (0, 1), (0, 2), (0, 3), (0, 4)])
def test_a_kill_while_something_is_removed_is_in_nobodys_way(
    steps: int, removal: int, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it leaves is read, and the next checkpoints are written, of the same step and of later ones."""
    state = learn(make_state())
    state.save(tmp_path)
    learn(state, steps)
    monkeypatch.setitem(WRITES, "a removal", ("shutil", "rmtree", removal))
    fault("a removal", kill)
    assert killed(lambda: state.save(tmp_path))
    monkeypatch.undo()
    found = latest(tmp_path)
    assert found
    make_state(seed=1).load(found)
    state.save(tmp_path)
    learn(state).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{steps + 6:08d}"]


def test_a_first_checkpoint_that_fails_says_that_there_is_none(fault: Fault, tmp_path: Path) -> None:
    fault("the numbers", full)
    with pytest.raises(UserError, match="There is no checkpoint yet"):
        learn(make_state()).save(tmp_path)


def test_old_ones_are_removed_only_when_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = learn(make_state())
    state.save(tmp_path)
    real = shutil.rmtree

    def watched(path, *arguments, **options):
        if Path(path).name == "step-00000003":
            assert (tmp_path / "step-00000006" / "state.json").is_file()
        return real(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    learn(state).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]


# ------------------------------------------------------------------------------------------------ what does not fit


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_a_damaged_checkpoint_is_named(file: str, damage: str, tmp_path: Path) -> None:
    learn(make_state()).save(tmp_path)
    path = tmp_path / "step-00000003" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="step-00000003"):
        make_state().load(tmp_path / "step-00000003")


@pytest.mark.parametrize(
    ("depth", "width"),
    [
        (1, 32),
        (1, 16),
        pytest.param(
            3,
            16,
        ),
    ],
)
def test_the_checkpoint_of_another_model_is_refused(depth: int, width: int, tmp_path: Path) -> None:
    """A wider one, a deeper one, and a shallower one, which has no values for some of the layers."""
    learn(make_state(depth=2)).save(tmp_path)
    with pytest.raises(UserError, match="step-00000003"):
        make_state(depth=depth, width=width).load(tmp_path / "step-00000003")


def test_too_little_room_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = learn(make_state())
    state.save(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    check_space(tmp_path, state.model)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * size))
    with pytest.raises(UserError, match=r"GB free, but the run needs .* GB"):
        check_space(tmp_path, state.model)
