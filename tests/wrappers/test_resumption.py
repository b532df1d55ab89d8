"""Permissions that were given while nobody could take them are good once, for exactly that."""

from gateway.core.extension import ALLOW, DENY, Answer, PendingRequest
from gateway.core.json import JsonObject
from wrappers.adapter import Answered
from wrappers.resumption import Grants


def asks(request_id: str, command: str, tool: str = "Bash", **more: str) -> PendingRequest:
    return PendingRequest(
        request_id=request_id,
        kind="permission",
        text="May I?",
        tool=tool,
        input={"command": command, **more},
    )


def given(request: PendingRequest, option: str, updated: JsonObject | None = None) -> Answered:
    answer = Answer(request_id=request.request_id, option=option, updated_input=updated)
    return Answered(request=request, answer=answer)


def test_a_grant_is_good_once_and_for_the_same_tool_and_input_alone() -> None:
    grants = Grants([given(asks("r-1", "ls"), ALLOW)])

    assert grants.take(asks("r-2", "ls -a")) is None
    assert grants.take(asks("r-3", "ls", tool="Shell")) is None
    taken = grants.take(asks("r-4", "ls", description="other words"))
    assert taken is not None
    assert (taken.request_id, taken.choice) == ("r-4", ALLOW)
    assert grants.take(asks("r-5", "ls")) is None


def test_a_denial_grants_nothing() -> None:
    assert Grants([given(asks("r-1", "ls"), DENY)]).take(asks("r-2", "ls")) is None


def test_an_input_that_was_changed_is_granted_as_the_agent_was_told_it() -> None:
    # The agent is told to use the changed input, and was asked anew for doing so.
    changed: JsonObject = {"command": "ls -a"}
    same = Grants([given(asks("r-1", "ls"), ALLOW, changed)]).take(asks("r-2", "ls"))
    told = Grants([given(asks("r-1", "ls"), ALLOW, changed)]).take(asks("r-2", "ls -a"))

    assert same is not None
    assert same.updated_input == changed
    assert told is not None
    assert told.updated_input == changed
