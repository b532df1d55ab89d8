"""An event of an agent of ours -> the event of our log, with its payloads fetched.

Knows the extension's data, no stream and no run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from gateway.core import events
from gateway.core.events import Event, MessageAdded, RunStarted, StatusChanged
from gateway.core.extension import URI
from gateway.core.face.cards import JSONRPC_PATH
from gateway.core.json import JsonObject, as_object
from gateway.core.record import Remote
from gateway.core.redact import Payload
from gateway.core.status import TASK_STATES, RunStatus
from gateway.driving.whereabouts import whereabouts
from gateway.link.jsonrpc import JsonRpcEndpoint

REMOTE_BACKEND: Final = "remote_a2a"  # its events say more of where they come from


def copied(type_: str, data: JsonObject, remote: Remote, backend: str) -> Event:
    """The event; status events say where the run lives. One we do not know is kept raw.

    Raises: ValueError (a status that is none).
    """
    try:
        event = events.decode(type_, data)
    except (events.UnknownEventTypeError, TypeError):
        return MessageAdded(role="agent", extra={"raw": {"type": type_, "data": data}})
    if not isinstance(event, RunStarted | StatusChanged):
        return event
    found = whereabouts(remote)
    if backend == REMOTE_BACKEND and isinstance(event, RunStarted):
        found |= {"agent_name": remote.agent, "agent_url": remote.agent_url}
    elif backend == REMOTE_BACKEND and isinstance(event, StatusChanged):
        found["state"] = TASK_STATES[RunStatus(event.status)]
    return replace(event, extra={**event.extra, **found})


async def payloads(
    endpoint: JsonRpcEndpoint, task_id: str, seq: int, refs: Mapping[str, JsonObject]
) -> list[Payload]:
    """What the agent's log split off an event: it is stored here too, in the event's own
    transaction. Raises: GatewayError."""
    base = endpoint.rpc_url.removesuffix(JSONRPC_PATH)
    where = f"{base}/tasks/{quote(task_id, safe='')}/events/{seq}/payload?pointer="
    found: list[Payload] = []
    for pointer, ref in refs.items():
        content = await endpoint.link.get(where + quote(pointer, safe=""))
        mime = str(ref.get("mime") or "text/plain")
        found.append(Payload(pointer=pointer, mime=mime, content=content))
    return found


def facts_of(task: JsonObject) -> JsonObject:
    """What the agent's server says of a task's log and of where it stands."""
    return as_object(as_object(task.get("metadata")).get(URI))


async def place_of(endpoint: JsonRpcEndpoint, task_id: str) -> int | None:
    """Where a task stands in the agent's queue; None when it does not. Raises: GatewayError."""
    task = await endpoint.call("GetTask", {"id": task_id, "historyLength": 0})
    place = facts_of(task).get("queue_place")
    return place if isinstance(place, int) else None
