"""The unary methods over a real socket, raw."""

import re
from pathlib import Path

import anyio
import pytest
from a2a.types import AgentCard

from gateway.core import errors
from gateway.core.errors import InvalidInputError
from gateway.core.events import RunCompleted
from gateway.core.extension import URI, CodingRequest
from gateway.core.face.refusals import A2A_ERRORS
from gateway.core.json import JsonObject
from gateway.core.record import Remote
from tests.core.faces import AGENT, headers, params, puppet_theatre, served


def test_every_refusal_has_an_a2a_error() -> None:
    source = Path(errors.__file__).read_text("utf-8")
    tree = source.split('"""')[1]
    codes = set(re.findall(r"\b([a-z]+(?:_[a-z]+)+|fenced)\b(?=[ |)\n])", tree.split("\n\n")[1]))
    assert codes - {"internal"} <= set(A2A_ERRORS)
    assert len(codes) >= 14


async def test_a_blocking_send_answers_the_completed_task_with_history_and_artifacts(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as on:
        task = await on.send("say hi; artifact plan one two; finish all done")

    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["status"]["timestamp"].endswith("Z")
    assert [(m["role"], m["parts"][0]["text"]) for m in task["history"]] == [
        ("ROLE_USER", "say hi; artifact plan one two; finish all done"),
        ("ROLE_AGENT", "hi"),
    ]
    assert {(m["taskId"], m["contextId"]) for m in task["history"]} == {
        (task["id"], task["contextId"])
    }
    assert [(a["artifactId"], a["parts"]) for a in task["artifacts"]] == [
        ("plan", [{"text": "one two"}]),
        ("final-response", [{"text": "all done"}]),
    ]
    assert "metadata" not in task, "without the extension nothing of it is said"


async def test_send_returns_immediately_when_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("hang", configuration={"returnImmediately": True})
        assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
        cancelled = await on.rpc("CancelTask", {"id": task["id"]})

    assert cancelled["result"]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_a_follow_up_with_only_the_task_id_answers_the_question(tmp_path: Path) -> None:
    """The SDK's own handler invents a context here and fails the task."""
    async with served(tmp_path) as on:
        asked = await on.send("ask which one?; finish ok")
        assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        question = asked["status"]["message"]
        assert question["messageId"] == f"{asked['id']}:2"
        assert question["parts"][0] == {"text": "which one?"}
        assert question["parts"][1]["data"]["pending"][0]["request_id"] == "q-1"
        assert question["messageId"] not in [m["messageId"] for m in asked["history"]]

        task = await on.send("the blue one", task_id=asked["id"])

    assert (task["id"], task["contextId"]) == (asked["id"], asked["contextId"])
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert [m["parts"][0]["text"] for m in task["history"]] == [
        "ask which one?; finish ok",
        "which one?",
        "the blue one",
        "heard: the blue one",
    ]
    assert task["history"][2]["messageId"] == "m-the blue one", "a caller's message keeps its id"


async def test_a_retry_after_auth_required_waits_for_what_comes_next(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        asked = await on.send("auth log in with: agent login; finish in")
        assert asked["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
        assert asked["status"]["message"]["parts"] == [{"text": "log in with: agent login"}]

        task = await on.send("try again", task_id=asked["id"])

    assert task["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(
    ("script", "state", "text"),
    [
        ("fail it broke", "TASK_STATE_FAILED", "it broke"),
        ("reject not that", "TASK_STATE_REJECTED", "not that"),
    ],
)
async def test_why_a_run_did_not_complete_is_its_status_message(
    tmp_path: Path, script: str, state: str, text: str
) -> None:
    async with served(tmp_path) as on:
        task = await on.send(script)

    assert task["status"]["state"] == state
    assert task["status"]["message"]["parts"] == [{"text": text}]
    assert len(task["history"]) == 1


async def test_parts_are_complete_although_the_event_is_split(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("big 50000; artifact a " + "x" * 40_000 + "; finish " + "y" * 30_000)

    assert len(task["history"][1]["parts"][0]["text"]) == 50_000
    assert [len(a["parts"][0]["text"]) for a in task["artifacts"]] == [40_000, 30_000]


async def test_whole_numbers_stay_whole_through_protobuf(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        response = await on.http.post(
            "/a2a/jsonrpc",
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "SendMessage",
                "params": params('data {"count": 42, "ratio": 0.5}'),
            },
            headers=headers(extended=True),
        )

    assert re.search(r'"count":42[,}]', response.text)
    task = response.json()["result"]["task"]
    assert task["artifacts"][0]["parts"][1]["data"] == {"count": 42, "ratio": 0.5}
    assert task["metadata"][URI]["last_seq"] == 2
    assert response.headers["A2A-Extensions"] == URI


async def test_history_length_bounds_the_history(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("count 5", configuration={"historyLength": 2})
        assert [m["parts"][0]["text"] for m in task["history"]] == ["message 3", "message 4"]
        none = await on.rpc("GetTask", {"id": task["id"], "historyLength": 0})
        assert "history" not in none["result"]
        whole = await on.rpc("GetTask", {"id": task["id"]})
        assert len(whole["result"]["history"]) == 6
        refused = await on.rpc("GetTask", {"id": task["id"], "historyLength": -1})
        assert refused["error"]["code"] == -32602


async def test_a_long_history_is_its_last_hundred_messages(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("count 700")

    texts = [m["parts"][0]["text"] for m in task["history"]]
    assert texts == [f"message {n}" for n in range(600, 700)]


async def test_tasks_are_listed_by_filters_and_pages(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        first = await on.send("finish 1")
        for n in (2, 3):
            await on.send(f"finish {n}", context_id=first["contextId"])
        await on.send("fail 4")

        page = (await on.rpc("ListTasks", {"pageSize": 2}))["result"]
        rest = await on.rpc("ListTasks", {"pageSize": 2, "pageToken": page["nextPageToken"]})
        here = await on.rpc("ListTasks", {"contextId": first["contextId"]})
        failed = await on.rpc("ListTasks", {"status": "TASK_STATE_FAILED"})
        full = await on.rpc(
            "ListTasks",
            {"status": "TASK_STATE_COMPLETED", "includeArtifacts": True, "historyLength": 1},
        )
        later = await on.rpc("ListTasks", {"statusTimestampAfter": first["status"]["timestamp"]})
        wrong = await on.rpc("ListTasks", {"pageToken": "nonsense"})
        too_many = await on.rpc("ListTasks", {"pageSize": 1000})

    assert (len(page["tasks"]), page["totalSize"], page["pageSize"]) == (2, 4, 2)
    ids = [task["id"] for task in page["tasks"] + rest["result"]["tasks"]]
    assert len(set(ids)) == 4
    assert ids[-1] == first["id"], "newest first"
    assert rest["result"]["nextPageToken"] == ""
    assert len(here["result"]["tasks"]) == 3
    assert "artifacts" not in here["result"]["tasks"][0]
    assert [task["status"]["state"] for task in failed["result"]["tasks"]] == ["TASK_STATE_FAILED"]
    assert full["result"]["tasks"][0]["artifacts"][0]["artifactId"] == "final-response"
    assert len(full["result"]["tasks"][0]["history"]) == 1
    assert len(later["result"]["tasks"]) == 4, "from that moment on, itself included"
    assert wrong["error"]["code"] == -32602
    assert too_many["error"]["code"] == -32602


async def test_refusals_have_a_code_a_reason_and_our_own_code(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        ended = await on.send("finish")
        unknown = await on.rpc("GetTask", {"id": "no-such"})
        again = await on.rpc("SendMessage", params("more", task_id=ended["id"]))
        cancel = await on.rpc("CancelTask", {"id": ended["id"]})
        elsewhere = await on.rpc(
            "SendMessage", params("x", task_id=ended["id"], context_id="another")
        )
        empty = await on.rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER"}})
        key = await on.rpc("SendMessage", params("x", asked={"no_such_field": 1}))
        push = await on.rpc("GetTaskPushNotificationConfig", {"taskId": ended["id"], "id": "1"})
        method = await on.rpc("NoSuchMethod", {})

    assert unknown["error"]["code"] == -32001
    assert unknown["error"]["data"][0]["metadata"]["code"] == "run_not_found"
    assert again["error"]["code"] == -32004
    assert again["error"]["data"][0]["metadata"]["code"] == "run_ended"
    assert cancel["error"]["code"] == -32002
    assert elsewhere["error"]["code"] == -32602
    assert empty["error"]["code"] == -32602
    assert key["error"]["code"] == -32602
    assert "no_such_field" in key["error"]["message"]
    assert push["error"]["code"] == -32001
    assert method["error"]["code"] == -32601


async def test_a_version_that_is_not_served_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        for version, code in (("", -32009), ("0.3", -32009), ("2.0", -32009), ("1.7", None)):
            for method in ("ListTasks", "SubscribeToTask"):
                response = await on.http.post(
                    "/a2a/jsonrpc",
                    json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "x"}},
                    headers={"A2A-Version": version} if version else {},
                )
                error = response.json().get("error", {}).get("code")
                assert error == (code or (None if method == "ListTasks" else -32001)), version


async def test_a_required_extension_is_enforced(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        stricter = AgentCard()
        stricter.CopyFrom(on.face.card)
        stricter.capabilities.extensions.add(uri="urn:test:must", required=True)
        on.face.card = stricter
        for method in ("SendMessage", "SendStreamingMessage"):
            refused = await on.rpc(method, params("hi"))
            assert refused["error"]["code"] == -32008
            assert "urn:test:must" in refused["error"]["message"]


async def test_one_agents_face_does_not_show_anothers_runs(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("hang", configuration={"returnImmediately": True})
        on.face.agent = "another"
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            assert (await on.rpc(method, {"id": task["id"]}))["error"]["code"] == -32001
        follow_up = await on.rpc("SendMessage", params("x", task_id=task["id"]))
        assert follow_up["error"]["code"] == -32001
        assert (await on.rpc("ListTasks", {}))["result"]["tasks"] == []
        on.face.agent = AGENT
        await on.rpc("CancelTask", {"id": task["id"]})


async def test_what_the_agent_cannot_honour_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    def check(request: CodingRequest) -> None:
        if request.cwd is None:
            raise InvalidInputError("cwd: name the folder to work in", "cwd")

    async with served(tmp_path, check=check) as on:
        refused = await on.rpc("SendMessage", params("say hi"))
        assert refused["error"]["data"][0]["metadata"] == {"code": "invalid_input", "field": "cwd"}
        assert (await on.rpc("ListTasks", {}))["result"]["totalSize"] == 0
        task = await on.send("say hi", asked={"cwd": "/work"})
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_request_key_makes_a_send_idempotent(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        one = await on.send("finish once", asked={"request_key": "k"})
        two = await on.send("finish once", asked={"request_key": "k"})
        other = await on.rpc("SendMessage", params("something else", asked={"request_key": "k"}))

    assert one["id"] == two["id"]
    assert other["error"]["code"] == -32602


async def test_what_nobody_foresaw_does_not_show_its_text(tmp_path: Path) -> None:
    def check(_request: CodingRequest) -> None:
        raise RuntimeError("secret: /home/me/.token")

    async with served(tmp_path, check=check) as on:
        for method in ("SendMessage", "SendStreamingMessage"):
            error = (await on.rpc(method, params("x")))["error"]
            assert error["code"] == -32603
            assert "secret" not in str(error)


async def test_the_second_path_with_a_slash_is_the_same(tmp_path: Path) -> None:
    async with served(tmp_path, prefix="/agents/puppet") as on:
        for path in ("/agents/puppet/a2a/jsonrpc", "/agents/puppet/a2a/jsonrpc/"):
            assert "result" in await on.rpc("ListTasks", {}, path=path)


async def test_rest_serves_the_same_operations(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        rest = "/a2a/rest"
        sent = await on.http.post(
            f"{rest}/message:send", json=params("ask what?"), headers=headers(extended=True)
        )
        task = sent.json()["task"]
        assert task["metadata"][URI]["last_seq"] == 2
        got = await on.http.get(f"{rest}/tasks/{task['id']}?historyLength=0", headers=headers())
        assert got.json()["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        listed = await on.http.get(
            f"{rest}/tasks?status=TASK_STATE_INPUT_REQUIRED&pageSize=1", headers=headers()
        )
        assert [item["id"] for item in listed.json()["tasks"]] == [task["id"]]
        cancelled = await on.http.post(f"{rest}/tasks/{task['id']}:cancel", headers=headers())
        assert cancelled.json()["status"]["state"] == "TASK_STATE_CANCELED"
        card = await on.http.get(f"{rest}/extendedAgentCard", headers=headers())
        assert card.json()["name"] == "Puppet"
        missing = await on.http.get(f"{rest}/tasks/no-such", headers=headers())
        assert missing.status_code == 404
        assert missing.json()["error"]["details"][0]["reason"] == "TASK_NOT_FOUND"
        push = await on.http.get(
            f"{rest}/tasks/{task['id']}/pushNotificationConfigs", headers=headers()
        )
        assert push.json() == {"configs": [], "nextPageToken": ""}
        assert (await on.http.get("/healthz")).json()["status"] == "ok"


async def test_a_blocking_send_is_not_over_when_only_the_remote_was_noted(tmp_path: Path) -> None:
    """The gateway stores where a run lives before it sends; that append has no event, and woke
    callers who took it for the end of their wait: they got a task that was still SUBMITTED."""
    async with puppet_theatre(tmp_path) as (on, puppets):
        tasks: list[JsonObject] = []

        async def block() -> None:
            tasks.append(await on.send("go"))

        async with anyio.create_task_group() as group:
            group.start_soon(block)
            puppet = await puppets.next()
            live = on.tasks.log._live.find(puppet.run.id)  # pyright: ignore[reportPrivateUsage]
            assert live is not None
            with anyio.fail_after(5):
                while not live.waiters:
                    await anyio.lowlevel.checkpoint()
            await puppet.writer.emit(remote=Remote(agent="there", context_id="c"))
            await puppet.writer.flush()
            await anyio.wait_all_tasks_blocked()
            await puppet.end(RunCompleted(final_response="ok"))
    assert tasks[0]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_server_that_stops_tells_its_blocking_callers(tmp_path: Path) -> None:
    """With the SDK's handler uvicorn waited for the caller, and the caller for the task."""
    async with served(tmp_path) as on:
        answers: list[object] = []

        async def block() -> None:
            answers.append((await on.rpc("SendMessage", params("hang")))["error"]["message"])

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(block)
                while not (await on.rpc("ListTasks", {}))["result"]["tasks"]:
                    pass
                on.listener.stop()

    assert "the server is stopping" in str(answers[0])
