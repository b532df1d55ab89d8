"""The gateway as an A2A agent: every card it serves, every interface a card names, one kind of run."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.core.extension import EXTENSIONS_HEADER, URI
from gateway.core.json import JsonObject
from tests.core.faces import served
from tests.gateway.process import START_S, Gateway, started

CARD = "/.well-known/agent-card.json"


@asynccontextmanager
async def two_agents(
    environment: dict[str, str], folder: Path
) -> AsyncGenerator[tuple[Gateway, str]]:
    """A gateway with a local agent, and one by URL, whose name is given."""
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with served(folder) as agent, started(environment) as gateway:
        body = {"name": "puppet", "agent_url": agent.base_url}
        added = await gateway.http.post("/registry", json=body)
        assert added.status_code == 201, added.text
        try:
            yield gateway, "puppet"
        finally:
            assert await gateway.stop() == 0


def message(text: str, cwd: Path, **more: Any) -> JsonObject:
    metadata = {"nanobot_orchestrator": {"cwd": str(cwd)}, **more.pop("metadata", {})}
    made = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]}
    return {"message": made | {"metadata": metadata} | more}


async def ask_at(http: httpx.AsyncClient, interface: JsonObject, params: JsonObject) -> str:
    """The state in which a message ends that is sent to an interface of a card."""
    url, version = interface["url"], interface["protocolVersion"]
    headers = {"A2A-Version": version}
    old = version == "0.3"
    if old:
        said = params["message"]
        params = {
            "message": {
                "kind": "message",
                "messageId": said["messageId"],
                "role": "user",
                "parts": [{"kind": "text", **part} for part in said["parts"]],
                "metadata": said["metadata"],
            },
            "configuration": {"blocking": True},
        }
    if interface["protocolBinding"] == "JSONRPC":
        method = "message/send" if old else "SendMessage"
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await http.post(url, json=body, headers=headers)
        result = answer.json()["result"]
        return (result if old else result["task"])["status"]["state"]
    if old:
        said = params["message"]
        wire = {
            "messageId": said["messageId"],
            "role": "ROLE_USER",
            "content": [{"text": part["text"]} for part in said["parts"]],
            "metadata": said["metadata"],
        }
        params = {"request": wire, "configuration": {"blocking": True}}
    path = "/v1/message:send" if old else "/message:send"
    answer = await http.post(url + path, json=params, headers=headers)
    assert answer.status_code == 200, (url, answer.text)
    return answer.json()["task"]["status"]["state"]


async def test_every_interface_of_every_card_answers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with two_agents(environment, tmp_path) as (gateway, remote):
        listed = (await gateway.http.get("/agents")).json()["agents"]
        assert [item["name"] for item in listed] == [remote, "scripted"]
        cards = [(item["name"], item["cardUrl"]) for item in listed]
        tried = 0
        for name, url in [*cards, (None, gateway.url + CARD)]:
            for path in (url, url.replace("agent-card.json", "agent.json")):
                async with httpx.AsyncClient() as stranger:
                    card = (await stranger.get(path)).json()
                assert card["name"]
            card = (await gateway.http.get(url)).json()
            text = "say hello" if name == "scripted" else "finish hello"
            params = message(text, tmp_path, metadata={"skill": name or remote})
            for interface in card["supportedInterfaces"]:
                assert interface["url"].startswith(gateway.url)
                state = await ask_at(gateway.http, interface, params)
                assert state in ("TASK_STATE_COMPLETED", "completed"), (name, interface)
                tried += 1
        assert tried == 12
        runs = (await gateway.ask("list_runs", limit=50))["runs"]
        assert len(runs) == 12
        # The MCP side knows agents by URL under one backend, whoever made their runs.
        assert {run["backend"] for run in runs} == {"scripted", "remote_a2a"}


async def test_the_gateways_own_card_names_its_agents_as_skills(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with two_agents(environment, tmp_path) as (gateway, remote):
        card = (await gateway.http.get(CARD)).json()
        assert card["name"] == "a2a-gateway"
        assert [skill["id"] for skill in card["skills"]] == [remote, "scripted"]
        assert "Plays its prompt." in card["skills"][0]["description"]
        etag = (await gateway.http.get(CARD)).headers["ETag"]
        await gateway.http.patch(f"/registry/{remote}", json={"enabled": False})
        changed = await gateway.http.get(CARD, headers={"If-None-Match": etag})
        assert [skill["id"] for skill in changed.json()["skills"]] == ["scripted"]
        # One agent is left: nothing need be said of it.
        sent = await own(gateway, message("say alone", tmp_path))
        assert sent["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        refused = await gateway.rpc(remote, "SendMessage", message("finish x", tmp_path))
        assert "disabled" in refused["error"]["message"]


async def own(gateway: Gateway, params: JsonObject, method: str = "SendMessage") -> JsonObject:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return (await gateway.http.post("/a2a/jsonrpc", json=body)).json()


async def test_a_message_to_the_gateway_says_whose_it_is(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with two_agents(environment, tmp_path) as (gateway, remote):
        unclear = (await own(gateway, message("say x", tmp_path)))["error"]
        assert unclear["code"] == -32602
        assert "which agent is meant? name one as metadata.skill" in unclear["message"]
        assert f"{remote}, scripted" in unclear["message"]
        unknown = await own(gateway, message("say x", tmp_path, metadata={"skill": "gemini"}))
        assert "no agent or skill 'gemini'" in unknown["error"]["message"]
        for skill, text, said in (
            (remote, "finish by name", "by name"),
            ("play", "finish by skill", "by skill"),  # the puppet's own
            ("scripted", "say by name", "by name"),
        ):
            sent = await own(gateway, message(text, tmp_path, metadata={"skill": skill}))
            assert sent["result"]["task"]["artifacts"][-1]["parts"] == [{"text": said}]
        asked = {URI: {"cwd": str(tmp_path), "agent": "scripted"}}
        first = (await own(gateway, message("say one", tmp_path, metadata=asked)))["result"]["task"]
        # The session knows its agent; another one is refused.
        more = {"contextId": first["contextId"]}
        second = await own(gateway, message("recall", tmp_path, **more))
        assert second["result"]["task"]["artifacts"][-1]["parts"] == [{"text": "one"}]
        other = message("finish x", tmp_path, metadata={"skill": remote}, **more)
        assert "belongs to another agent" in (await own(gateway, other))["error"]["message"]
        wrong = message("say x", tmp_path, metadata={URI: {"agent": remote}})
        at_face = await gateway.rpc("scripted", "SendMessage", wrong)
        assert "this is agent 'scripted', not 'puppet'" in at_face["error"]["message"]


async def test_a_run_is_one_run_on_every_face(environment: dict[str, str], tmp_path: Path) -> None:
    async with two_agents(environment, tmp_path) as (gateway, _):
        script = "ask Go on?\nsay done"
        sent = await own(gateway, message(script, tmp_path, metadata={"skill": "scripted"}))
        task = sent["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        run = await gateway.ask("get_run", run_id=task["id"])
        assert (run["status"], run["session_id"]) == ("input_required", task["contextId"])
        # Its session has no name, so its id is one.
        assert run["agent_name"] == task["contextId"]
        named = await gateway.ask("get_run", agent_name=run["agent_name"])
        assert named["run_id"] == task["id"]
        answered = await gateway.ask("continue_run", run_id=task["id"], text="yes")
        assert answered["did"] == "answered"
        await ended(gateway, task["id"])
        at_face = await gateway.rpc("scripted", "GetTask", {"id": task["id"]})
        assert at_face["result"]["status"]["state"] == "TASK_STATE_COMPLETED"
        listed = (await own(gateway, {}, "ListTasks"))["result"]["tasks"]
        assert [item["id"] for item in listed] == [task["id"]]

        asked = {"cwd": str(tmp_path), "session_mode": "new", "role": "worker"}
        refused = await gateway.ask("spawn_run", backend="codex", prompt="x", **asked)
        assert "unknown backend 'codex'" in refused["refused"]
        config = {"agent": "scripted"}
        spawned = await gateway.ask(
            "spawn_run", backend="remote_a2a", prompt="hang", backend_config=config, **asked
        )
        assert "run_id" in spawned, spawned
        hanging = await own(gateway, {"id": spawned["run_id"]}, "GetTask")
        assert hanging["result"]["contextId"] == spawned["session_id"]
        cancelled = await own(gateway, {"id": spawned["run_id"]}, "CancelTask")
        assert cancelled["result"]["status"]["state"] == "TASK_STATE_CANCELED"
        run = await gateway.ask("get_run", run_id=spawned["run_id"])
        assert run["status"] == "cancelled"
        gone = await gateway.rpc("puppet", "GetTask", {"id": spawned["run_id"]})
        assert gone["error"]["code"] == -32001, "a face shows its own agent's runs alone"


async def ended(gateway: Gateway, run_id: str) -> JsonObject:
    with anyio.fail_after(START_S):
        after = 0
        while True:
            page = await gateway.ask("poll_events", run_id=run_id, after_seq=after, wait_ms=10_000)
            after = page["next_after_seq"]
            if page["status"] in ("completed", "failed", "cancelled", "rejected"):
                return await gateway.ask("get_run", run_id=run_id)


async def test_the_gateway_streams_and_replays_at_its_root_as_at_its_agents(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with two_agents(environment, tmp_path) as (gateway, _):
        sent = await own(gateway, message("say a\nsay b", tmp_path, metadata={"skill": "scripted"}))
        task_id = sent["result"]["task"]["id"]
        pages: list[str] = []
        for path in ("/a2a/jsonrpc", "/agents/scripted/a2a/jsonrpc"):
            params = {"id": task_id}
            body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": params}
            headers = {EXTENSIONS_HEADER: URI, "Last-Event-ID": "0"}
            pages.append((await gateway.http.post(path, json=body, headers=headers)).text)
        assert pages[0] == pages[1]
        assert "id: 4" in pages[0]


async def test_a_pool_is_published_as_an_agent_and_meant_by_what_its_members_can(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = "[]"
    async with (
        served(tmp_path / "one") as one,
        served(tmp_path / "two") as two,
        started(environment) as gateway,
    ):
        for name, agent in (("one", one), ("two", two)):
            body = {"name": name, "agent_url": agent.base_url, "pool": "team"}
            added = await gateway.http.post("/registry", json=body)
            assert added.status_code == 201, added.text
        listed = (await gateway.http.get("/agents")).json()["agents"]
        assert [item["name"] for item in listed] == ["one", "team", "two"]
        # Of the pool and its members, which all have the skill, it is the pool.
        sent = await own(gateway, message("finish it", tmp_path, metadata={"skill": "play"}))
        first = sent["result"]["task"]
        more = {"contextId": first["contextId"]}
        again = await gateway.rpc("team", "SendMessage", message("finish it", tmp_path, **more))
        runs = (await gateway.ask("list_runs"))["runs"]
        assert {run["run_id"] for run in runs} == {first["id"], again["result"]["task"]["id"]}
        # A session stays with its member.
        assert len({run["remote_ref"]["agent_name"] for run in runs}) == 1
        card = (await gateway.http.get("/agents/team/.well-known/agent-card.json")).json()
        for interface in card["supportedInterfaces"]:
            state = await ask_at(gateway.http, interface, message("finish it", tmp_path))
            assert state in ("TASK_STATE_COMPLETED", "completed"), interface


async def test_the_gateway_is_no_agent_of_its_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        for host in ("127.0.0.1", "localhost", "[::1]", "127.0.0.9"):
            url = gateway.url.replace("127.0.0.1", host) + "/agents/scripted"
            refused = await gateway.ask(
                "spawn_run",
                backend="remote_a2a",
                role="worker",
                prompt="say x",
                cwd=str(tmp_path),
                session_mode="new",
                backend_config={"agent_url": url},
            )
            assert f"{url} is this gateway itself" in refused["refused"]
            body = {"name": "me", "agent_url": url, "force": True}
            added = await gateway.http.post("/registry", json=body)
            assert added.status_code == 400
            assert "this gateway itself" in added.json()["error"]["message"]
        listed = (await gateway.http.get("/agents")).json()["agents"]
        assert [item["name"] for item in listed] == ["scripted"]
