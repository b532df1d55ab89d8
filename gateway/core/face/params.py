"""What a caller asks: the parameters of the operations, read as ProtoJSON reads them.

Pure: JSON values in, values out, or InvalidParamsError that names the field. Names come in
camelCase or snake_case, numbers also as strings, enums by name or number; unknown members are
ignored. What a required field lacks is told in the words of the SDK's own validation.
"""

import base64
import binascii
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NoReturn, cast

from a2a.types import TaskState
from a2a.utils.errors import InvalidParamsError

from gateway.core import json, messages
from gateway.core.bounds import DATA_MAX, check_size
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, FilePart, InvalidMessageError, Message, Part
from gateway.core.status import STATUS_OF_STATE, RunStatus

PAGE_DEFAULT: Final = 50  # specification 3.1.4
PAGE_MAX: Final = 100
_INT32: Final = 2**31
_INTEGER: Final = re.compile(r"-?\d{1,10}")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_REQUIRED: Final = "Field is required."
_EMPTY: Final = "Field must contain at least one element."
_STATES: Final = {number: name for name, number in TaskState.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SendParams:
    """SendMessage and SendStreamingMessage. `push` is a TaskPushNotificationConfig."""

    message: Message
    task_id: str | None
    context_id: str | None
    metadata: JsonObject | None
    history: int | None
    return_immediately: bool
    push: JsonObject | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskParams:
    """GetTask, CancelTask, SubscribeToTask. `history` None: as many as the server likes."""

    id: str
    history: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParams:
    """ListTasks. `changed_after` is unix microseconds."""

    context_id: str | None
    status: RunStatus | None
    page_size: int
    page_token: str | None
    history: int
    changed_after: int | None
    artifacts: bool


def read_send(value: object) -> SendParams:
    """Raises: InvalidParamsError."""
    fields = Fields(value)
    raw = fields.object("message")
    if raw is None:
        _lacking([("message", _REQUIRED)])
    said = Fields(raw, "message.")
    configuration = Fields(fields.object("configuration"), "configuration.")
    push = configuration.object("taskPushNotificationConfig")
    lacking = _lacks_message(raw)
    if push is not None and not push.get("url"):
        lacking.append(("configuration.task_push_notification_config.url", _REQUIRED))
    if lacking:
        _lacking(lacking)
    return SendParams(
        message=_bounded(raw),
        task_id=said.text("taskId") or None,
        context_id=said.text("contextId") or None,
        metadata=_whole(fields.object("metadata")),
        history=configuration.history(),
        return_immediately=configuration.flag("returnImmediately"),
        push=push,
    )


def read_task(value: object) -> TaskParams:
    """Raises: InvalidParamsError."""
    fields = Fields(value)
    run_id = fields.text("id")
    if not run_id:
        _lacking([("id", _REQUIRED)])
    return TaskParams(id=run_id, history=fields.history())


def read_list(value: object) -> ListParams:
    """Raises: InvalidParamsError."""
    fields = Fields(value)
    size = fields.number("pageSize")
    if size is not None and not 1 <= size <= PAGE_MAX:
        raise InvalidParamsError(f"pageSize is a number from 1 to {PAGE_MAX}", _facts("pageSize"))
    return ListParams(
        context_id=fields.text("contextId") or None,
        status=fields.status(),
        page_size=PAGE_DEFAULT if size is None else size,
        page_token=fields.text("pageToken") or None,
        history=fields.history() or 0,
        changed_after=fields.time("statusTimestampAfter"),
        artifacts=fields.flag("includeArtifacts"),
    )


class Fields:
    """The members of one JSON object, by type; `at` is its path in refusals."""

    def __init__(self, value: object, at: str = "") -> None:
        if value is not None and not isinstance(value, dict):
            _wrong(at.rstrip(".") or "params", "an object")
        self._members = cast("JsonObject", value) if value is not None else {}
        self._at = at

    def text(self, name: str) -> str:
        """Empty when absent, as protobuf has it."""
        value = json.member(self._members, name)
        if value is not None and not isinstance(value, str):
            _wrong(self._at + name, "a string")
        return value or ""

    def object(self, name: str) -> JsonObject | None:
        value = json.member(self._members, name)
        if value is not None and not isinstance(value, dict):
            _wrong(self._at + name, "an object")
        return cast("JsonObject | None", value)

    def flag(self, name: str) -> bool:
        value = json.member(self._members, name)
        if value is not None and not isinstance(value, bool):
            _wrong(self._at + name, "true or false")
        return bool(value)

    def number(self, name: str) -> int | None:
        """A whole number of 32 bits; ProtoJSON allows 7, 7.0 and "7"."""
        value = json.member(self._members, name)
        if value is None:
            return None
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            _wrong(self._at + name, "a whole number")
        if not -_INT32 <= value < _INT32:
            _wrong(self._at + name, "a number of 32 bits")
        return value

    def history(self) -> int | None:
        length = self.number("historyLength")
        if length is not None and length < 0:
            raise InvalidParamsError(
                "history length must be non-negative", _facts(f"{self._at}historyLength")
            )
        return length

    def status(self) -> RunStatus | None:
        value = json.member(self._members, "status")
        name = _STATES.get(value, value) if isinstance(value, int) else value
        if name is None or name in ("", "TASK_STATE_UNSPECIFIED"):
            return None
        if not isinstance(name, str) or name not in STATUS_OF_STATE:
            _wrong(f"{self._at}status", f"one of {', '.join(STATUS_OF_STATE)}")
        return STATUS_OF_STATE[name]

    def time(self, name: str) -> int | None:
        """Unix microseconds of an RFC 3339 time."""
        text = self.text(name)
        if not text:
            return None
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            _wrong(self._at + name, "a time such as 2026-11-22T10:00:00Z")
        return round(at.timestamp() * 1_000_000)


# -- messages ----------------------------------------------------------------------------------


def _lacks_message(raw: JsonObject) -> list[tuple[str, str]]:
    """What a message has to have and has not: (field, why)."""
    lacking: list[tuple[str, str]] = []
    if not json.member(raw, "messageId"):
        lacking.append(("message.message_id", _REQUIRED))
    if messages.role_from_wire(raw.get("role")) is None:
        lacking.append(("message.role", _REQUIRED))
    if not raw.get("parts"):
        lacking.append(("message.parts", _EMPTY))
    return lacking


def _bounded(raw: JsonObject) -> Message:
    """The message, of a size that may be copied on the event loop. Raises: InvalidParamsError."""
    try:
        message = messages.from_wire(raw)
    except InvalidMessageError as exc:
        raise InvalidParamsError(str(exc), _facts("message")) from exc
    parts = tuple(
        _taken(part, f"message.parts[{number}]") for number, part in enumerate(message.parts)
    )
    try:
        structured = check_size(message, "message.")
    except InvalidMessageError as exc:
        raise InvalidParamsError(str(exc), _facts("message")) from exc
    if not structured and parts == message.parts:
        return message
    return replace(
        message,
        parts=tuple(_whole_part(part) for part in parts),
        metadata=messages.whole_numbers(message.metadata),
    )


def _taken(part: Part, where: str) -> Part:
    """The part in the form that is kept. Raises: InvalidParamsError."""
    return _canonical(part, where) if isinstance(part, FilePart) else part


def _canonical(part: FilePart, where: str) -> FilePart:
    """The part with standard base64: ProtoJSON takes the URL's alphabet and no padding too."""
    if part.raw is None or _BASE64.fullmatch(part.raw):
        return part
    text = part.raw.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        _wrong(f"{where}.raw", "base64")
    return replace(part, raw=base64.b64encode(content).decode())


def _whole_part(part: Part) -> Part:
    return DataPart(data=messages.whole_numbers(part.data)) if type(part) is DataPart else part


def _whole(metadata: JsonObject | None) -> JsonObject | None:
    if metadata and len(json.encode(metadata)) > DATA_MAX:
        _wrong("metadata", f"at most {DATA_MAX} characters of JSON")
    return messages.whole_numbers(metadata)


# -- refusals ----------------------------------------------------------------------------------


def _facts(field: str) -> dict[str, str]:
    return {"code": "invalid_input", "field": field}


def _wrong(where: str, what: str) -> NoReturn:
    raise InvalidParamsError(f"{where} must be {what}", _facts(where))


def _lacking(fields: list[tuple[str, str]]) -> NoReturn:
    """As the SDK says it: google.rpc.BadRequest is made of these."""
    errors = [{"field": field, "message": why} for field, why in fields]
    raise InvalidParamsError("Validation failed", {"errors": errors})
