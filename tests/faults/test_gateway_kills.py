"""kill -9 of a gateway with fifty runs in every state, and of the wrapper at once.

Every run is re-attached, catches up without a gap and ends as it should; none is started twice; what
the agent's log holds is what the gateway's holds.
"""

import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from gateway.home import Home
from tests.faults import ledger
from tests.faults.spread import Caller, queries
from tests.gateway.process import Gateway, started
from tests.wrappers.launched import gone

# Of what a run ends in, where only the gateway was killed, and where its agent died too.
ENDS: dict[str, dict[str, set[str]]] = {
    "gateway": {
        "streaming": {"completed"},
        "queued": {"completed"},
        "waiting": {"completed"},
        "answering": {"completed"},
        "cancelling": {"cancelled"},
        "finishing": {"completed"},
        "sending": {"completed"},
    },
    "both": {
        "streaming": {"completed", "interrupted"},
        "queued": {"completed", "interrupted"},
        "waiting": {"completed"},
        "answering": {"completed", "interrupted"},
        "cancelling": {"cancelled", "interrupted"},
        "finishing": {"completed", "interrupted"},
        "sending": {"completed", "interrupted"},
    },
}


async def _kill(gateway: Gateway, victims: str) -> None:
    if victims == "both":
        for wrapper in gateway.home.wrappers():
            os.kill(wrapper.process.pid, signal.SIGKILL)
    gateway.process.kill()
    await gateway.process.wait()


async def _one_round(
    environment: Mapping[str, str], victims: str, chance: random.Random
) -> Counter[tuple[str, str]]:
    caller = Caller(chance)
    async with started(environment) as gateway:
        await caller.begin(gateway)
        async with anyio.create_task_group() as group:
            group.start_soon(caller.disturb, gateway)
            with anyio.move_on_after(chance.uniform(0, 0.08)):
                await anyio.Event().wait()  # for nothing: the moment is the point of this test
            await _kill(gateway, victims)
    async with started(environment) as gateway:
        ends = await caller.ends(gateway)
        assert await gateway.stop() == 0
    return ends


def _agree(home: Home) -> None:
    """Both logs are whole, each run of the gateway is one run of the agent, event for event."""
    ours, theirs = queries(home.path)
    for path in (ours, theirs):
        ask = ledger.of_file(path)
        assert (ask(ledger.GAPS), ask(ledger.FALSE)) == ("0", "0"), path
    with sqlite3.connect(ours) as database:
        database.execute("attach ? as agent", (str(theirs),))
        # A run of ours that was sent and has no run there, or more than one.
        found = database.execute(
            """
            select runs.id, count(inputs.run_id) from runs left join agent.run_inputs as inputs
            on json_extract(inputs.request, '$.run_id') = runs.id
            where runs.remote is not null group by runs.id having count(inputs.run_id) <> 1
            """
        ).fetchall()
        assert found == [], "runs without one run of the agent"
        unheard = database.execute(
            """
            select runs.id, there.last_seq, json_extract(runs.remote, '$.src_seq')
            from runs join agent.runs as there on there.id = json_extract(runs.remote, '$.task_id')
            where there.last_seq <> json_extract(runs.remote, '$.src_seq')
            """
        ).fetchall()
        assert unheard == [], "events of the agent that were not copied"
    database.close()


@pytest.mark.parametrize("victims", list(ENDS))
async def test_fifty_runs_in_every_state_end_right_after_a_kill(
    victims: str, rounds: int, environment: dict[str, str]
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    rounds = max(1, rounds // 3)
    total: Counter[tuple[str, str]] = Counter()
    home = Home(Path(environment["A2A_GATEWAY_HOME"]))
    try:
        for _ in range(rounds):
            total += await _one_round(environment, victims, chance)
            _agree(home)
            for (kind, end), number in total.items():
                assert end in ENDS[victims][kind], (kind, end, number)
    except BaseException as exc:
        exc.add_note(f"seed {seed}, so far {total}")
        raise
    said = ", ".join(f"{number} {kind} {end}" for (kind, end), number in sorted(total.items()))
    sys.stdout.write(f"\n{rounds} kills of {victims}: {said}\n")
    await gone(*(wrapper.process.pid for wrapper in home.wrappers()))
