"""Which task reads which setting: `Task.heeds` says it, and what is set and not read is refused here."""

from __future__ import annotations

from collections.abc import Collection

from patchword.errors import UserError
from patchword.tasks.task import Task, tasks


def readers_of(setting: str) -> list[str]:
    """Names of the tasks that read a setting; none where it does not depend on the task."""
    return [name for name, kind in tasks().items() if setting in kind.heeds]


def refuse_unread(given: Collection[str], kind: type[Task]) -> None:
    """Refuse settings that only other tasks read.

    Args:
        given: names of settings that the user set.
        kind: the task that is to read them.

    Raises:
        UserError: it does not read one of them.
    """
    for setting in sorted(set(given) - set(kind.heeds)):
        if readers := readers_of(setting):
            raise UserError(f"{setting}: {kind.name} has no use for it; it is for {', '.join(readers)}. Leave it out.")
