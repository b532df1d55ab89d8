"""Push notification configs as a caller asks for them: read, judged, stored, shown.

Knows JSON and the outbox, no connection. A run is the caller's already when it comes here. A
config is returned as it was given, its secrets included: only who may see the run sees it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from a2a.utils.errors import InvalidParamsError, PushNotificationNotSupportedError

from gateway.core import json
from gateway.core.addresses import AddressRefusedError
from gateway.core.errors import InvalidInputError, PushConfigNotFoundError
from gateway.core.face.cards import Face
from gateway.core.face.params import Fields
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.store.outbox import PushConfig
from gateway.core.tasks import Tasks

URL_MAX: Final = 2048  # characters
ID_MAX: Final = 128
SECRET_MAX: Final = 4096  # characters of a token, and of credentials: servers take headers of 8 KB
PAGE_MAX: Final = 100
_SCHEME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")  # a token of RFC 9110
_HEADER: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")  # a value that stays one line


@dataclass(frozen=True, slots=True, kw_only=True)
class PushParams:
    """A config as it was asked for; `id` is empty when the caller names none."""

    url: str
    id: str = ""
    token: str = field(default="", repr=False)
    scheme: str = ""
    credentials: str = field(default="", repr=False)


def read_push(
    value: JsonObject, at: str = "configuration.taskPushNotificationConfig."
) -> PushParams:
    """A config in JSON, which stands `at` in a request. Raises: InvalidParamsError."""
    fields = Fields(value, at)
    login = Fields(fields.object("authentication"), f"{at}authentication.")
    return PushParams(
        url=fields.text("url"),
        id=fields.text("id"),
        token=fields.text("token"),
        scheme=login.text("scheme"),
        credentials=login.text("credentials"),
    )


def read_target(value: object) -> tuple[str, str]:
    """The task and the config that Get and Delete name. Raises: InvalidParamsError."""
    fields = Fields(value)
    return _task_of(fields), fields.text("id")


def read_create(value: object) -> tuple[str, PushParams]:
    """The task and the config that Create gives it. Raises: InvalidParamsError."""
    task_id = _task_of(Fields(value))
    return task_id, read_push(json.as_object(value), at="")


def read_page(value: object) -> tuple[str, int, str]:
    """Task, size (nought: as many as there may be) and token of List. Raises: InvalidParamsError."""
    fields = Fields(value)
    return _task_of(fields), fields.number("pageSize") or 0, fields.text("pageToken")


def _task_of(fields: Fields) -> str:
    if not (task_id := fields.text("taskId")):
        raise InvalidParamsError(
            "taskId names the task of the config", {"code": "invalid_input", "field": "taskId"}
        )
    return task_id


class PushConfigs:
    """The configs of one face's runs. All raise PushNotificationNotSupportedError when the card
    does not offer webhooks."""

    def __init__(self, tasks: Tasks, face: Face) -> None:
        self._tasks = tasks
        self._face = face

    async def before_send(self, value: JsonObject | None, run: Run | None) -> PushParams | None:
        """The config a message brings along, checked before anything is made of the message.

        For a follow-up (`run`) it is stored at once; that of a first message is `after_send`'s.
        Raises: InvalidParamsError, InvalidInputError.
        """
        if value is None:
            return None
        asked = read_push(value)
        if run is None:
            await self._check(asked)
            return asked
        await self.create(run, asked)
        return None

    async def after_send(self, asked: PushParams | None, run: Run) -> None:
        """Store what `before_send` returned: from the run's first event on, however far it is."""
        if asked is not None:
            await self._store(run, asked, after=0)

    async def create(self, run: Run, asked: PushParams) -> PushConfig:
        """Tell a webhook every later event. One that replaces another goes on where that was.

        Raises: InvalidInputError.
        """
        await self._check(asked)
        return await self._store(run, asked, after=run.last_seq)

    async def get(self, run: Run, config_id: str) -> PushConfig:
        """Raises: PushConfigNotFoundError."""
        self._offered()
        found = await self._tasks.log.outbox.get(run.id, config_id or run.id)
        if found is None:
            raise PushConfigNotFoundError(run.id, config_id[:ID_MAX])
        return found

    async def page(self, run: Run, size: int, token: str) -> tuple[Sequence[PushConfig], str]:
        """Configs in the order of their ids, and the next page's token, which is the last id.

        Raises: InvalidInputError.
        """
        self._offered()
        if not 0 <= size <= PAGE_MAX:
            raise InvalidInputError(f"pageSize is a number from 1 to {PAGE_MAX}", "pageSize")
        size = size or PAGE_MAX
        found = await self._tasks.log.outbox.page(run.id, token, size + 1)
        return found[:size], found[size - 1].id if len(found) > size else ""

    async def delete(self, run: Run, config_id: str) -> None:
        """No request is begun any more when this returns. What is not there is deleted already."""
        self._offered()
        await self._tasks.log.outbox.drop(run.id, config_id or run.id)

    def _offered(self) -> None:
        if not self._face.card.capabilities.push_notifications:
            raise PushNotificationNotSupportedError

    async def _check(self, asked: PushParams) -> None:
        self._offered()
        _check_texts(asked)
        try:
            await self._tasks.screen.check(asked.url)
        except AddressRefusedError as exc:
            text = f"push notification url: {exc}; give one that this server may reach"
            raise InvalidInputError(text, "url") from exc

    async def _store(self, run: Run, asked: PushParams, after: int) -> PushConfig:
        """Without an id it gets the run's, as the SDK has it: who repeats a request has one config,
        and clients of 0.3, which ask without an id, find it."""
        now = self._tasks.clock()
        config = PushConfig(
            run_id=run.id,
            id=asked.id or run.id,
            url=asked.url,
            token=asked.token or None,
            scheme=asked.scheme or None,
            credentials=asked.credentials or None,
            created_at=now,
            next_at=now,
            sent_seq=after,
        )
        return await self._tasks.log.outbox.put(config)


def as_json(config: PushConfig) -> JsonObject:
    """A config in JSON, as it was given."""
    login = {"scheme": config.scheme, "credentials": config.credentials}
    return json.merge_null(
        {
            "taskId": config.run_id,
            "id": config.id,
            "url": config.url,
            "token": config.token,
            "authentication": json.merge_null(login) or None,
        }
    )


def _check_texts(asked: PushParams) -> None:
    """What goes into a header must stay in it. Raises: InvalidInputError."""
    wrong: tuple[str, str] | None = None
    if not 0 < len(asked.url) <= URL_MAX:
        wrong = ("url", f"given, with at most {URL_MAX} characters")
    elif len(asked.id) > ID_MAX or not asked.id.isprintable():
        wrong = ("id", f"at most {ID_MAX} printable characters")
    elif asked.token and (len(asked.token) > SECRET_MAX or not _HEADER.fullmatch(asked.token)):
        wrong = ("token", f"at most {SECRET_MAX} characters of printable ASCII")
    elif asked.credentials and not asked.scheme:
        wrong = ("authentication.scheme", "named with the credentials")
    elif asked.scheme and not _SCHEME.fullmatch(asked.scheme):
        wrong = ("authentication.scheme", "an HTTP authentication scheme, or HMAC-SHA256")
    elif asked.credentials and (
        len(asked.credentials) > SECRET_MAX or not _HEADER.fullmatch(asked.credentials)
    ):
        wrong = (
            "authentication.credentials",
            f"at most {SECRET_MAX} characters of printable ASCII",
        )
    if wrong is not None:
        raise InvalidInputError(f"push notification {wrong[0]} must be {wrong[1]}", wrong[0])
