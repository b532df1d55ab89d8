"""Bad input to the tools: each is one line that says what to do, and costs nobody else anything."""

import re
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gateway.core.events import RunCompleted
from gateway.core.record import Run
from tests.mcp_bridge.house import House


@pytest.mark.promise("error.line")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"backend": "gpt"}, "backend: Input should be 'codex', 'claude_code' or 'remote_a2a'"),
        ({"backend": None}, "argument 'backend' is missing"),
        ({"role": "boss"}, "role: Input should be"),
        ({"prompt": None}, "Either prompt or input_message is required"),
        ({"prompt": "  \n"}, "Either prompt or input_message is required"),
        ({"prompt": 7}, "prompt takes a text"),
        ({"nickname": "../../evil"}, "nickname: takes letters, digits"),
        ({"nickname": "a\x1b[2J"}, "nickname: takes letters, digits"),
        ({"session_mode": "resume"}, "session_id is required when session_mode is resume"),
        ({"session_mode": "resume", "session_id": "../x"}, "Unknown session_id: ../x"),
        ({"input_message": {"role": "user", "parts": []}}, "input_message.parts: "),
        ({"input_message": "hello"}, "input_message takes an object"),
        ({"input_message": {"parts": [{"type": "tex"}]}}, "input_message.parts.0.type"),
        ({"input_message": {"parts": [{"type": "file"}]}}, "without uri or bytes_base64"),
        ({"nickname": "x" * 65}, "nickname: String should have at most 64 characters"),
        ({"output_schema": []}, "output_schema takes an object"),
        ({"backend_config": {"permission_mode": "yolo"}}, "backend_config.permission_mode"),
        ({"backend_config": {"limits": {"deadline_s": 0}}}, "backend_config.limits.deadline_s"),
        ({"backend_config": {"agent_url": "http://a"}}, "is for backend remote_a2a only"),
        ({"backend": "remote_a2a"}, "remote_a2a needs backend_config.agent_url"),
        (
            {"backend": "remote_a2a", "backend_config": {"agent_url": "http://wrong"}},
            "agent_url is no agent of ours; use another",
        ),
        ({"request_key": ""}, "request_key: String should have at least 1 character"),
    ],
)
async def test_a_wrong_spawn_is_refused_in_one_line(
    one: House, change: dict[str, Any], says: str
) -> None:
    assert says in await one.refused("spawn_run", **one.task(**change))
    assert (await one.call("list_runs"))["runs"] == []


@pytest.mark.promise("spawn.unknown")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "gpt"}, "unknown argument 'model'; known: backend, role, cwd"),
        ({"backend_config": {"modle": "gpt"}}, "unknown argument 'modle' in backend_config"),
        (
            {"backend_config": {"limits": {"turns": 3}}},
            "unknown argument 'turns' in backend_config.limits; did you mean max_turns?",
        ),
    ],
)
async def test_an_unknown_argument_is_refused_by_name(
    one: House, change: dict[str, Any], says: str
) -> None:
    assert says in await one.refused("spawn_run", **one.task(**change))


