"""What callers of a run see whose events are no longer kept, and that settings say what is kept."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.core.errors import ReplayError
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.extension import URI
from gateway.core.store.retention import sweep_oldest
from gateway.settings import Settings
from tests.core.faces import headers, served
from tests.core.puppet import ME, stage
from wrappers.settings import WrapperSettings


async def test_a_run_without_its_events_is_still_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.end(AgentMessage(text="hello"), RunCompleted(final_response="done"))
        assert (await on.tasks.settled(ME, run.id)).terminal
        await on.tasks.log.let_go(sweep_oldest)
        with pytest.raises(ReplayError, match="before 4; read on after 3"):
            await on.tasks.events(ME, run.id)
        page = await on.tasks.events(ME, run.id, after=3)
        assert (page.events, page.has_more, page.run.first_seq) == ([], False, 4)
        assert page.run.result is not None
        assert page.run.result.final_response == "done"


async def test_a_replay_from_before_what_is_kept_is_refused_and_the_task_is_not(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as on:
        task = await on.send("finish")
        await on.tasks.log.let_go(sweep_oldest)
        subscribe = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "SubscribeToTask",
            "params": {"id": task["id"]},
        }
        answers = [
            await on.http.post(
                "/a2a/jsonrpc", json=subscribe, headers=headers(extended=True, last_event_id=cursor)
            )
            for cursor in ("0", "2")
        ]
        error = answers[0].json()["error"]
        assert error["code"] == -32602
        told = {"code": "replay_expired", "first_seq": "3"}
        assert told.items() <= error["data"][0]["metadata"].items()
        assert answers[1].headers["content-type"].startswith("text/event-stream")
        shown = (await on.rpc("GetTask", {"id": task["id"]}, extended=True))["result"]
        assert shown["status"]["state"] == "TASK_STATE_COMPLETED"
        assert shown["metadata"][URI]["last_seq"] == 2
        listed = (await on.rpc("ListTasks", {"includeArtifacts": True}))["result"]
        assert [one["id"] for one in listed["tasks"]] == [task["id"]]


def test_the_gateway_keeps_everything_and_a_wrapper_a_week_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway, wrapper = Settings(), WrapperSettings()
    assert (gateway.keep_finished, gateway.keep_bytes) == (None, None)
    assert (wrapper.keep_finished, wrapper.keep_bytes) == (timedelta(days=7), None)
    monkeypatch.setenv("A2A_AGENT_KEEP_FINISHED", "off")
    monkeypatch.setenv("A2A_AGENT_KEEP_BYTES", "2GB")
    monkeypatch.setenv("A2A_GATEWAY_KEEP_FINISHED", "P30D")
    assert (WrapperSettings().keep_finished, WrapperSettings().keep_bytes) == (None, 2 * 10**9)
    assert Settings().keep_finished == timedelta(days=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [("FINISHED", "-1"), ("FINISHED", "P0D"), ("FINISHED", "soon"), ("BYTES", "0"), ("BYTES", "x")],
)
def test_nonsense_for_what_is_kept_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"A2A_GATEWAY_KEEP_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
