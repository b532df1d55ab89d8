"""What a started wrapper says of itself: to a person, and as one line to a program.

Knows no server; tokens are never said, only their file.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateway.core import json
from gateway.core.face.cards import JSONRPC_PATH
from gateway.core.face.guard import CARD_PATH
from gateway.core.json import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A wrapper that answers at `base_url`. `token_file` is None when it asks for no token."""

    agent: str
    name: str
    base_url: str
    token_file: Path | None

    @property
    def jsonrpc_url(self) -> str:
        return self.base_url + JSONRPC_PATH

    @property
    def card_url(self) -> str:
        return self.base_url + CARD_PATH

    @property
    def spawn_run(self) -> JsonObject:
        """The arguments of the `spawn_run` tool that reach this wrapper."""
        return {
            "backend": "remote_a2a",
            "role": "worker",
            "prompt": f"Ask {self.agent} to perform a task",
            "cwd": "/abs/path/to/working/tree",
            "session_mode": "new",
            "backend_config": {"agent_url": self.base_url},
        }

    def line(self) -> str:
        """The one line that a program which started the wrapper waits for."""
        return json.encode(
            {
                "agent": self.agent,
                "name": self.name,
                "pid": os.getpid(),
                "base_url": self.base_url,
                "jsonrpc_url": self.jsonrpc_url,
                "card_url": self.card_url,
                "token_file": str(self.token_file) if self.token_file else None,
                "spawn_run": self.spawn_run,
            }
        )

    def text(self) -> str:
        """What a person reads."""
        payload = orjson.dumps(self.spawn_run, option=orjson.OPT_INDENT_2).decode()
        return f"""
A2A wrapper started successfully.
Agent: {self.agent}
Backend working directory: provided dynamically by spawn_run.cwd
Base URL: {self.base_url}
JSON-RPC URL: {self.jsonrpc_url}
Agent Card: {self.card_url}
Token file: {self.token_file or "none, whoever reaches this port is served"}

Use this MCP payload:
{payload}

Press Ctrl+C to stop the wrapper."""