@pytest.mark.promise("spawn.folder")
async def test_a_folder_that_cannot_be_worked_in_is_refused(one: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    for cwd, says in (
        ("work", "cwd must be an absolute path, got 'work'"),
        ("~/work", "cwd must be an absolute path"),
        ("/a\0b", "cwd must be an absolute path"),
        (str(tmp_path / "nope"), "does not exist"),
        (str(tmp_path / "file"), "is not a directory"),
        (str(tmp_path / "file" / "below"), "does not exist"),
    ):
        assert says in await one.refused("spawn_run", **one.task(cwd=cwd))


async def test_the_folder_of_a_remote_agent_need_not_exist_here(one: House, tmp_path: Path) -> None:
    far = {"backend": "remote_a2a", "backend_config": {"agent_url": "http://far"}}
    spawned = await one.call("spawn_run", **one.task(cwd="/far/away/../there", **far))
    assert (await one.call("get_run", run_id=spawned["run_id"]))["cwd"] == "/far/there"
    assert one.agents.asked == [("remote_a2a", {"agent_url": "http://far"}, "/far/there")]
    (tmp_path / "file").write_text("x", "utf-8")
    file = one.task(cwd=str(tmp_path / "file"), **far)
    assert "is not a directory" in await one.refused("spawn_run", **file)


async def test_the_settings_of_a_run_and_the_keys_of_its_agent_go_different_ways(
    one: House,
) -> None:
    config = {
        "agent": "far",
        "headers": {"X-Team": "a"},
        "permission_mode": "ask",
        "limits": {"max_turns": 3},
    }
    _, puppet = await one.begin(backend="remote_a2a", backend_config=config)
    assert one.agents.asked[0][1] == {"agent": "far", "headers": {"X-Team": "a"}}
    assert puppet.run.agent == "far"
    request = puppet.run.request.to_json()
    assert request["permission_mode"] == "ask"
    assert request["limits"] == {"max_turns": 3}
    assert "agent" not in request


async def test_objects_may_come_as_json_text(one: House) -> None:
    _, puppet = await one.begin(
        backend_config='{"sandbox": "read-only"}', output_schema='{"type": "object"}'
    )
    assert puppet.run.request.sandbox == "read-only"
    assert puppet.run.request.output_schema == {"type": "object"}


async def test_nulls_are_taken_for_absent(one: House) -> None:
    task = one.task() | {"session_id": None, "backend_config": None, "nickname": None}
    spawned = await one.call("spawn_run", **task)
    await one.call("get_run", run_id=spawned["run_id"], agent_name=None, cwd=None)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("get_run", {}, "Provide run_id or agent_name"),
        ("get_run", {"run_id": " "}, "Provide run_id or agent_name"),
        ("get_run", {"run_id": "nope"}, "no run 'nope' here; list_runs"),
        ("get_run", {"run_id": "__proto__"}, "no run '__proto__'"),
        ("get_run", {"agent_name": "bob"}, "Unknown agent_name: bob"),
        ("get_run", {"agent_name": "bob", "cwd": "/x"}, "Unknown agent_name in cwd /x: bob"),
        ("poll_events", {"run_id": "nope"}, "argument 'after_seq' is missing"),
        ("poll_events", {"run_id": "n", "after_seq": -1}, "after_seq: "),
        ("poll_events", {"run_id": "n", "after_seq": 0, "wait_ms": 30_001}, "30000"),
        ("poll_events", {"run_id": "n", "after_seq": 0, "limit": 1001}, "1000"),
        ("poll_events", {"run_id": "n", "after_seq": 0, "max_bytes": 10}, "1024"),
        ("cancel_run", {"run_id": "nope"}, "no run 'nope'"),
        ("continue_run", {"run_id": "nope"}, "Provide text, answer or input_message"),
        ("continue_run", {"run_id": "nope", "text": "hi"}, "no run 'nope'"),
        ("continue_run", {"run_id": "n", "answer": {"option": "allow"}}, "answer.request_id"),
        ("list_runs", {"status": "done"}, "status: Input should be 'active'"),
        ("list_runs", {"cursor": "%%%"}, "cursor is not one of ours"),
        ("list_runs", {"limit": 0}, "limit: "),
        ("get_event_artifact", {"run_id": "n", "seq": 0, "field_path": "/x"}, "seq: "),
        ("get_event_artifact", {"run_id": "n", "seq": 1, "field_path": "/x"}, "no run 'n'"),
    ],
)
async def test_a_wrong_call_is_refused_in_one_line(
    one: House, tool: str, arguments: dict[str, Any], says: str
) -> None:
    assert says in await one.refused(tool, **arguments)


@pytest.mark.promise("spawn.session")
async def test_a_session_keeps_its_backend_its_folder_and_its_name(
    one: House, tmp_path: Path
) -> None:
    run_id, puppet = await one.begin(nickname="ada")
    await puppet.end(RunCompleted(final_response="one"))
    await one.ended(run_id)
    session = (await one.call("get_run", run_id=run_id))["session_id"]
    resume = {"session_mode": "resume", "session_id": session}
    for change, says in (
        ({"backend": "claude_code"}, "is bound to backend codex, not claude_code"),
        ({"cwd": str(tmp_path)}, f"is bound to cwd {one.folder}"),
        ({"nickname": "eve"}, "is already named ada, not eve"),
    ):
        assert says in await one.refused("spawn_run", **one.task(**resume | change))
    again = await one.call("spawn_run", **one.task(**resume))
    assert (again["session_id"], again["agent_name"]) == (session, "ada")
    new = one.task(nickname="ada")
    assert "ada" in await one.refused("spawn_run", **new)


