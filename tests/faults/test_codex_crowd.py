"""Many contexts at one Codex process at once: none hears, sees or changes anything of another's.

12 of them, or 50 in `make faults`, each with a command, a patch and a streamed answer.
"""

import re
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from gateway.core.events import CommandFinished, FileChanged, RunCompleted
from gateway.core.extension import Answer, PendingRequest
from tests.wrappers.codex_bench import Bench, codex_bench, only, turn_of
from tests.wrappers.recorded.logs import step_json
from wrappers.adapter import Ask, Context, Step
from wrappers.processes import figures

CROWD: Final = 50
SHORT: Final = 12
PATIENCE_S: Final = 180.0
WATCH_S: Final = 0.2


async def test_a_crowd_of_contexts_shares_a_process_and_nothing_else(
    tmp_path: Path, environment: dict[str, str], rounds: int
) -> None:
    crowd = CROWD if rounds >= CROWD else SHORT
    steps: dict[int, list[Step]] = {}
    async with codex_bench(tmp_path, environment) as bench:
        bench.adapter()
        began = time.monotonic()
        with anyio.fail_after(PATIENCE_S):
            async with _watched() as peak, anyio.create_task_group() as group:

                async def one(number: int) -> None:
                    steps[number] = await _work(bench, number)

                for number in range(crowd):
                    group.start_soon(one, number)
        took = time.monotonic() - began
    assert len(bench.adapters) == 1
    for number, made in sorted(steps.items()):
        _belongs(bench, number, made)
    sys.stdout.write(
        f"\n{crowd} contexts at one Codex process: {took:.1f} s, "
        f"{max(peak) >> 20} MB at most with all their commands\n"
    )


def _word(number: int) -> str:
    return f"word{number}x"


async def _work(bench: Bench, number: int) -> list[Step]:
    """Every third asks first, and answers what it is asked with its own word."""
    word, folder = _word(number), bench.home / f"work-{_word(number)}"
    folder.mkdir()
    session = await bench.adapters[0].open(Context(id=f"c-{number}", cwd=folder))
    lines = [f"@sh echo {word} > out; cat out", f"@patch patched.txt {word}"]
    if number % 3 == 0:
        lines.insert(0, f'@tool ask_orchestrator {{"question": "Which word is {word}?"}}')
    script = "\n".join([*lines, f"@stream 5 0.05 {word}"])
    steps: list[Step] = []
    async for step in session.run(turn_of(script, run_id=f"r-{number}")):
        steps.append(step)
        if isinstance(step, Ask):
            await session.answer(_answer(step.request, word))
    return steps


def _answer(request: PendingRequest, word: str) -> Answer:
    return Answer(
        request_id=request.request_id,
        answers={question.id: word for question in request.questions},
    )


def _belongs(bench: Bench, number: int, steps: list[Step]) -> None:
    word = _word(number)
    told = " ".join(str(step_json(step)) for step in steps)
    assert set(re.findall(r"word\d+x", told)) == {word}
    (command,), (change,) = only(CommandFinished, steps), only(FileChanged, steps)
    assert (command.output, change.status) == (f"{word}\n", "completed")
    assert len(only(Ask, steps)) == (number % 3 == 0)
    (end,) = only(RunCompleted, steps)
    assert end.final_response == word * 5
    folder = bench.home / f"work-{word}"
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == {
        "out": f"{word}\n",
        "patched.txt": f"{word}\n",
    }


@asynccontextmanager
async def _watched() -> AsyncGenerator[list[int]]:
    """What the processes below this one hold in bytes, again and again meanwhile."""
    seen = [0]

    async def watch() -> None:
        while True:
            seen.append((await figures.tree()).rss_bytes)
            with anyio.move_on_after(WATCH_S):
                await anyio.Event().wait()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield seen
        group.cancel_scope.cancel()
