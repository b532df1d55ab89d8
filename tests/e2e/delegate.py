"""An agent's helper that has work done by another agent, through the bridge as its MCP server.

Run as a command of a run, by path: `delegate.py AGENT PROMPT`. Prints the run's id as soon as it has
one, and what it answered. Standard library only, so that it starts at once.
"""

import json
import os
import subprocess
import sys
from typing import Any

ENDED = ("completed", "failed", "cancelled", "rejected")


class Bridge:
    """The bridge's relay as a child, with the environment that this process has."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-P", "-m", "mcp_bridge.stdio", *flags]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._id = 0
        client = {"name": "delegate", "version": "1"}
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self._call("initialize", about)

    def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = self._call("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            sys.exit(f"refused: {result['content'][0]['text']}")
        return result["structuredContent"]

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self._child.stdin.write(json.dumps(message).encode() + b"\n")
        self._child.stdin.flush()
        while True:
            answer = json.loads(self._child.stdout.readline())
            if answer.get("id") == self._id:
                return answer["result"]

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


def main(agent: str, prompt: str) -> None:
    bridge = Bridge()
    spawned = bridge.ask(
        "spawn_run",
        backend="remote_a2a",
        backend_config={"agent": agent},
        role="worker",
        prompt=prompt,
        cwd=os.getcwd(),  # noqa: PTH109 - as a shell would
        session_mode="new",
    )
    say(f"child {spawned['run_id']}")
    after = 0
    while True:
        page = bridge.ask("poll_events", run_id=spawned["run_id"], after_seq=after, wait_ms=20_000)
        after = page["next_after_seq"]
        if page["status"] in ENDED and not page["has_more"]:
            break
    run = bridge.ask("get_run", run_id=spawned["run_id"])
    say(f"{run['status']}: {run.get('result', {}).get('final_response')}")
    bridge.close()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
