"""What is true when a run stops before its end: what is saved, and how to continue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from patchword.data.atomic import NO_ROOM
from patchword.errors import UserError
from patchword.training.checkpoint import latest
from patchword.training.loop import Interrupted
from patchword.training.run import RunFolder
from patchword.training.seeds import finished, places


@contextmanager
def guarded(folder: RunFolder) -> Iterator[None]:
    """Report an interruption or a write that failed together with what the folder holds at that moment.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
        UserError: a file could not be written.
    """
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"Stopped. {saved(folder)}") from None
    except OSError as error:
        where = str(error.filename or folder.path)
        if error.errno not in NO_ROOM and not where.startswith(str(folder.path)):
            raise
        what = f"{where} could not be written: {error.strerror or error}."
        room = " Make room." if error.errno in NO_ROOM else ""
        raise UserError(f"{what}{room} {saved(folder)}") from error


def saved(folder: RunFolder) -> str:
    """What of a run is on the disk, and the command that continues it, in sentences."""
    earlier = "" if folder.path == folder.out else f" The earlier run in {folder.out} is unchanged."
    if not folder.begun:
        return f"Nothing is saved yet; run the same command again.{earlier}"
    seeds = places(folder.path, folder.read_config().runs)
    done = sum(finished(place) for place in seeds)
    if done == len(seeds) > 1:
        state = f"All {done} seeds are trained"
    else:
        checkpoint = latest(seeds[done] / "checkpoints")
        of_seed = "" if len(seeds) == 1 else f" of seed {done + 1} (of {len(seeds)})"
        state = (
            f"Step {int(checkpoint.name[5:13])}{of_seed} is saved in {checkpoint}"
            if checkpoint
            else f"There is no checkpoint{of_seed} yet, so it starts again from step 0"
        )
    return f"{state}; continue with: patchword resume {folder.out}.{earlier}"
