"""An agent under examination: how it is called, and every task that was made at it.

Knows the link and the agent's card; judges nothing.
"""

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from gateway.agents.card import Card
from gateway.agents.finding import endpoint_for
from gateway.core import json
from gateway.core.extension import VERSION_HEADER, CodingRequest, write_request
from gateway.core.json import JsonObject, as_object
from gateway.core.status import STATUS_OF_STATE, TERMINAL, WAITING
from gateway.dialects import spoken
from gateway.link.client import Link
from gateway.link.endpoint import JSONRPC, V1, Endpoint

HEAD_S = 20.0  # until the head of an answer to a question of ours; sends have the exam's patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the agent is told: something short, something long, and what makes it ask."""

    prompt: str
    busy: str
    ask: str | None = None
    cwd: str | None = None  # where a coding agent is to work


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer. `json` is empty when the body is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> JsonObject:
        try:
            return json.decode_object(self.body)
        except ValueError:
            return {}

    @property
    def error(self) -> JsonObject:
        return as_object(self.json.get("error"))


@dataclass(slots=True, kw_only=True)
class Exam:
    """`patience_s` is what the agent gets for its work on one message."""

    url: str
    card_url: str
    link: Link
    words: Words
    patience_s: float
    card: Card | None = None
    raw_card: JsonObject = field(default_factory=dict[str, object])
    tasks: dict[str, str] = field(default_factory=dict[str, str])  # id -> its last state seen
    ended: str | None = None  # a task that has run to its end

    # -- how it is called ------------------------------------------------------------------------

    @property
    def known(self) -> Card:
        """The card; checks that need one are not made without."""
        assert self.card is not None
        return self.card

    @property
    def endpoint(self) -> Endpoint:
        return endpoint_for(self.link, self.url, self.known)

    @property
    def plain(self) -> bool:
        """Whether it is called over JSON-RPC of A2A 1.x, which alone is looked at in its bytes."""
        card = self.card
        spoken = (card.interface.binding, card.interface.version) if card is not None else None
        return spoken == (JSONRPC, V1)

    async def http(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        login: Mapping[str, str] | None = None,
    ) -> Reply:
        """Raises: GatewayError. `login`: other credentials than the exam's."""
        link = (
            self.link
            if login is None
            else Link(agent=self.link.agent, client=self.link.client, headers=dict(login))
        )
        async with link.open(method, url, headers or {}, content, HEAD_S) as response:
            body = await link.body(response)
            return Reply(status=response.status_code, headers=response.headers, body=body)

    async def rpc(
        self,
        method: str,
        params: JsonObject,
        *,
        version: str | None = V1,
        login: Mapping[str, str] | None = None,
    ) -> Reply:
        """One JSON-RPC call, whatever comes back. Raises: GatewayError."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self.post(json.dump(body), version=version, login=login)

    async def post(
        self,
        content: bytes,
        *,
        version: str | None = V1,
        login: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if version is not None:
            headers[VERSION_HEADER] = version
        url = self.known.interface.url
        reply = await self.http("POST", url, headers=headers, content=content, login=login)
        self.seen(as_object(reply.json.get("result")))  # some take what is no message for a task
        return reply

    # -- its tasks -------------------------------------------------------------------------------

    def message(self, text: str, **more: object) -> JsonObject:
        """The params that send a text."""
        message: JsonObject = {
            "messageId": uuid.uuid4().hex,
            "role": "ROLE_USER",
            "parts": [{"text": text}],
            **more,
        }
        if self.words.cwd is not None and "taskId" not in more:
            card, request = self.known, CodingRequest(cwd=self.words.cwd)
            own = spoken.settings(request, card.name, card.extensions)
            message["metadata"] = {**write_request(request), **own}
        return {"message": message, "configuration": {}}

    def seen(self, result: JsonObject) -> tuple[str | None, str | None]:
        """The task's id and state in a result; the task is remembered."""
        task = as_object(result.get("task")) or (result if "status" in result else {})
        update = as_object(result.get("statusUpdate")) or as_object(result.get("artifactUpdate"))
        raw_id: object = task.get("id") or update.get("taskId")
        state: object = as_object((task or update).get("status")).get("state")
        if not isinstance(raw_id, str):
            return None, None
        known = self.tasks.setdefault(raw_id, "")
        self.tasks[raw_id] = state if isinstance(state, str) else known
        return raw_id, self.tasks[raw_id] or None

    async def stream(self, method: str, params: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """The results of a stream, each noted; it is closed with the generator."""
        async with aclosing(self.endpoint.stream(method, params)) as groups:
            async for group in groups:
                for result in group:
                    self.seen(result)
                    yield result

    async def task(self, task_id: str) -> JsonObject:
        found = await self.endpoint.call("GetTask", {"id": task_id})
        self.seen(found)
        return found


def over(state: str | None) -> bool:
    return STATUS_OF_STATE.get(state or "") in TERMINAL


def waits(state: str | None) -> bool:
    return STATUS_OF_STATE.get(state or "") in WAITING
