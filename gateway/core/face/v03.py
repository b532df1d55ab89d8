"""A2A 0.3 in terms of 1.0: parameters on their way in, tasks and stream items on their way out.

Pure, JSON values alone. 0.3 has two forms, and `Old` speaks either: the JSON-RPC binding tags
everything with `kind`, the HTTP+JSON binding (`proto`) has protobuf's names. What does not fit is
handed on as it is: the readers of 1.0 refuse it by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.json import JsonObject

VERSION: Final = "0.3"
_ENDS: Final = frozenset(
    {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"}
)
_ASKS: Final = frozenset({"TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"})
_FILE_NAMES: Final = {  # (form, member of 1.0) -> member of 0.3
    False: {"url": "uri", "raw": "bytes"},
    True: {"url": "fileWithUri", "raw": "fileWithBytes"},
}
_KINDS: Final = {"statusUpdate": "status-update", "artifactUpdate": "artifact-update"}
_WHOLE_VALUE: Final = "data_part_compat"  # the SDK's mark on data that is no object


def _length(value: object) -> object:
    """0.3 has no limit where 1.0 has nought."""
    return None if value in (0, "0", "") else value


def _scheme(scheme: JsonObject) -> JsonObject:
    """A security scheme; ours are HTTP schemes or none."""
    return {"type": "http", **json.as_object(scheme.get("httpAuthSecurityScheme"))}


class Old:
    """One of the two forms of 0.3. `extended`: streams go on when the run asks somebody."""

    def __init__(self, *, proto: bool, extended: bool = False) -> None:
        self._proto = proto
        self._extended = extended

    # -- in --------------------------------------------------------------------------------------

    def send_params(self, params: object) -> object:
        """The parameters of message/send as SendMessage's."""
        if not isinstance(params, dict):
            return params
        given = cast("JsonObject", params)
        raw = given.get("message") or given.get("request")
        made = {**given, "message": self._message_in(raw)}
        if isinstance(given.get("configuration"), dict):
            made["configuration"] = self._configuration_in(given["configuration"])
        return made

    def _configuration_in(self, given: JsonObject) -> JsonObject:
        made = {"acceptedOutputModes": json.member(given, "acceptedOutputModes")}
        blocking = given.get("blocking", False if self._proto else None)  # protobuf has no absent
        if blocking is not None:
            made["returnImmediately"] = not blocking if isinstance(blocking, bool) else blocking
        made["historyLength"] = _length(json.member(given, "historyLength"))
        push = json.member(given, "pushNotification" if self._proto else "pushNotificationConfig")
        if push is not None:
            made["taskPushNotificationConfig"] = self._push_in(push)
        return json.merge_null(made)

    def task_params(self, params: object) -> object:
        """The parameters of tasks/get, tasks/cancel and tasks/resubscribe."""
        given = json.as_object(params)
        return {
            "id": given.get("id"),
            "historyLength": _length(json.member(given, "historyLength")),
        }

    def push_params(self, params: object) -> object:
        """The parameters of tasks/pushNotificationConfig/set."""
        given = json.as_object(params)
        config = json.as_object(given.get("config")) if self._proto else given
        made = self._push_in(json.member(config, "pushNotificationConfig"))
        if self._proto and (config_id := json.member(given, "configId")):
            made["id"] = config_id
        return {**made, "taskId": json.member(given, "taskId")}

    def push_target(self, params: object) -> object:
        """The parameters of tasks/pushNotificationConfig/get, /list and /delete."""
        given = json.as_object(params)
        if self._proto:
            return given
        return {
            "taskId": given.get("id"),
            "id": json.member(given, "pushNotificationConfigId"),
        }

    def _push_in(self, config: object) -> JsonObject:
        """A PushNotificationConfig as 1.0's, which has one scheme and not a list."""
        given = json.as_object(config)
        made = {name: given.get(name) for name in ("id", "url", "token")}
        if (auth := given.get("authentication")) is not None:
            login = json.as_object(auth)
            schemes = login.get("schemes")
            made["authentication"] = json.merge_null(
                {
                    "scheme": cast("list[object]", schemes)[0]
                    if isinstance(schemes, list) and schemes
                    else None,
                    "credentials": login.get("credentials"),
                }
            )
        return json.merge_null(made)

    def _message_in(self, message: object) -> object:
        if not isinstance(message, dict):
            return message
        given = cast("JsonObject", message)
        role = given.get("role")
        parts = given.get("content" if self._proto else "parts")
        return json.merge_null(
            {
                **given,
                "role": f"ROLE_{role}".upper() if role in ("user", "agent") else role,
                "parts": [self._part_in(part) for part in cast("list[object]", parts)]
                if isinstance(parts, list)
                else parts,
            }
        )

    def _part_in(self, part: object) -> object:
        given = json.as_object(part)
        kind = given.get("kind")
        if not self._proto and kind not in ("text", "data", "file"):
            return {"kind": kind}
        if "file" in given:
            file = json.as_object(given["file"])
            made = {name: json.member(file, old) for name, old in _FILE_NAMES[self._proto].items()}
            return json.merge_null(
                {
                    **made,
                    "filename": file.get("name"),
                    "mediaType": json.member(file, "mimeType"),
                }
            )
        if "data" in given:
            data = given["data"]
            data = json.as_object(data).get("data") if self._proto else data
            if json.as_object(given.get("metadata")).get(_WHOLE_VALUE):
                data = json.as_object(data).get("value")
            return {"data": data}
        return {"text": given.get("text")}

    # -- out -------------------------------------------------------------------------------------

    def sent(self, answer: JsonObject) -> JsonObject:
        """SendMessage's answer: the task or message itself, or (proto) in its wrapper."""
        ((name, value),) = answer.items()
        made = self.task(value) if name == "task" else self._message(value)
        return {name: made} if self._proto else made

    def task(self, task: JsonObject) -> JsonObject:
        made = {**task, "status": self._status(task["status"])}
        if "history" in task:
            made["history"] = [self._message(message) for message in task["history"]]
        if "artifacts" in task:
            made["artifacts"] = [self._artifact(artifact) for artifact in task["artifacts"]]
        return made if self._proto else {"kind": "task", **made}

    def item(self, body: bytes) -> bytes:
        """A stream item of 1.0, in JSON text, as 0.3's."""
        ((name, value),) = json.decode_object(body).items()
        if name in ("task", "message"):
            return json.dump(self.sent({name: value}))
        made: JsonObject = {**value}
        if name == "statusUpdate":
            state = value["status"]["state"]
            made["status"] = self._status(value["status"])
            made["final"] = state in _ENDS or (state in _ASKS and not self._extended)
        else:
            made["artifact"] = self._artifact(value["artifact"])
        return json.dump({name: made} if self._proto else {"kind": _KINDS[name], **made})

    def pushes(self, answer: JsonObject) -> object:
        """What lists the configs of a task."""
        configs = [self.push(config) for config in answer["configs"]]
        return {"configs": configs} if self._proto else configs

    def nothing(self, _answer: JsonObject) -> object:
        """What answers a deletion."""
        return {} if self._proto else None

    def card(self, card: JsonObject) -> JsonObject:
        """The agent card, with its addresses and its security where 0.3 has them."""
        moved = ("supportedInterfaces", "securitySchemes", "securityRequirements", "capabilities")
        made = {name: value for name, value in card.items() if name not in moved}
        listed: list[JsonObject] = card["supportedInterfaces"]
        first, *others = [item for item in listed if item["protocolVersion"] == VERSION] or listed
        able = {**card["capabilities"]}
        made |= {
            "protocolVersion": f"{VERSION}.0",
            "url": first["url"],
            "preferredTransport": first["protocolBinding"],
            "additionalInterfaces": [
                {"url": item["url"], "transport": item["protocolBinding"]} for item in others
            ],
            "supportsAuthenticatedExtendedCard": able.pop("extendedAgentCard", False),
            "capabilities": able,
        }
        if "securitySchemes" in card:
            schemes = card["securitySchemes"].items()
            made["securitySchemes"] = {name: _scheme(scheme) for name, scheme in schemes}
            made["security"] = [
                {name: scopes.get("list", []) for name, scopes in item["schemes"].items()}
                for item in card.get("securityRequirements", [])
            ]
        return made

    def push(self, config: JsonObject) -> JsonObject:
        """A TaskPushNotificationConfig."""
        made = {name: config.get(name) for name in ("id", "url", "token")}
        if (auth := config.get("authentication")) is not None:
            made["authentication"] = json.merge_null(
                {"schemes": [auth.get("scheme")], "credentials": auth.get("credentials")}
            )
        pushed = {"pushNotificationConfig": json.merge_null(made)}
        if self._proto:
            name = f"tasks/{config['taskId']}/pushNotificationConfigs/{config.get('id')}"
            return {"name": name, **pushed}
        return {"taskId": config["taskId"], **pushed}

    def _status(self, status: JsonObject) -> JsonObject:
        made = {**status, "state": self._state(status["state"])}
        if "message" in status:
            made["message"] = self._message(status["message"])
        return made

    def _state(self, state: str) -> str:
        if self._proto:
            return "TASK_STATE_CANCELLED" if state == "TASK_STATE_CANCELED" else state
        return state.removeprefix("TASK_STATE_").lower().replace("_", "-")

    def _message(self, message: JsonObject) -> JsonObject:
        parts = [self._part(part) for part in message["parts"]]
        if self._proto:
            return {**{k: v for k, v in message.items() if k != "parts"}, "content": parts}
        role = message["role"].removeprefix("ROLE_").lower()
        return {"kind": "message", **message, "role": role, "parts": parts}

    def _artifact(self, artifact: JsonObject) -> JsonObject:
        return {**artifact, "parts": [self._part(part) for part in artifact["parts"]]}

    def _part(self, part: Mapping[str, Any]) -> JsonObject:
        if "text" in part:
            return {"text": part["text"]} if self._proto else {"kind": "text", **part}
        if "data" in part:
            data, marked = part["data"], {}
            if not isinstance(data, dict):
                data, marked = {"value": data}, {"metadata": {_WHOLE_VALUE: True}}
            if self._proto:
                return {"data": {"data": data}, **marked}
            return {"kind": "data", "data": data, **marked}
        file = {old: part.get(name) for name, old in _FILE_NAMES[self._proto].items()}
        file |= {"name": part.get("filename"), "mimeType": part.get("mediaType")}
        made = {"file": json.merge_null(file)}
        return made if self._proto else {"kind": "file", **made}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a method of 0.3 is in 1.0. `result` None: it streams."""

    method: str
    params: Callable[[Old, object], object]
    result: Callable[[Old, JsonObject], object] | None


METHODS: Final[Mapping[str, Meaning]] = {
    "message/send": Meaning("SendMessage", Old.send_params, Old.sent),
    "message/stream": Meaning("SendStreamingMessage", Old.send_params, None),
    "tasks/get": Meaning("GetTask", Old.task_params, Old.task),
    "tasks/cancel": Meaning("CancelTask", Old.task_params, Old.task),
    "tasks/resubscribe": Meaning("SubscribeToTask", Old.task_params, None),
    "tasks/pushNotificationConfig/set": Meaning(
        "CreateTaskPushNotificationConfig", Old.push_params, Old.push
    ),
    "tasks/pushNotificationConfig/get": Meaning(
        "GetTaskPushNotificationConfig", Old.push_target, Old.push
    ),
    "tasks/pushNotificationConfig/list": Meaning(
        "ListTaskPushNotificationConfigs", Old.push_target, Old.pushes
    ),
    "tasks/pushNotificationConfig/delete": Meaning(
        "DeleteTaskPushNotificationConfig", Old.push_target, Old.nothing
    ),
    "agent/getAuthenticatedExtendedCard": Meaning(
        "GetExtendedAgentCard", Old.task_params, Old.card
    ),
}
