"""A2A 0.3 in terms of 1.0, on the calling side: params on their way out, results on their way in.

Pure, JSON values alone. 0.3 has two forms: the JSON-RPC binding tags everything with `kind`, the
HTTP+JSON binding (`proto`) has protobuf's names; agents mix them, so what comes in is read in
either. What cannot be read is handed on as it is: nothing is dropped or guessed.

Not the SDK's conversions: they refuse a whole stream for one state or field they do not know, and
make every number of a data part a float.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.core.json import JsonObject, as_object, merge_null

METHODS: Final[Mapping[str, str]] = {  # 0.3, section 7; ListTasks came with 1.0
    "SendMessage": "message/send",
    "SendStreamingMessage": "message/stream",
    "GetTask": "tasks/get",
    "CancelTask": "tasks/cancel",
    "SubscribeToTask": "tasks/resubscribe",
}
_KINDS: Final = {
    "task": "task",
    "message": "message",
    "status-update": "statusUpdate",
    "artifact-update": "artifactUpdate",
}
_WRAPPED: Final = ("task", "message", "msg", "statusUpdate", "artifactUpdate")
_WHOLE_VALUE: Final = "data_part_compat"  # the SDK's mark on data that is no object


# -- out -----------------------------------------------------------------------------------------


def old_params(params: JsonObject, *, proto: bool) -> JsonObject:
    """The params of a method of 1.0 as 0.3's."""
    made = {**params}
    if isinstance(params.get("message"), dict):
        message = _message_out(as_object(made.pop("message")), proto=proto)
        made["request" if proto else "message"] = message
    if isinstance(params.get("configuration"), dict):
        made["configuration"] = _configuration_out(params["configuration"])
    if params.get("historyLength") == 0:
        made.pop("historyLength")  # 0.3 has no limit where 1.0 has nought
    return made


def _configuration_out(given: JsonObject) -> JsonObject:
    return merge_null(
        {
            "acceptedOutputModes": given.get("acceptedOutputModes"),
            "historyLength": given.get("historyLength") or None,
            "blocking": not given.get("returnImmediately", False),
        }
    )


def _message_out(message: JsonObject, *, proto: bool) -> JsonObject:
    parts = [_part_out(as_object(part), proto=proto) for part in message.get("parts") or ()]
    made = {name: value for name, value in message.items() if name != "parts"}
    if proto:
        return {**made, "content": parts}
    role = str(message.get("role")).removeprefix("ROLE_").lower()
    return {"kind": "message", **made, "role": role, "parts": parts}


def _part_out(part: JsonObject, *, proto: bool) -> JsonObject:
    metadata = part.get("metadata")
    if "text" in part:
        made: JsonObject = {"kind": "text", "text": part["text"]}
    elif "data" in part:
        data = part["data"]
        if not isinstance(data, dict):
            data, metadata = {"value": data}, {**as_object(metadata), _WHOLE_VALUE: True}
        made = {"kind": "data", "data": {"data": data} if proto else data}
    else:
        uri, raw = ("fileWithUri", "fileWithBytes") if proto else ("uri", "bytes")
        file = {uri: part.get("url"), raw: part.get("raw"), "name": part.get("filename")}
        file["mimeType"] = part.get("mediaType")
        made = {"kind": "file", "file": merge_null(file)}
    if proto:
        del made["kind"]
    return merge_null({**made, "metadata": metadata})


# -- in ------------------------------------------------------------------------------------------


def new_item(item: JsonObject) -> JsonObject:
    """A stream item, or the answer of message/send, as 1.0's."""
    kind = _KINDS.get(str(item.get("kind"))) or _guessed(item)
    if kind is not None:
        return {kind: _named(kind, item)}
    for name in _WRAPPED:
        if isinstance(item.get(name), dict):
            kind = "message" if name == "msg" else name
            return {kind: _named(kind, as_object(item[name]))}
    return item


def _guessed(item: JsonObject) -> str | None:
    """What an item without `kind` is, by the members that its shape requires."""
    if "messageId" in item:
        return "message"
    if "taskId" in item:
        return "artifactUpdate" if "artifact" in item else "statusUpdate"
    return "task" if "id" in item and "status" in item else None


def _named(kind: str, value: JsonObject) -> JsonObject:
    match kind:
        case "task":
            return new_task(value)
        case "message":
            return _message_in(value)
        case "statusUpdate":
            made = {name: held for name, held in value.items() if name not in ("kind", "final")}
            return {**made, "status": _status_in(value.get("status"))}
        case _:
            made = {name: held for name, held in value.items() if name != "kind"}
            return {**made, "artifact": _artifact_in(value.get("artifact"))}


def new_task(task: JsonObject) -> JsonObject:
    """A task as 1.0's."""
    made = {name: value for name, value in task.items() if name != "kind"}
    made["status"] = _status_in(task.get("status"))
    for name, read in (("history", _message_in), ("artifacts", _artifact_in)):
        if isinstance(task.get(name), list):
            made[name] = [read(one) for one in cast("list[Any]", task[name])]
    return made


def _status_in(status: object) -> JsonObject:
    given = as_object(status)
    made = {**given, "state": _state_in(given.get("state"))}
    # The proto form calls it `update` where it was generated from the file of 0.3.0.
    if message := as_object(made.pop("update", None) or given.get("message")):
        made["message"] = _message_in(message)
    return made


def _state_in(state: object) -> object:
    if not isinstance(state, str):
        return state
    name = state.removeprefix("TASK_STATE_").upper().replace("-", "_")
    return f"TASK_STATE_{'CANCELED' if name == 'CANCELLED' else name}"


def _message_in(message: object) -> JsonObject:
    given = as_object(message)
    made = {name: value for name, value in given.items() if name not in ("kind", "content")}
    if isinstance(role := given.get("role"), str):
        made["role"] = f"ROLE_{role.removeprefix('ROLE_').upper()}"
    made["parts"] = _parts_in(given.get("parts") or given.get("content"))
    return made


def _artifact_in(artifact: object) -> JsonObject:
    given = as_object(artifact)
    return {**given, "parts": _parts_in(given.get("parts"))}


def _parts_in(parts: object) -> list[Any]:
    if not isinstance(parts, list):
        return []
    return [_part_in(as_object(part)) for part in cast("list[Any]", parts)]


def _part_in(part: JsonObject) -> JsonObject:
    made = {name: value for name, value in part.items() if name not in ("kind", "type")}
    if "file" in part:
        file = as_object(made.pop("file"))
        made |= {
            "url": file.get("uri") or file.get("fileWithUri"),
            "raw": file.get("bytes") or file.get("fileWithBytes"),
            "mediaType": file.get("mimeType") or file.get("mime_type"),
            "filename": file.get("name"),
        }
    elif "data" in part:
        data = as_object(part["data"])
        if "kind" not in part and set(data) == {"data"}:
            data = data["data"]
        metadata = {**as_object(part.get("metadata"))}
        if metadata.pop(_WHOLE_VALUE, False):
            data = as_object(data).get("value")
        made |= {"data": data, "metadata": metadata or None}
        return {name: value for name, value in made.items() if value is not None or name == "data"}
    return merge_null(made)
