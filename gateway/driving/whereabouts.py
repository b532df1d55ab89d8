"""Where a foreign agent's run lives: the task and context that its items name. Pure.

Believes an agent about its first task, and about another only as the answer to a message.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.core.json import JsonObject
from gateway.core.record import Remote

ID_MAX: Final = 512  # characters of an id that an agent gives; ours take 36


# What is noted of where the items come from.
NOTES: Final[Mapping[str, str]] = {
    "new_task": "the agent goes on in a task of its own",
    "wrong_context": "the agent names another context, which is ignored",
}


class WrongTaskError(ValueError):
    """The agent sent something of another task; the text says what."""


def whereabouts(remote: Remote) -> JsonObject:
    """The contract's keys for where a run lives at its agent."""
    return {
        "task_id": remote.task_id,
        "context_id": remote.context_id,
        "remote_ref": remote.ref,
    }


class Place:
    """`remote` is where the run lives, as far as the items have told."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._strayed = False

    @property
    def ids(self) -> JsonObject:
        return {"task_id": self.remote.task_id, "context_id": self.remote.context_id}

    @property
    def agent(self) -> JsonObject:
        return {"agent_name": self.remote.agent, "agent_url": self.remote.agent_url}

    def learn_context(self, context_id: object) -> None:
        """The context of a bare message, which has no task."""
        if self.remote.task_id is None and (context := _id(context_id)):
            self.remote = replace(self.remote, context_id=context)

    def identify(self, task_id: object, context_id: object, *, fresh: bool) -> str | None:
        """Take in what an item says of itself; `fresh`: it is the first that a message brought
        about, so it may name a task of its own.

        Returns the reason to note where it is not what was expected: `new_task`, or once
        `wrong_context`, which is ignored. Raises: WrongTaskError.
        """
        known = self.remote
        if not isinstance(task_id, str) or not 0 < len(task_id) <= ID_MAX:
            what = f"it sent an item without a task id of at most {ID_MAX} characters"
            raise WrongTaskError(what)
        context = _id(context_id) or known.context_id
        moves = known.task_id not in (None, task_id)
        strays = known.context_id is not None and context != known.context_id
        if moves and (strays or not fresh):
            raise WrongTaskError(f"it sent an item of task {task_id!r}, not {known.task_id!r}")
        # The SDK's own server names a new context in answers to some follow-ups (a2a-python#1206).
        context = known.context_id if strays else context
        if (known.task_id, known.context_id) != (task_id, context):
            self.remote = replace(known, task_id=task_id, context_id=context)
        strays, self._strayed = strays and not self._strayed, strays or self._strayed
        return "new_task" if moves else "wrong_context" if strays else None


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= ID_MAX else None
