"""Runs as resources, in each way a client reaches them."""

from typing import Any

import pytest
from mcp import MCPError
from mcp.types import INVALID_PARAMS, ReadResourceResult, TextResourceContents

from gateway.core import json
from gateway.core.events import RunCompleted
from gateway.core.messages import Message, TextPart
from gateway.core.store.retention import sweep_oldest
from mcp_bridge.face import resources
from mcp_bridge.face.resources import JSON, RESOURCE_BYTES, RESOURCE_NOT_FOUND, TEXT
from tests.mcp_bridge.house import House


async def _read(caller: House, uri: str) -> ReadResourceResult:
    return await caller.client.read_resource(uri)


def _texts(result: ReadResourceResult) -> list[tuple[str | None, str]]:
    found = [item for item in result.contents if isinstance(item, TextResourceContents)]
    assert len(found) == len(result.contents)
    return [(item.mime_type, item.text) for item in found]


async def _refused(caller: House, uri: str) -> MCPError:
    with pytest.raises(MCPError) as refused:
        await _read(caller, uri)
    assert refused.value.data == {"uri": uri[:200]}
    assert "\n" not in refused.value.message
    return refused.value


async def _completed(caller: House, **result: Any) -> str:
    run_id, puppet = await caller.begin()
    await puppet.say(RunCompleted(**result))
    await caller.ended(run_id)
    return run_id


@pytest.mark.promise("resource.run")
async def test_a_run_is_what_get_run_shows_and_its_result_what_came_out(caller: House) -> None:
    run_id = await _completed(caller, final_response="It is *done*.")
    [(mime, text)] = _texts(await _read(caller, f"run://{run_id}"))
    assert mime == JSON
    assert json.decode(text) == await caller.call("get_run", run_id=run_id)
    assert _texts(await _read(caller, f"run://{run_id}/result")) == [(TEXT, "It is *done*.")]


async def test_a_structured_result_is_json(caller: House) -> None:
    run_id = await _completed(caller, final_response="ok", structured_output={"ok": [1, None]})
    [(mime, text)] = _texts(await _read(caller, f"run://{run_id}/result"))
    assert (mime, text) == (JSON, '{"ok":[1,null]}')


@pytest.mark.promise("resource.size")
async def test_a_long_result_is_cut_and_says_where_the_rest_is(one: House) -> None:
    long = "é" * 2 * RESOURCE_BYTES
    run_id = await _completed(one, final_response=long)
    [(mime, text), (_, said)] = _texts(await _read(one, f"run://{run_id}/result"))
    assert mime == TEXT
    assert len(text.encode()) <= RESOURCE_BYTES
    assert said.startswith(f"[cut; {4 * RESOURCE_BYTES} bytes in all. Read on: get_event_artifact(")
    seq = (await one.call("get_run", run_id=run_id))["last_seq"]
    where = {"run_id": run_id, "seq": seq, "field_path": "/final_response"}
    for name, value in where.items():
        assert f"{name}={value!r}" in said
    rest = ""
    while True:
        offset = len((text + rest).encode())
        page = await one.call("get_event_artifact", **where, offset=offset)
        assert rest or f"offset={offset})" in said
        rest += page["content"]
        if not page["has_more"]:
            break
    assert text + rest == long
    [(mime, text)] = _texts(await _read(one, f"run://{run_id}"))
    assert len(text.encode()) <= RESOURCE_BYTES
    assert json.decode(text)["result"]["truncated"]["seq"] == seq


# It was refused with the words of a reader of events, which had been let go.
async def test_a_long_result_is_read_when_the_events_of_its_run_are_no_longer_kept(
    one: House,
) -> None:
    run_id = await _completed(one, final_response="x" * 2 * RESOURCE_BYTES)
    await one.puppets.tasks.log.let_go(sweep_oldest)
    [(_, text), (_, said)] = _texts(await _read(one, f"run://{run_id}/result"))
    assert text == "x" * RESOURCE_BYTES
    assert "More: get_run(" in said


async def test_a_long_structured_result_stays_json(one: House) -> None:
    run_id = await _completed(one, structured_output={"rows": ["x" * 100] * 1000})
    [(mime, text), (_, said)] = _texts(await _read(one, f"run://{run_id}/result"))
    assert mime == JSON
    assert len(text.encode()) <= RESOURCE_BYTES
    assert list(json.decode_object(text)) == ["rows"]
    assert "field_path='/structured_output'" in said


@pytest.mark.promise("resource.absent")
async def test_what_is_not_there_is_not_found_as_the_era_says(caller: House) -> None:
    legacy = caller.client.protocol_version < "2026-07-28"
    not_found = RESOURCE_NOT_FOUND if legacy else INVALID_PARAMS
    run_id, _ = await caller.begin()
    said = {
        "run://nobody": "no run 'nobody' here; list_runs",
        "run://nobody/result": "no run 'nobody' here; list_runs",
        f"run://{run_id}/result": f"run {run_id} has no result, it is running; run://{run_id} ",
        f"run://{run_id}/log": "no resource 'run:",
        "file:///etc/passwd": "no resource 'file:///etc/passwd'; there are run://{run_id} and ",
        "run://" + "x" * 10_000: "no resource 'run://xxx",
        "run://\n": "no resource 'run://\\n'",
    }
    for uri, text in said.items():
        refused = await _refused(caller, uri)
        assert (refused.code, refused.message[: len(text)]) == (not_found, text)


async def test_the_run_of_another_principal_is_not_there(one: House) -> None:
    sent = await one.puppets.tasks.send(
        principal="somebody",
        agent="codex",
        message=Message(message_id="m-1", role="user", parts=(TextPart(text="go"),)),
    )
    assert "no run" in (await _refused(one, f"run://{sent.run.id}")).message
    assert (await one.client.list_resources()).resources == []


async def test_the_newest_runs_are_listed_page_by_page(
    caller: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "PAGE", 2)
    monkeypatch.setattr(resources, "LISTED", 3)
    runs = [(await caller.begin(nickname=f"ada{number}"))[0] for number in range(5)]
    first = await caller.client.list_resources()
    assert [item.uri for item in first.resources] == [f"run://{runs[4]}", f"run://{runs[3]}"]
    assert (first.resources[0].name, first.resources[0].mime_type) == (runs[4], JSON)
    assert (first.resources[0].title or "").startswith("ada4: ")
    last = await caller.client.list_resources(cursor=first.next_cursor)
    assert [item.uri for item in last.resources] == [f"run://{runs[2]}"]
    assert last.next_cursor is None, "older runs are read by the template"


async def test_a_cursor_of_another_list_is_refused(caller: House) -> None:
    for cursor in ("", "x", "1.x", "999.x", "1." + "A" * 5000):
        with pytest.raises(MCPError) as refused:
            await caller.client.list_resources(cursor=cursor)
        assert refused.value.code == INVALID_PARAMS
        assert refused.value.message == "cursor is none of this list; leave it out to start anew"


async def test_the_templates_are_listed_and_nothing_can_be_subscribed_to(caller: House) -> None:
    found = (await caller.client.list_resource_templates()).resource_templates
    assert {item.uri_template: item.mime_type for item in found} == {
        "run://{run_id}": JSON,
        "run://{run_id}/result": None,
    }
    offered = caller.client.server_capabilities.resources
    assert offered is not None
    assert not offered.subscribe
    assert not offered.list_changed
