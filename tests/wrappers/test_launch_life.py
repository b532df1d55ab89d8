"""A wrapper under systemd, in a container, without a terminal: how it starts and ends there."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from gateway.core.face.tokens import read_token
from tests.wrappers.launched import COMMAND, START_S, gone, launched


async def test_systemd_hears_that_it_is_ready_and_that_it_stops(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "n"))
        told.setblocking(False)
        environment["NOTIFY_SOCKET"] = str(tmp_path / "n")
        loop = asyncio.get_running_loop()
        async with launched(environment, "scripted") as wrapper:
            with anyio.fail_after(START_S):
                assert await loop.sock_recv(told, 100) == b"READY=1"
                assert await wrapper.stop(signal.SIGTERM) == 0
                assert await loop.sock_recv(told, 100) == b"STOPPING=1"


async def test_a_second_signal_kills_what_is_at_work(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send(
            "run trap '' TERM INT; echo $$; while :; do sleep 0.1; done", tmp_path, wait=False
        )
        pid = 0
        async for event in wrapper.events(task["id"]):
            if event["type"] == "command_updated":
                pid = int(event["data"]["output"])
                break
        wrapper.process.send_signal(signal.SIGTERM)
        wrapper.process.send_signal(signal.SIGINT)
        with anyio.fail_after(START_S):
            assert await wrapper.process.wait() == 0
        await gone(pid)


async def test_it_serves_with_its_standard_streams_closed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # A socket that became descriptor 0 was closed by the first child that wanted no stdin.
    line = tmp_path / "line"
    command = f"exec {' '.join(COMMAND)} scripted --json <&- 2>&- > {line}"
    process = await asyncio.create_subprocess_exec("sh", "-c", command, env=environment)
    try:
        with anyio.fail_after(START_S):
            while not line.exists() or not line.read_text("utf-8").endswith("\n"):
                await anyio.lowlevel.checkpoint()
        assert json.decode_object(line.read_bytes())["agent"] == "scripted"
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(START_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_reader_that_went_away_is_no_failure(environment: dict[str, str]) -> None:
    ours, theirs = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "scripted",
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(theirs)
    said = b""
    with anyio.fail_after(START_S):
        while b"Press Ctrl+C" not in said:
            await anyio.wait_readable(ours)
            said += os.read(ours, 65536)
        os.close(ours)  # as `head` does
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors


async def test_the_token_stands_in_no_command_line_and_no_log(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "scripted", "--json", stdout=subprocess.PIPE, stderr=stderr, env=environment
        )
        assert process.stdout is not None
        with anyio.fail_after(START_S):
            ready = json.decode_object(await process.stdout.readline())
        token = read_token(Path(ready["token_file"])).encode()
        assert _who_shows(token) == []
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert token not in log.read_bytes()
    assert token.decode() not in json.encode(ready)


def _who_shows(token: bytes) -> list[Path]:
    """The processes with `token` in what everybody of this user can read of them."""
    found: list[Path] = []
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                if token in (entry / name).read_bytes():
                    found.append(entry / name)
    return found


def _unshare() -> list[str] | None:
    """What makes a command process 1 of a namespace of its own, where that is allowed."""
    if sys.platform != "linux" or (found := shutil.which("unshare")) is None:
        return None
    command = [found, "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.getuid() != 0:
        command += ["--user", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else None


async def test_as_process_1_it_collects_the_dead_and_hands_signals_on(
    environment: dict[str, str], tmp_path: Path
) -> None:
    unshare = _unshare()
    if unshare is None:
        pytest.skip("no PID namespace can be had here")
    process = await asyncio.create_subprocess_exec(
        *unshare,
        *COMMAND,
        "scripted",
        "--json",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            ready = json.decode_object(await process.stdout.readline())
        first = _child_of(process.pid)
        assert ready["pid"] != 1
        # Their parents have ended: process 1 is their parent now, and they are dead.
        orphans = "for n in 1 2 3; do sh -c '(sleep 0.05; exit 3) &'; done"
        entered = await asyncio.create_subprocess_exec(
            "nsenter", "--target", str(first), "--pid", "--mount", "sh", "-c", orphans
        )
        await entered.wait()
        with anyio.fail_after(START_S):
            while len(_children(first)) > 1:
                await anyio.lowlevel.checkpoint()
        os.kill(first, signal.SIGTERM)
        with anyio.fail_after(START_S):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return [int(child) for child in found]


def _child_of(pid: int) -> int:
    [child] = _children(pid)
    return child
