"""Codex is stopped whatever it does: the real binary, a scripted model, real process trees."""

import contextlib
import json
import os
import signal

import anyio
import anyio.lowlevel
import pytest

from gateway.core.events import CommandFinished, CommandStarted, RunFailed, StatusChanged
from tests.wrappers.codex_bench import (
    PATIENCE_S,
    Bench,
    Gate,
    Processes,
    app_server_of,
    holding,
    new_mark,
    only,
    play,
    turn_of,
    types,
)
from wrappers.adapter import Ask, Bound, Context, Step, Withdraw


def ended_as_cancelled(steps: list[Step]) -> bool:
    last = steps[-1]
    return isinstance(last, StatusChanged) and last.status == "cancelled"


@pytest.mark.parametrize("sandbox", ["workspace-write", "danger-full-access"])
async def test_a_cancelled_run_leaves_no_process_and_no_trace(bench: Bench, sandbox: str) -> None:
    session, gate, mark = await bench.open(), Gate(bench.work), new_mark()
    script = holding(mark)
    steps: list[Step] = []
    processes = Processes(mark)
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, sandbox=sandbox)):
            steps.append(step)
            if isinstance(step, CommandStarted):
                await gate.reached()
                processes = Processes(mark)
                await session.cancel()
    assert processes
    await processes.ended()
    assert not Processes(mark)
    (ended,) = only(CommandFinished, steps)
    assert ended.status == "interrupted"
    end = steps[-1]
    assert isinstance(end, StatusChanged)
    assert (end.status, end.reason) == ("cancelled", "cancelled_by_caller")
    assert [path.name for path in bench.work.iterdir()] == ["gate"]
    after = await play(session, "@say still here")
    assert types(after)[-1] == "run_completed"


async def test_a_run_that_is_abandoned_leaves_no_process(bench: Bench) -> None:
    session, gate, mark = await bench.open(), Gate(bench.work), new_mark()
    processes = Processes(mark)
    with anyio.fail_after(PATIENCE_S):
        turn = turn_of(holding(mark))
        async with contextlib.aclosing(session.run(turn)) as steps:
            async for step in steps:
                if isinstance(step, CommandStarted):
                    await gate.reached()
                    processes = Processes(mark)
                    break
    assert processes
    await processes.ended()
    after = await play(session, "@say still here")
    assert types(after)[-1] == "run_completed"


async def test_closing_the_adapter_ends_every_process_of_it(bench: Bench) -> None:
    session, gate, mark = await bench.open(), Gate(bench.work), new_mark()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        turn = turn_of(holding(mark), sandbox="danger-full-access")
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, CommandStarted):
                await gate.reached()
                assert Processes(mark)
                await bench.adapters[0].close()
                assert not Processes(mark)
    end = steps[-1]
    assert isinstance(end, RunFailed)
    assert end.reason == "interrupted"
    assert only(CommandFinished, steps)[0].status == "interrupted"
    after = await play(session, "@say in a new process")
    assert types(after)[-1] == "run_completed"
    assert mark in bench.said()


async def test_cancelled_while_it_asks_the_request_is_withdrawn(bench: Bench) -> None:
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of("@sh touch a\n@say no", permission_mode="ask")):
            steps.append(step)
            if isinstance(step, Ask):
                await session.cancel()
    (ask,), (withdrawn,) = only(Ask, steps), only(Withdraw, steps)
    assert withdrawn.request_id == ask.request.request_id
    assert isinstance(steps[-1], StatusChanged)
    assert steps[-1].status == "cancelled"


async def test_cancelled_before_it_began_it_never_reaches_the_model(bench: Bench) -> None:
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:

            async def consume() -> None:
                steps.extend([step async for step in session.run(turn_of("@say no"))])

            group.start_soon(consume)
            await anyio.lowlevel.checkpoint()
            await session.cancel()
    assert isinstance(steps[-1], StatusChanged)
    assert steps[-1].status == "cancelled"
    assert not bench.model.requests


STUBBORN = {
    "a command that ignores signals": "trap '' INT TERM HUP; sleep {0} & echo up > gate; wait; wait",
    "a session of its own": "setsid sh -c 'trap \"\" INT TERM; echo up > gate; sleep {0}' & wait",
}
DAEMON = (
    "(setsid sh -c 'trap \"\" INT TERM HUP; echo up > gate; sleep {0}; true' > /dev/null 2>&1 &)"
)


@pytest.mark.parametrize("sandbox", ["workspace-write", "danger-full-access"])
@pytest.mark.parametrize("kind", STUBBORN)
async def test_a_command_that_does_not_want_to_end_ends(
    bench: Bench, kind: str, sandbox: str
) -> None:
    session, gate, mark = await bench.open(), Gate(bench.work), new_mark()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        turn = turn_of(f"@sh {STUBBORN[kind].format(mark)}\n@say no", sandbox=sandbox)
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, CommandStarted):
                await gate.reached()
                assert Processes(mark)
                await session.cancel()
            if step is steps[-1] and isinstance(step, StatusChanged) and step.status == "cancelled":
                assert not Processes(mark)  # said when it is true, not before
    assert ended_as_cancelled(steps)


async def test_a_daemon_of_an_ended_command_ends_with_its_run(bench: Bench) -> None:
    session, gate, mark = await bench.open(), Gate(bench.work), new_mark()
    steps: list[Step] = []
    script = f"@sh {DAEMON.format(mark)}\n@sleep 60\n@say no"
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, sandbox="danger-full-access")):
            steps.append(step)
            if isinstance(step, CommandFinished):
                await gate.reached()
                assert Processes(mark)
                await session.cancel()
    assert ended_as_cancelled(steps)
    assert not Processes(mark)


