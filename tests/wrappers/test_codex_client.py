"""Codex's JSON-RPC client beside a process that is no Codex: what becomes of calls at its end."""

import os
from pathlib import Path

import anyio
import pytest

from wrappers.codex.client import CodexClient
from wrappers.codex.router import CodexGoneError
from wrappers.processes.process import spawn


async def test_a_call_to_a_process_that_was_just_killed_says_that_it_is_gone(
    tmp_path: Path,
) -> None:
    # Between the kill and the end of its output the pipe is closed already: on uvloop writing to
    # it raised RuntimeError, and the run failed with an internal error.
    child = await spawn(["cat"], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, tag="codex")
    client = CodexClient(child)
    child.stdin.close()
    with anyio.fail_after(10):
        with pytest.raises(CodexGoneError):
            await client.call("thread/start")
        await client.close()
