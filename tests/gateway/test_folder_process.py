"""Run folders of a gateway as its users start it."""

from pathlib import Path

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.process import Gateway, started


async def _ran(gateway: Gateway, cwd: Path) -> str:
    """The id of a run that has ended."""
    message: JsonObject = {
        "messageId": "m-1",
        "role": "ROLE_USER",
        "parts": [{"text": "say hello"}],
        "metadata": {"nanobot_orchestrator": {"cwd": str(cwd)}},
    }
    answer = await gateway.rpc("scripted", "SendMessage", {"message": message})
    task = answer["result"]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    return task["id"]


async def test_a_gateway_writes_run_folders_unless_they_are_off(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    projects = {on: tmp_path / f"project-{on}" for on in ("true", "false", "again")}
    ids: dict[str, str] = {}
    for on, project in projects.items():
        project.mkdir()
        environment["A2A_GATEWAY_RUN_FOLDERS"] = "true" if on == "again" else on
        async with started(environment) as gateway:
            ids[on] = await _ran(gateway, project)
            assert await gateway.stop() == 0
    for on in ("true", "again"):
        folder = projects[on] / ".nanobot-orchestrator" / "runs" / ids[on]
        shown = json.decode_object((folder / "run.json").read_bytes())
        assert (shown["status"], shown["result"]["finalResponse"]) == ("completed", "hello")
        assert shown["remoteRef"]["agent_name"] == "scripted"
    # What ran while they were off stays without, after they are on again too.
    assert not (projects["false"] / ".nanobot-orchestrator").exists()