@pytest.mark.promise("spawn.once")
async def test_a_call_repeated_under_its_key_is_done_once(one: House) -> None:
    task = one.task(request_key="k-1")
    first = await one.call("spawn_run", **task)
    assert (await one.call("spawn_run", **task))["run_id"] == first["run_id"]
    text = await one.refused("spawn_run", **task | {"prompt": "something else"})
    assert "'k-1' was used for another request" in text
    puppet = await one.puppet(first["run_id"])
    say = {"run_id": first["run_id"], "text": "faster", "request_key": "k-2"}
    assert (await one.call("continue_run", **say))["did"] == "steered"
    assert (await one.call("continue_run", **say))["did"] == "attached"
    assert puppet.heard == [("steer", "faster")]
    await puppet.end(RunCompleted(final_response="one"))
    await one.ended(first["run_id"])
    assert (await one.call("continue_run", **say))["did"] == "attached"
    more = say | {"request_key": "k-3"}
    resumed = await one.call("continue_run", **more)
    again = await one.call("continue_run", **more)
    assert (resumed["did"], again["did"]) == ("resumed", "attached")
    assert resumed["run_id"] == again["run_id"]
    assert len((await one.call("list_runs"))["runs"]) == 2


@pytest.mark.promise("reference.name")
async def test_a_name_means_the_run_that_is_under_way(one: House, tmp_path: Path) -> None:
    first, puppet = await one.begin(nickname="ada")
    session = (await one.call("get_run", agent_name=" ada "))["session_id"]
    queued = await one.call("spawn_run", **one.task(session_mode="resume", session_id=session))
    assert (await one.call("get_run", agent_name="ada"))["run_id"] == first
    assert (await one.call("get_run", run_id=queued["run_id"]))["queue_place"] == 1
    await puppet.end(RunCompleted(final_response="one"))
    await one.ended(first)
    await one.puppet(queued["run_id"])
    assert (await one.call("get_run", agent_name="ada"))["run_id"] == queued["run_id"]
    other = tmp_path / "other"
    other.mkdir()
    twin, _ = await one.begin(nickname="ada", cwd=str(other))
    assert "ambiguous across multiple cwd" in await one.refused("get_run", agent_name="ada")
    found = await one.call("get_run", agent_name="ada", cwd=str(other))
    assert found["run_id"] == twin


async def test_a_tool_that_breaks_says_so_without_its_secrets(
    one: House, caplog: pytest.LogCaptureFixture
) -> None:
    run_id, _ = await one.begin()

    def broken(run: Run) -> NoReturn:
        raise RuntimeError(f"secret-token of {run.id}")

    one.puppets.tasks.queued = broken
    text = await one.refused("get_run", run_id=run_id)
    assert re.fullmatch(
        r"get_run failed inside the gateway; its log has the details \(\w{8}\)", text
    )
    assert "secret-token" in caplog.text


async def test_parts_of_a_message_are_named_too(one: House) -> None:
    wrong = {"parts": [{"kind": "text", "text": "x"}]}
    assert await one.refused("spawn_run", **one.task(input_message=wrong)) == (
        "spawn_run: unknown argument 'kind' in input_message.parts.0; known: type, text, data, "
        "uri, bytes_base64, mime_type, name"
    )


async def test_a_folder_is_meant_however_its_path_is_written(one: House) -> None:
    run_id, _ = await one.begin(nickname="ada")
    run = await one.call("get_run", agent_name="ada", cwd=f"{one.folder}/")
    assert run["run_id"] == run_id
    assert "absolute path" in await one.refused("get_run", agent_name="ada", cwd="work")


async def test_no_method_of_another_protocol_is_named(one: House) -> None:
    assert await one.refused("get_run", run_id="x") == (
        "no run 'x' here; list_runs shows what there is"
    )


async def test_a_name_that_is_nearly_right_is_told_before_what_is_missing(one: House) -> None:
    given = {**one.task(), "sessionMode": "new"}
    del given["session_mode"]
    assert await one.refused("spawn_run", **given) == (
        "spawn_run: unknown argument 'sessionMode'; did you mean session_mode?"
    )
    assert await one.refused("spawn_run") == (
        "spawn_run: arguments are missing: backend, role, cwd, session_mode"
    )
