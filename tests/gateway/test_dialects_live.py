"""Runs at agents that ask in dialects: recorded ones, played over real sockets."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core import json
from gateway.core.face.serving import Listener
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.gateway.foreigners import card_of, liar
from tests.gateway.house import House, house, texts
from tests.gateway.script import Json, Script, playing, turns

FOLDER = Path(__file__).parent / "dialects"


def recorded(dialect: str, scenario: str) -> Json:
    found: Json = json.decode_object((FOLDER / f"{dialect}.json").read_bytes())["scenarios"]
    return found[scenario]


async def answer(gateway: House, run: Run, **more: Any) -> None:
    """Answer the one request that is pending."""
    [request] = (await gateway.waiting(run)).pending
    data = {"request_id": request.request_id, **more}
    await gateway.say(run, Message(message_id="m-2", role="user", parts=(DataPart(data=data),)))


async def finished(gateway: House, run: Run) -> tuple[Run, list[str]]:
    """The run at its end, and how its requests went."""
    ended = await gateway.ended(run)
    found = await gateway.events(run)
    assert [type_ for type_, _ in found].count("input_required") == 1, "asked once"
    return ended, [str(data["how"]) for _, data in found if "resolved" in data]


# -- a2acode -------------------------------------------------------------------------------------


def a2acode(scenario: str) -> Script:
    told = recorded("a2acode", scenario)
    parts: Json = {
        "SendStreamingMessage": turns(*told["streams"]),
        "GetTask": told["waiting_task"],
    }
    return Script(parts)


async def a_run(gateway: House, url: str, **more: Any) -> Run:
    return await gateway.spawn(await gateway.agent(url), "do it", cwd="/srv/project", **more)


async def test_a_run_at_a2acode_asks_is_answered_and_completes(tmp_path: Path) -> None:
    script = a2acode("always")
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await a_run(gateway, agent.base_url)
        await answer(gateway, run, option="allow_session")
        ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert ended.result is not None
    assert "'optionId': 'always-1'" in str(ended.result.final_response)
    said = script.heard()[1]
    assert said["parts"] == [{"text": "option:always-1"}]
    assert said["taskId"] == "id-1"
    block = said["metadata"]["a2acode_permission"]
    assert block == recorded("a2acode", "always")["answers"][0]["metadata"]["a2acode_permission"]


async def test_a_run_at_a2acode_is_answered_after_a_restart(tmp_path: Path) -> None:
    script = a2acode("deny")
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await a_run(gateway, agent.base_url)
            await gateway.waiting(run)
        async with house(tmp_path) as gateway:
            await answer(gateway, run, option="deny", message="use make clean")
            ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert script.heard()[1]["parts"] == [{"text": "use make clean"}]


async def test_a_denial_that_stops_the_run_cancels_the_task(tmp_path: Path) -> None:
    script = a2acode("cancel")
    gone = {**recorded("a2acode", "cancel")["waiting_task"]}
    gone["status"] = {"state": "TASK_STATE_CANCELED"}
    script.parts["CancelTask"] = gone
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await a_run(gateway, agent.base_url)
        await answer(gateway, run, option="abort")
        ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.CANCELLED, ["answered"])
    assert len(script.heard()) == 1, "the cancel says it"


# -- codex-a2a -----------------------------------------------------------------------------------


class CodexA2a:
    """Keeps the stream of a task open until its request is answered by a method."""

    def __init__(self, scenario: str) -> None:
        self._told = recorded("codex_a2a", scenario)
        self._answered = anyio.Event()
        method = self._told["answer"]["method"]
        parts: Json = {
            "SendStreamingMessage": self._stream,
            "SubscribeToTask": self._stream,
            "GetTask": self._task,
            method: self._take,
        }
        self.script = Script(parts)

    async def _stream(self, _: Json) -> AsyncGenerator[Json, None]:
        [items] = self._told["streams"]
        yield items[0]
        yield items[1]
        await self._answered.wait()
        for item in items[2:]:
            yield item

    def _task(self, _: Json) -> Json:
        if not self._answered.is_set():
            return self._told["waiting_task"]
        return {"id": "id-1", "contextId": "id-2", "status": {"state": "TASK_STATE_COMPLETED"}}

    def _take(self, params: Json) -> Json:
        self._answered.set()
        return {"ok": True, "request_id": params["request_id"]}

    @asynccontextmanager
    async def playing(self) -> AsyncGenerator[Listener, None]:
        hints = {"uri": "urn:codex-a2a:extension:stream-hints:v1"}
        capabilities = {"streaming": True, "extensions": [hints]}
        async with liar(
            self.script.answer, lambda url: card_of(url, capabilities=capabilities)
        ) as it:
            yield it


@pytest.mark.parametrize(
    ("scenario", "given"),
    [
        ("permission_always", {"option": "allow_session"}),
        ("permission_reject", {"option": "deny", "message": "use the other folder"}),
        ("question", {"answers": {"db": "SQLite", "name": "main"}}),
    ],
)
async def test_a_run_at_codex_a2a_is_answered_by_a_method_and_completes(
    tmp_path: Path, scenario: str, given: Json
) -> None:
    codex = CodexA2a(scenario)
    told = recorded("codex_a2a", scenario)["answer"]
    async with codex.playing() as agent, house(tmp_path) as gateway:
        run = await a_run(gateway, agent.base_url, model="m-1", effort="low")
        await answer(gateway, run, **given)
        ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert (told["method"], told["params"]) in codex.script.calls
    [first] = codex.script.heard()
    execution = {"model": "m-1", "effort": "low"}
    assert first["metadata"]["codex"] == {"directory": "/srv/project", "execution": execution}


async def test_a_run_at_codex_a2a_is_answered_after_a_restart(tmp_path: Path) -> None:
    codex = CodexA2a("permission_once")
    async with codex.playing() as agent:
        async with house(tmp_path) as gateway:
            run = await a_run(gateway, agent.base_url)
            await gateway.waiting(run)
        async with house(tmp_path) as gateway:
            await answer(gateway, run, option="allow")
            ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert len(codex.script.heard()) == 1, "nothing was sent twice"


# -- Gemini CLI ----------------------------------------------------------------------------------


def gemini(scenario: str, *streams: int) -> Script:
    told = recorded("gemini", scenario)
    chosen = [told["streams"][number] for number in streams or range(len(told["streams"]))]
    waiting = recorded("gemini", "allow")["waiting_task"]
    parts: Json = {"message/stream": turns(*chosen), "tasks/get": waiting}
    return Script(parts)


@asynccontextmanager
async def playing_gemini(script: Script) -> AsyncGenerator[Listener, None]:
    """Its card is of A2A 0.3."""

    def card(url: str) -> Json:
        return {
            "name": "Gemini SDLC Agent",
            "url": f"{url}/rpc",
            "protocolVersion": "0.3.0",
            "capabilities": {"streaming": True},
        }

    async with liar(script.answer, card) as listener:
        yield listener


async def test_a_run_at_gemini_asks_is_answered_and_its_turns_end_completes_it(
    tmp_path: Path,
) -> None:
    script = gemini("allow")
    async with playing_gemini(script) as agent, house(tmp_path) as gateway:
        run = await a_run(gateway, agent.base_url, permission_mode="ask")
        await answer(gateway, run, option="allow")
        ended, how = await finished(gateway, run)
        said = texts(await gateway.events(run))
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert said == ["Let me run that.", "I ran it. All done."]
    assert ended.result is not None
    assert ended.result.final_response == "I ran it. All done."
    first, second = script.heard("message/stream")
    settings = {"kind": "agent-settings", "workspacePath": "/srv/project"}
    assert first["metadata"]["coderAgent"] == settings
    [part] = second["parts"]
    assert part["data"]["outcome"] == "proceed_once"
    assert second["taskId"] == "id-1"


async def test_a_run_at_gemini_is_answered_after_a_restart(tmp_path: Path) -> None:
    # Its task says input-required and nothing else: what it waits for stands in our log.
    script = gemini("allow")
    async with playing_gemini(script) as agent:
        async with house(tmp_path) as gateway:
            run = await a_run(gateway, agent.base_url)
            await gateway.waiting(run)
        async with house(tmp_path) as gateway:
            await answer(gateway, run, option="allow")
            ended, how = await finished(gateway, run)
    assert (ended.status, how) == (RunStatus.COMPLETED, ["answered"])
    assert ended.result is not None
    assert ended.result.final_response == "I ran it. All done."


async def test_gemini_that_gave_up_over_a_restart_asks_how_to_go_on(tmp_path: Path) -> None:
    # The real one aborts its turn when the connection of the gateway closes.
    script = gemini("plain")
    first = recorded("gemini", "allow")["streams"][0]
    waiting = recorded("gemini", "allow")["waiting_task"]
    parts = [{"kind": "text", "text": "Execution aborted by client."}]
    message = {"kind": "message", "messageId": "m", "role": "agent", "parts": parts}
    aborted = {**waiting, "status": {"state": "input-required", "message": message}}
    script.parts["message/stream"] = turns(first, recorded("gemini", "allow")["streams"][1])
    async with playing_gemini(script) as agent:
        async with house(tmp_path) as gateway:
            run = await a_run(gateway, agent.base_url)
            [tool] = (await gateway.waiting(run)).pending
        script.parts["tasks/get"] = aborted
        async with house(tmp_path) as gateway:
            with anyio.fail_after(30):
                while (now := await gateway.tasks.get("local", run.id)).pending == (tool,):
                    await gateway.tasks.log.changed(run.id, now.last_seq)
            [asked] = (await gateway.waiting(run)).pending
            await gateway.say(run, user_text("m-3", "go on"))
            ended = await gateway.ended(run)
            events = await gateway.events(run)
    assert asked.text == "Execution aborted by client."
    assert [data["how"] for _, data in events if "resolved" in data] == ["withdrawn", "answered"]
    assert script.heard("message/stream")[1]["parts"] == [{"kind": "text", "text": "go on"}]
    assert ended.status is RunStatus.COMPLETED


async def test_gemini_that_cannot_reach_its_model_is_a_failed_run(tmp_path: Path) -> None:
    async with playing_gemini(gemini("error")) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await a_run(gateway, agent.base_url))
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.message == "[API Error: An unknown error occurred.]"


@pytest.mark.parametrize(("state", "goes_on"), [("input-required", True), ("canceled", False)])
async def test_the_next_run_of_a_session_at_gemini_goes_on_in_its_task(
    tmp_path: Path, state: str, goes_on: bool
) -> None:
    # Its memory is the task's: another task of the same context would know nothing.
    script = gemini("plain")
    waiting = recorded("gemini", "allow")["waiting_task"]
    script.parts["tasks/get"] = {**waiting, "status": {"state": state}}
    async with playing_gemini(script) as agent, house(tmp_path) as gateway:
        first = await gateway.ended(await a_run(gateway, agent.base_url))
        run = await a_run(gateway, agent.base_url, context_id=first.context_id)
        second = await gateway.ended(run)
    assert [one.result.final_response for one in (first, second) if one.result] == [
        "You said: hello there",
        "You said: more words",
    ]
    messages = script.heard("message/stream")
    assert [one.get("taskId") for one in messages] == [None, "id-1" if goes_on else None]
    assert messages[1]["contextId"] == "id-2"
