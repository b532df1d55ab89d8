"""What Codex says of itself before any run: the real binary, and programs that only look like it."""

import json
from pathlib import Path

import anyio
import pytest

from tests.models.openai_responses import KEY_NAME
from tests.wrappers.codex_bench import PATIENCE_S, Bench, play, turn_of
from wrappers.adapter import Ask, Finding
from wrappers.codex.adapter import CodexAdapter


async def inspected(adapter: CodexAdapter) -> dict[str, Finding]:
    with anyio.fail_after(PATIENCE_S):
        return {finding.name: finding for finding in await adapter.inspect()}


def program(folder: Path, *lines: str) -> Path:
    """A program in place of Codex."""
    file = folder / "codex-instead"
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]), "utf-8")
    file.chmod(0o755)
    return file


def instead(bench: Bench, *lines: str) -> CodexAdapter:
    return CodexAdapter(binary=program(bench.home, *lines), env=bench.env, home=bench.home)


def contents(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file."""
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in files]


async def test_a_codex_that_can_work_says_so_in_order_and_changes_nothing(bench: Bench) -> None:
    before = contents(bench.home / "codex")
    found = await inspected(bench.adapter())
    assert list(found) == ["program", "version", "login", "sandbox"]
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert found["program"].text.endswith("codex")
    assert found["version"].text.count(".") == 2
    assert KEY_NAME in found["login"].text
    assert contents(bench.home / "codex") == before
    assert not bench.model.requests


async def test_a_missing_key_of_the_models_provider_is_found(bench: Bench) -> None:
    del bench.env[KEY_NAME]
    found = await inspected(bench.adapter())
    assert found["login"].verdict == "failed"
    assert f"A2A_AGENT_PASS_ENV ({KEY_NAME})" in found["login"].text


async def test_a_missing_login_is_found_with_what_to_do(bench: Bench) -> None:
    (bench.home / "codex" / "config.toml").unlink()
    found = await inspected(bench.adapter())
    assert found["login"].verdict == "failed"
    assert "`codex login`" in found["login"].text


async def test_a_login_of_codexs_own_is_found(bench: Bench) -> None:
    bench.configure(requires_openai_auth=True)
    login = bench.home / "codex" / "auth.json"
    login.write_text(json.dumps({"OPENAI_API_KEY": "sk-kept-from-view"}), "utf-8")
    found = await inspected(bench.adapter())
    assert found["login"].verdict == "ok"
    assert "kept-from" not in found["login"].text


async def test_a_key_in_the_environment_is_a_login(bench: Bench) -> None:
    (bench.home / "codex" / "config.toml").unlink()
    found = await inspected(bench.adapter(OPENAI_API_KEY="sk-scripted"))
    assert (found["login"].verdict, found["login"].text) == ("ok", "by the key in OPENAI_API_KEY")


async def test_settings_that_cannot_be_read_are_found(bench: Bench) -> None:
    (bench.home / "codex" / "config.toml").write_text("model = ", "utf-8")
    found = await inspected(bench.adapter())
    assert found["login"].verdict == "failed"
    assert "config.toml" in found["login"].text


async def test_a_program_that_is_not_there_is_the_only_finding(bench: Bench) -> None:
    adapter = CodexAdapter(binary=bench.home / "absent", env=bench.env, home=bench.home)
    found = await inspected(adapter)
    assert list(found) == ["program"]
    assert found["program"].verdict == "failed"
    assert "--codex-bin" in found["program"].text


async def test_a_program_that_is_another_one_fails(bench: Bench) -> None:
    found = await inspected(instead(bench, "echo who?"))
    assert list(found) == ["program"]
    assert found["program"].verdict == "failed"
    assert "is not Codex: who?" in found["program"].text


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("codex-cli 0.146.2", "failed"), ("codex-cli 0.171.0-alpha.1", "ok"), ("codex-cli", "warned")],
)
async def test_a_version_is_told_from_the_oldest_that_works(
    bench: Bench, said: str, verdict: str
) -> None:
    found = await inspected(instead(bench, f"echo {said}"))
    assert found["version"].verdict == verdict
    assert ("update it" in found["version"].text) is (verdict != "ok")


async def test_a_sandbox_that_does_not_work_is_a_warning(bench: Bench) -> None:
    refuse = '[ "$1" = sandbox ] && { echo "bwrap: no user namespaces" >&2; exit 1; }'
    found = await inspected(instead(bench, refuse, "echo codex-cli 0.163.0"))
    assert found["sandbox"].verdict == "warned"
    assert "no user namespaces" in found["sandbox"].text
    assert "danger-full-access" in found["sandbox"].text


async def test_the_status_counts_processes_threads_and_turns(bench: Bench) -> None:
    adapter = bench.adapter()
    nothing = {"app_servers": 0, "threads_loaded": 0, "turns_running": 0}
    assert adapter.status() == nothing
    await play(await bench.open(), "@say hello")
    assert adapter.status() == {"app_servers": 1, "threads_loaded": 1, "turns_running": 0}
    session = await bench.open()
    async for step in session.run(turn_of("@sh touch a\n@say no", permission_mode="ask")):
        if isinstance(step, Ask):
            assert adapter.status() == {"app_servers": 1, "threads_loaded": 2, "turns_running": 1}
            await session.cancel()
    await adapter.close()
    assert adapter.status() == nothing
