"""The real Claude Code as the caller: it has Codex do something, by the tools that the bridge gives it.

Its model is scripted too (`@play`), and goes by what the tools answer. Knows how Claude Code prints
what it does, and no gateway.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any, Final, cast

import anyio
import anyio.abc
from anyio.streams.text import TextReceiveStream

from tests.demo.flows import SCENE_S, WrongEndError
from tests.demo.stage import BIN, Stage
from tests.demo.transcript import Transcript
from wrappers.claude.options import bundled_cli

Json = dict[str, Any]
TITLE: Final = "Claude Code has Codex do it, with the tools that the bridge gives it"
MADE: Final = "for-claude.txt"
PROMPT: Final = f"@sh touch {MADE}\n@say I made {MADE}."
SAID: Final = f"codex completed it and says: I made {MADE}."
PREFIX: Final = "mcp__a2a-gateway__"
SHORT: Final = ("backend", "prompt", "run_id", "after_seq", "answer")  # of a call's arguments
FACTS: Final = ("status", "did", "next_after_seq", "summary", "error")  # of an answer


async def call_from_claude(stage: Stage, transcript: Transcript) -> None:
    """Raises: WrongEndError, TimeoutError."""
    transcript.scene(TITLE)
    job: Json = {
        "backend": "codex", "role": "worker", "prompt": PROMPT, "cwd": str(stage.project),
        "session_mode": "new", "backend_config": {"permission_mode": "ask"},
    }  # fmt: skip
    prompt = f"@play tell {json.dumps({'job': job})}"
    transcript.note("claude -p", "--mcp-config «what `a2a-mcp-bridge config claude` prints»")
    with anyio.fail_after(SCENE_S):
        said = await _printed(await _start(stage, prompt), transcript)
    if said != SAID or not (stage.project / MADE).exists():
        raise WrongEndError(f"Claude Code ended with {said!r}")
    transcript.verdict(True, f"claude -p: {said}")


async def _start(stage: Stage, prompt: str) -> anyio.abc.Process:
    printed = await anyio.run_process(
        [str(BIN / "a2a-mcp-bridge"), "config", "claude"],
        env=stage.environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    servers = stage.folder / "mcp.json"
    servers.write_bytes(printed.stdout)
    flags = ["--output-format", "stream-json", "--verbose", "--strict-mcp-config"]
    flags += ["--mcp-config", str(servers), "--allowedTools", PREFIX.removesuffix("__")]
    return await anyio.open_process(
        [str(bundled_cli()), "-p", *flags, "--", prompt],
        cwd=stage.project, stdin=subprocess.DEVNULL, stderr=None,
        env={**stage.environment, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    )  # fmt: skip


async def _printed(process: anyio.abc.Process, transcript: Transcript) -> str:
    """Print the calls as they come; what it says at last."""
    asked: dict[str, Json] = {}  # by the call's id
    said, rest = "", ""
    async with process:
        assert process.stdout is not None
        async for chunk in TextReceiveStream(process.stdout):
            *lines, rest = (rest + chunk).split("\n")
            for item in map(json.loads, filter(None, lines)):
                said = item.get("result", "") if item["type"] == "result" else said
                for block in _blocks(item):
                    if block["type"] == "tool_use":
                        asked[block["id"]] = block
                    elif block["type"] == "tool_result":
                        _show(asked[block["tool_use_id"]], str(block["content"]), transcript)
    return said


def _blocks(item: Json) -> Iterator[Json]:
    content: object = item.get("message", {}).get("content")
    return iter(cast("list[Json]", content) if isinstance(content, list) else ())


def _show(call: Json, answer: str, transcript: Transcript) -> None:
    """One call with what the model was told, its events below it."""
    try:
        told: Json = json.loads(answer)
    except ValueError:
        told = {"error": answer}
    asked = {key: value for key, value in call["input"].items() if key in SHORT}
    facts = {key: told[key] for key in FACTS if key in told}
    transcript.call(call["name"].removeprefix(PREFIX), asked, facts)
    for event in told.get("events", ()):
        transcript.event(event)