async def test_the_commands_of_another_context_go_on(bench: Bench) -> None:
    mine, other = Gate(bench.work, "mine"), Gate(bench.work, "other")
    adapter, marks = bench.adapter(), (new_mark(), new_mark())
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:

            async def stay() -> None:
                session = await adapter.open(Context(id="c-2", cwd=bench.work))
                script = f"@sh setsid sleep {marks[1]} & cat other; kill %1\n@say stayed"
                steps.extend(await play(session, script, sandbox="danger-full-access"))

            group.start_soon(stay)
            session = await bench.open()
            script = f"@sh sleep {marks[0]} & echo up > mine; wait\n@say no"
            async for step in session.run(turn_of(script, sandbox="danger-full-access")):
                if isinstance(step, CommandStarted):
                    await mine.reached()
                    await session.cancel()
            assert not Processes(marks[0])
            await other.open()
    assert only(CommandFinished, steps)[0].status == "completed"
    assert types(steps)[-1] == "run_completed"


@pytest.mark.parametrize("sandbox", ["workspace-write", "danger-full-access"])
async def test_sub_agents_are_stopped_with_their_commands(bench: Bench, sandbox: str) -> None:
    session, mark = await bench.open(), new_mark()
    gates = [Gate(bench.work, f"gate{number}") for number in (1, 2)]
    scripts = [
        f"@sh setsid sleep {mark} & sleep {mark} & echo up > {gate.path.name}; wait\n@say no"
        for gate in gates
    ]
    spawn = "@ns multi_agent_v1 spawn_agent"
    script = "\n".join(f"{spawn} {json.dumps({'message': text})}" for text in scripts)
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(f"{script}\n@sleep 60\n@say no", sandbox=sandbox)):
            steps.append(step)
            if isinstance(step, CommandStarted) and len(only(CommandStarted, steps)) == 2:
                for gate in gates:
                    await gate.reached()
                assert len(Processes(mark)) >= 4
                await session.cancel()
    assert ended_as_cancelled(steps)
    assert not Processes(mark)
    assert types(await play(session, "@say still here"))[-1] == "run_completed"


FROZEN: dict[str, tuple[str, type[Step], dict[str, str]]] = {
    "a command runs": ("@sh sleep 600\n@say no", CommandStarted, {"sandbox": "danger-full-access"}),
    "it is asked": ("@sh touch a\n@say no", Ask, {"permission_mode": "ask"}),
    "the model talks": ("@note on it\n@stream 600 0.1 word", Bound, {}),
}


@pytest.mark.parametrize("state", FROZEN)
async def test_a_frozen_codex_is_killed_to_stop_a_run(bench: Bench, state: str) -> None:
    script, when, request = FROZEN[state]
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, **request)):
            steps.append(step)
            if isinstance(step, when):
                os.kill(app_server_of(bench), signal.SIGSTOP)
                await session.cancel()
    assert ended_as_cancelled(steps)
    assert types(await play(session, "@say in a new process"))[-1] == "run_completed"


async def test_a_codex_that_is_frozen_while_it_loads_a_thread_keeps_no_cancel_waiting(
    bench: Bench,
) -> None:
    adapter = bench.adapter()
    await play(await bench.open(), "@say warm")
    session = await adapter.open(Context(id="c-2", cwd=bench.work))
    os.kill(app_server_of(bench), signal.SIGSTOP)
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:

            async def consume() -> None:
                steps.extend([step async for step in session.run(turn_of("@say no"))])

            group.start_soon(consume)
            # Not wait_all_tasks_blocked: some task of the model's server may always move.
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            await session.cancel()
    assert ended_as_cancelled(steps)
    await adapter.close()


async def test_runs_beside_a_frozen_one_are_interrupted_and_go_on_in_their_threads(
    bench: Bench,
) -> None:
    adapter = bench.adapter()
    beside = await adapter.open(Context(id="c-2", cwd=bench.work))
    asked, steps = anyio.Event(), list[Step]()
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                async for step in beside.run(
                    turn_of("@sh touch a\n@say no", permission_mode="ask")
                ):
                    steps.append(step)
                    if isinstance(step, Ask):
                        asked.set()

            group.start_soon(wait)
            await asked.wait()
            session = await bench.open()
            async for step in session.run(turn_of("@note on it\n@stream 600 0.1 word")):
                if isinstance(step, Bound):
                    os.kill(app_server_of(bench), signal.SIGSTOP)
                    await session.cancel()
    (end,), (ask,) = only(RunFailed, steps), only(Ask, steps)
    assert end.reason == "interrupted"
    assert [step.request_id for step in only(Withdraw, steps)] == [ask.request.request_id]
    after = await play(beside, "@say back again")
    assert types(after)[-1] == "run_completed"
    assert "touch a" in bench.said()
    assert only(Bound, after)[0] == only(Bound, steps)[0]


async def test_a_turn_that_was_accepted_and_has_not_started_is_stopped_as_well(
    bench: Bench,
) -> None:
    # Between the answer to `turn/start` and `turn/started` Codex refuses to interrupt the turn: it
    # ran on until its process was killed for it, 6 s later.
    session = await bench.open()
    steps: list[Step] = []
    turn = turn_of("@say no JSON\n@next sleep 60", output_schema={"type": "object"})
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, StatusChanged) and step.reason == "schema_mismatch":
                await session.cancel()
    assert ended_as_cancelled(steps)
    assert bench.adapters[-1].status()["app_servers"] == 1  # nothing had to be killed
