"""Push notification configs over A2A, on both bindings, up to what the webhook gets."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from a2a.types import AgentCard

from gateway.core.json import JsonObject
from gateway.core.store.outbox import CONFIGS_MAX
from tests.core.faces import Served, headers, params, puppet_theatre, read_sse, served
from tests.core.receiver import receiver

DONE = "TASK_STATE_COMPLETED"
SOMEWHERE = "https://8.8.8.8/hook"
LOGIN = {"scheme": "Bearer", "credentials": "tell-nobody"}


async def rest(on: Served, method: str, task_id: str, rest: str = "", **more: Any) -> JsonObject:
    path = f"/a2a/rest/tasks/{task_id}/pushNotificationConfigs{rest}"
    response = await on.http.request(method, path, headers=headers(), **more)
    return response.json() | {"status": response.status_code}


async def nothing_due(on: Served) -> None:
    with anyio.fail_after(5):
        while await on.tasks.log.outbox.due("", ("", ""), 10):
            await anyio.lowlevel.checkpoint()


async def test_a_config_that_comes_with_a_message_is_told_the_run_from_its_first_event(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as on, receiver() as hook:
        config = {"url": hook.url, "token": "mine", "authentication": LOGIN}
        task = await on.send(
            "say hello; finish bye", configuration={"taskPushNotificationConfig": config}
        )
        got = await hook.until(DONE)
        assert [one.state for one in got if "statusUpdate" in one.item] == [
            "TASK_STATE_WORKING",
            "TASK_STATE_WORKING",
            DONE,
        ]
        assert got[1].text == "hello"
        assert {one.headers["authorization"] for one in got} == {"Bearer tell-nobody"}
        stored = await on.rpc("GetTaskPushNotificationConfig", {"taskId": task["id"]})
        assert stored["result"] == {"taskId": task["id"], "id": task["id"], **config}
        await nothing_due(on)


async def test_a_webhook_gets_what_a_stream_reader_gets(tmp_path: Path) -> None:
    async with served(tmp_path) as on, receiver() as hook:
        script = "say one; artifact notes two; big 50000; ask sure?; finish three"
        configuration = {"taskPushNotificationConfig": {"url": hook.url}}
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "SendStreamingMessage",
            "params": params(script, configuration=configuration),
        }
        async with on.http.stream("POST", "/a2a/jsonrpc", json=call, headers=headers()) as response:
            items = [event.data["result"] async for event in read_sse(response)]
        assert "task" in items[0]
        got = await hook.count(len(items) - 1)
        assert [one.item for one in got] == items[1:]


async def test_a_config_with_a_follow_up_is_told_what_comes_of_it(tmp_path: Path) -> None:
    async with served(tmp_path) as on, receiver() as hook:
        task = await on.send("say before; ask sure?; say after; finish bye")
        configuration = {"taskPushNotificationConfig": {"url": hook.url}}
        await on.send("yes", task_id=task["id"], configuration=configuration)
        got = await hook.until(DONE)
        assert "before" not in [one.text for one in got if "statusUpdate" in one.item]
        assert "after" in [one.text for one in got if "statusUpdate" in one.item]


async def test_configs_are_made_read_listed_and_deleted_on_both_bindings(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        run = (await on.send("finish bye"))["id"]
        about = {"taskId": run}
        made = await on.rpc(
            "CreateTaskPushNotificationConfig", about | {"id": "a", "url": SOMEWHERE}
        )
        assert made["result"] == {"taskId": run, "id": "a", "url": SOMEWHERE}
        body = {"id": "b", "url": SOMEWHERE, "authentication": LOGIN}
        assert (await rest(on, "POST", run, json=body))["authentication"] == LOGIN
        assert (await rest(on, "GET", run, "/a"))["url"] == SOMEWHERE
        first = await rest(on, "GET", run, params={"pageSize": 1})
        assert [config["id"] for config in first["configs"]] == ["a"]
        second = await on.rpc(
            "ListTaskPushNotificationConfigs",
            about | {"pageSize": 1, "pageToken": first["nextPageToken"]},
        )
        assert [config["id"] for config in second["result"]["configs"]] == ["b"]
        assert not second["result"]["nextPageToken"]
        for _ in range(2):  # a second delete is no error
            gone = await on.rpc("DeleteTaskPushNotificationConfig", about | {"id": "a"})
            assert "error" not in gone
        assert (await rest(on, "DELETE", run, "/b"))["status"] == 200
        assert (await rest(on, "GET", run))["configs"] == []
        missing = await on.rpc("GetTaskPushNotificationConfig", about | {"id": "a"})
        assert missing["error"]["code"] == -32001
        assert (await rest(on, "GET", run, "/a"))["status"] == 404


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"url": "http://192.168.0.1/hook"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "ftp://8.8.8.8/"}, "url"),
        ({"url": "https://8.8.8.8/" + "x" * 2048}, "url"),
        ({"url": SOMEWHERE, "id": "x" * 129}, "id"),
        ({"url": SOMEWHERE, "token": "a\r\nX-Evil: yes"}, "token"),
        ({"url": SOMEWHERE, "token": "ü"}, "token"),
        (
            {"url": SOMEWHERE, "authentication": {"scheme": "a b", "credentials": "c"}},
            "authentication.scheme",
        ),
        ({"url": SOMEWHERE, "authentication": {"credentials": "c"}}, "authentication.scheme"),
        (
            {"url": SOMEWHERE, "authentication": {"scheme": "Bearer", "credentials": "c\n"}},
            "authentication.credentials",
        ),
    ],
)
async def test_a_config_that_cannot_be_sent_to_is_refused_before_anything_is_made(
    tmp_path: Path, config: JsonObject, field: str
) -> None:
    async with served(tmp_path) as on:
        refused = await on.rpc(
            "SendMessage",
            params("finish bye", configuration={"taskPushNotificationConfig": config}),
        )
        assert refused["error"]["code"] == -32602
        assert refused["error"]["data"][0]["metadata"]["field"] == field
        assert (await on.rpc("ListTasks", {}))["result"]["tasks"] == []
        run = (await on.send("finish bye"))["id"]
        again = await on.rpc("CreateTaskPushNotificationConfig", {"taskId": run, **config})
        assert again["error"] == refused["error"]


async def test_a_run_has_a_bounded_number_of_configs(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        run = (await on.send("finish bye"))["id"]
        for number in range(CONFIGS_MAX):
            await rest(on, "POST", run, json={"id": str(number), "url": SOMEWHERE})
        again = await rest(on, "POST", run, json={"id": "0", "url": SOMEWHERE})
        assert again["status"] == 200
        more = await rest(on, "POST", run, json={"id": "more", "url": SOMEWHERE})
        assert more["status"] == 400


async def test_configs_of_a_run_that_is_not_there_do_not_exist(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        for method, more in (
            ("CreateTaskPushNotificationConfig", {"url": SOMEWHERE}),
            ("GetTaskPushNotificationConfig", {"id": "a"}),
            ("ListTaskPushNotificationConfigs", {}),
            ("DeleteTaskPushNotificationConfig", {"id": "a"}),
        ):
            refused = await on.rpc(method, {"taskId": "nobody", **more})
            assert refused["error"]["code"] == -32001, method
            without = await on.rpc(method, more)
            assert without["error"]["code"] == -32602, method


async def test_a_card_that_offers_no_webhooks_means_it(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        run = (await on.send("finish bye"))["id"]
        card = AgentCard()
        card.CopyFrom(on.face.card)
        card.capabilities.push_notifications = False
        on.face.card = card
        about = {"taskId": run, "id": "a", "url": SOMEWHERE}
        for method in ("Create", "Get", "Delete"):
            refused = await on.rpc(f"{method}TaskPushNotificationConfig", about)
            assert refused["error"]["code"] == -32003, method
        refused = await on.rpc("ListTaskPushNotificationConfigs", {"taskId": run})
        assert refused["error"]["code"] == -32003
        configuration = {"taskPushNotificationConfig": {"url": SOMEWHERE}}
        sent = await on.rpc("SendMessage", params("finish bye", configuration=configuration))
        assert sent["error"]["code"] == -32003


async def test_a_message_that_is_repeated_makes_no_second_config(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets), receiver() as hook:
        configuration = {
            "taskPushNotificationConfig": {"url": hook.url},
            "returnImmediately": True,
        }
        asked = params("go", configuration=configuration, asked={"request_key": "k"})
        first = await on.rpc("SendMessage", asked)
        puppet = await puppets.next()
        await hook.count(1)
        second = await on.rpc("SendMessage", asked)
        assert first["result"]["task"]["id"] == second["result"]["task"]["id"]
        listed = await on.rpc("ListTaskPushNotificationConfigs", {"taskId": puppet.run.id})
        assert len(listed["result"]["configs"]) == 1
        puppet.leave()


async def test_a_client_of_0_3_keeps_webhooks_too(tmp_path: Path) -> None:
    async def old(on: Served, method: str, about: JsonObject) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": about}
        answer = (await on.http.post("/a2a/jsonrpc", json=call)).json()
        assert "error" not in answer, answer
        return answer["result"]

    async with served(tmp_path) as on, receiver() as hook:
        config = {
            "url": hook.url,
            "token": "mine",
            "authentication": {"schemes": ["Bearer"], "credentials": "theirs"},
        }
        message = {
            "kind": "message",
            "messageId": "m",
            "role": "user",
            "parts": [{"kind": "text", "text": "say hello; finish bye"}],
        }
        task = await old(
            on,
            "message/send",
            {"message": message, "configuration": {"pushNotificationConfig": config}},
        )
        got = await hook.until(DONE)
        assert {one.headers["authorization"] for one in got} == {"Bearer theirs"}
        about = {"id": task["id"]}
        stored = {"taskId": task["id"], "pushNotificationConfig": {"id": task["id"], **config}}
        assert await old(on, "tasks/pushNotificationConfig/get", about) == stored
        second = {"id": "second", "url": SOMEWHERE}
        made = {"taskId": task["id"], "pushNotificationConfig": second}
        assert await old(on, "tasks/pushNotificationConfig/set", made) == made
        listed = await old(on, "tasks/pushNotificationConfig/list", about)
        assert sorted(listed, key=str) == sorted([stored, made], key=str)
        await old(
            on,
            "tasks/pushNotificationConfig/delete",
            about | {"pushNotificationConfigId": "second"},
        )
        assert await old(on, "tasks/pushNotificationConfig/list", about) == [stored]
