"""The demo itself: it plays through on the real CLIs, it notices what goes wrong, it leaves nothing."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from tests.demo.flows import Scene, WrongEndError, judge
from tests.demo.leftovers import processes_of

ROOT = Path(__file__).parent.parent.parent
SCENE = Scene(title="a scene", backend="codex", prompt="", shows=frozenset({"run_completed"}))
END = {"seq": 2, "type": "run_completed"}


async def test_the_demo_plays_every_flow_on_every_agent_and_leaves_no_process(
    environment: dict[str, str],
) -> None:
    with anyio.fail_after(300):
        done = await anyio.run_process(
            [sys.executable, "-m", "tests.demo"],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = done.stdout.decode()
    assert done.returncode == 0, text
    for backend in ("codex", "claude_code", "remote_a2a"):
        assert text.count(f"{backend}: completed after") == 2
        assert text.count(f"{backend}: cancelled after") == 1
    assert "claude -p: codex completed it" in text
    assert "no process is left behind" in text
    assert "mcpServers" in text
    assert "[mcp_servers." in text


@pytest.mark.parametrize(
    ("status", "seen", "says"),
    [
        ("failed", [{"seq": 1, "type": "run_started"}, END], "ended failed"),
        ("completed", [{"seq": 1, "type": "run_started"}], "no run_completed"),
        ("completed", [{"seq": 1, "type": "run_started"}, END, END], "doubled"),
        ("completed", [END], "missing"),
    ],
)
def test_a_scene_that_does_not_go_as_it_must_is_noticed(
    status: str, seen: list[dict[str, object]], says: str
) -> None:
    with pytest.raises(WrongEndError, match=says):
        judge(SCENE, {"status": status, "last_seq": 2}, seen)


async def test_a_process_that_carries_the_folder_is_found_until_it_ends(tmp_path: Path) -> None:
    wait = [sys.executable, "-c", "print('up', flush=True); input()"]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    async with await anyio.open_process(wait, env=environment, stderr=None) as process:
        assert process.stdout is not None
        with anyio.fail_after(20):
            assert "up" in await TextReceiveStream(process.stdout).receive()
        assert set(processes_of(tmp_path)) == {process.pid}
    assert processes_of(tmp_path) == {}
