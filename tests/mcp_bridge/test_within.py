"""From within which run the relay's client asks, by what its process was told."""

from pathlib import Path

import pytest

from mcp_bridge import within as bridge
from mcp_bridge.relaying.exchange import Handshake
from mcp_bridge.within import PARENT_HEADER, outside, within
from wrappers import runfile

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "spawn_run"}}


def test_the_wrappers_and_the_bridge_mean_the_same_variables() -> None:
    for name in ("RUN_VARIABLE", "RUN_FILE_VARIABLE", "RUN_FILES_VARIABLE"):
        assert getattr(bridge, name) == getattr(runfile, name)


def test_a_run_is_told_by_its_id() -> None:
    assert within({})({}) is None
    assert within({bridge.RUN_VARIABLE: "r-1"})({}) == "r-1"
    for wrong in ("", " ", "x" * 65, "a\nb", "é"):
        assert within({bridge.RUN_VARIABLE: wrong})({}) is None


def test_a_process_that_outlives_its_run_reads_of_the_present_one(tmp_path: Path) -> None:
    files = runfile.RunFiles(tmp_path / "runs")
    told = within(files.environment_of("session-1"))
    assert told({}) is None
    files.write("session-1", "r-1")
    assert told({}) == "r-1"
    files.write("session-1", "r-2")
    assert told({}) == "r-2"
    files.clear()
    assert told({}) is None


@pytest.mark.parametrize(
    ("meta", "own", "found"),
    [
        ({"threadId": "t-1", "sessionId": "t-1"}, None, "r-1"),
        ({"threadId": "a-sub-agents", "sessionId": "t-2"}, None, "r-2"),
        ({"threadId": "../../etc/passwd"}, None, None),
        ({"threadId": 7}, None, None),
        (None, None, None),
        (None, "t-2", "r-2"),
    ],
)
def test_what_codex_starts_is_told_by_its_thread(
    tmp_path: Path, meta: object, own: str | None, found: str | None
) -> None:
    files = runfile.RunFiles(tmp_path)
    files.write("t-1", "r-1")
    files.write("t-2", "r-2")
    environ = {**files.environment, **({"CODEX_THREAD_ID": own} if own else {})}
    assert within(environ)({"_meta": meta}) == found


def test_the_run_goes_with_every_message_as_a_header_and_with_no_gateway_that_is_started() -> None:
    environ = {bridge.RUN_VARIABLE: "r-1", "PATH": "/bin"}
    assert Handshake(within(environ)).headers(CALL)[PARENT_HEADER] == "r-1"
    assert PARENT_HEADER not in Handshake().headers(CALL)
    assert outside(environ) == {"PATH": "/bin"}
