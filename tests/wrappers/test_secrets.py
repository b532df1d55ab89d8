"""No secret of a wrapper or of its gateway in any process below it, whatever a caller asks for."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from gateway.core.face.tokens import read_token
from tests.faults.orphans import SUBJECTS, Pen, Subject
from wrappers.codex.adapter import find_codex
from wrappers.processes.figures import descendants
from wrappers.runfile import RUN_FILE_VARIABLE, RUN_FILES_VARIABLE, RUN_VARIABLE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment")

OURS = {
    "A2A_AGENT_TOKEN": "canary-of-the-wrapper",
    "A2A_GATEWAY_TOKEN": "canary-of-the-gateway",
    "A2A_GATEWAY_AGENTS": '[{"token": "canary-of-a-peer"}]',
    "A2A_GATEWAY_DATABASE_URL": "postgresql://me:canary-of-the-database@127.0.0.1/runs",
}
THEIRS = {"AWS_SECRET_ACCESS_KEY": "canary-of-the-user", "GITHUB_TOKEN": "canary-of-the-user"}


def shown(pid: int) -> Iterator[bytes]:
    """What everybody of this user can read of the processes below `pid`: words and variables.
    Of `pid` itself the words alone: its own variables are where it has the secrets from."""
    yield from Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    for below in descendants(pid):
        for name in ("cmdline", "environ", "comm"):
            with suppress(OSError):
                yield from Path(f"/proc/{below}/{name}").read_bytes().split(b"\0")


@pytest.mark.parametrize("policy", ["core", "all"])
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
async def test_no_process_below_a_wrapper_shows_a_secret_of_ours(
    subject: Subject, policy: str, environment: dict[str, str], tmp_path: Path
) -> None:
    if subject.agent == "codex" and find_codex(None, os.defpath) is None:
        pytest.skip("no codex program; the extra `codex` brings one")
    base = {**environment, **OURS, **THEIRS}
    async with subject.serving(tmp_path, base) as pen:
        seen = await _shown_by_a_command(pen, policy)
        token = read_token(Path(pen.wrapper.ready["token_file"])).encode()
    assert any(pen.canary.encode() in word for word in seen), "the command was not seen"
    assert not [word for word in seen if token in word]
    named = {*OURS} if policy == "all" else {*OURS, *THEIRS}
    assert not [word for word in seen if b"=canary-of" in word and _name(word) in named]
    ours = {_name(word) for word in seen if _name(word).startswith(("A2A_AGENT_", "A2A_GATEWAY_"))}
    # Which run it works for is all that an agent is told of us.
    assert ours <= {RUN_VARIABLE, RUN_FILE_VARIABLE, RUN_FILES_VARIABLE}


def _name(word: bytes) -> str:
    return word.partition(b"=")[0].decode(errors="replace")


async def _shown_by_a_command(pen: Pen, policy: str) -> list[bytes]:
    with anyio.fail_after(60):
        await pen.hatch(env_policy=policy)
        await pen.whole()
    return list(shown(pen.pid))
