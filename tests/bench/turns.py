"""Turns of the real CLIs through a wrapper's A2A face, each beside the same turn without us.

Measures; prints nothing, asserts nothing but that each turn completed. Scripted models answer, all
in one process of their own, and bare and wrapped turns alternate: so machine, model and CLI are the
same for both, and the difference is ours.
"""

import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.core import json
from tests.bench import tee
from tests.bench.bare import Bare
from tests.bench.caller import Streamed, Target
from tests.bench.speed import cpu_s, rss
from tests.bench.wrapped import AGENTS, Conversation, Place, model, opened
from tests.demo.stage import plain_environment
from tests.wrappers.launched import event_of

TURNS: Final = 12  # of each kind, a round: twice in each order
BURST: Final = 300  # messages of one turn, as fast as the vendor says them
OUTPUT: Final = "seq 1 150000"  # 938,894 bytes: both CLIs keep less than 1 MiB of one command


@dataclass(slots=True)
class Figures:
    """Samples of one agent, in seconds unless said otherwise."""

    bare: list[float] = field(default_factory=list[float])
    sent: list[float] = field(default_factory=list[float])
    streamed: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])  # of the wrapper's process, a turn
    after: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    bare_new: list[float] = field(default_factory=list[float])
    new: list[float] = field(default_factory=list[float])
    bare_burst: list[float] = field(default_factory=list[float])
    burst: list[float] = field(default_factory=list[float])
    burst_events: int = 0
    bare_output: list[float] = field(default_factory=list[float])
    output: list[float] = field(default_factory=list[float])
    output_cpu: list[float] = field(default_factory=list[float])
    bare_cold: list[float] = field(default_factory=list[float])
    ready: list[float] = field(default_factory=list[float])
    cold: list[float] = field(default_factory=list[float])
    idle: int = 0  # bytes of the wrapper's process before its first run
    used: int = 0  # and after all of them


# -- warm ----------------------------------------------------------------------------------------


async def measured(agent: str, folder: Path, rounds: int) -> Figures:
    """All figures of one agent; `folder` holds the homes."""
    figures = Figures()
    (folder / "work").mkdir(parents=True)
    environment = plain_environment(folder)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(model(AGENTS[agent].model, environment))
        place = Place(
            agent=AGENTS[agent],
            folder=folder,
            environment=environment,
            model=url,
            cwd=folder / "work",
        )
        await _warm(place, figures, rounds)
        await _first_events(place, figures, rounds)
        for number in range(rounds):
            await _cold(place, figures, number)
    return figures


async def _warm(place: Place, figures: Figures, rounds: int) -> None:
    # What a conversation holds is sent with each turn: the large ones have conversations of their own.
    async with (
        opened(place.bare("bare")) as bare,
        opened(place.bare("bare-large")) as bare_large,
        place.wrapper("warm") as (_, target),
    ):
        figures.idle = rss(target.pid)
        sending, streaming, large = [await place.conversation(target) for _ in range(3)]
        for number in range(3):  # the first turns load what the later ones find
            for turn in (bare.turn, bare_large.turn, sending.send, streaming.stream, large.send):
                await turn(f"@say warm {number}")

        async def without(prompt: str) -> None:
            figures.bare.append(await bare.turn(prompt))

        async def send(prompt: str) -> None:
            before = cpu_s(target.pid)
            figures.sent.append(await sending.send(prompt))
            figures.cpu.append(cpu_s(target.pid) - before)

        async def stream(prompt: str) -> None:
            taken = await streaming.stream(prompt)
            figures.streamed.append(taken.over - taken.began)

        for number in range(rounds):
            await _in_turn(number, TURNS, [without, send, stream])
            await _large(bare_large, large, target, figures)
            figures.bare_new.append(await bare.anew(f"@say new {number}"))
            another = await place.conversation(target)
            figures.new.append(await another.send(f"@say new {number}"))
            another.close()
        figures.used = rss(target.pid)
        for conversation in (sending, streaming, large):
            conversation.close()


async def _in_turn(
    number: int, count: int, kinds: Sequence[Callable[[str], Awaitable[None]]]
) -> None:
    """Each kind `count` times, in every order as often: a CLI goes on working behind its answer."""
    orders = itertools.islice(itertools.cycle(itertools.permutations(kinds)), count)
    for at, order in enumerate(orders):
        for kind in order:
            await kind(f"@say hello {number}-{at}")


async def _large(bare: Bare, wrapped: Conversation, target: Target, figures: Figures) -> None:
    burst = "\n".join(f"@say message {n}" for n in range(BURST))
    figures.bare_burst.append(await bare.turn(burst))
    taken = await wrapped.stream(burst)
    figures.burst.append(taken.over - taken.began)
    figures.burst_events = taken.items
    output = f"@sh {OUTPUT}\n@say done"
    figures.bare_output.append(await bare.turn(output))
    before = cpu_s(target.pid)
    taken = await wrapped.stream(output)
    figures.output.append(taken.over - taken.began)
    figures.output_cpu.append(cpu_s(target.pid) - before)


# -- the first event -----------------------------------------------------------------------------


async def _first_events(place: Place, figures: Figures, rounds: int) -> None:
    """How long after the CLI wrote a line its event is in the hands of the stream's reader.

    The wrapper runs the CLI through `tee`, which notes the time of each line before it passes it
    on. Both clocks are the machine's monotonic one, so the difference of the two times is all that
    lies between: a pipe, the wrapper's reading, mapping and commit, its stream, a socket, and this
    process's own wake-up.
    """
    folder = place.folder / "tee"
    folder.mkdir()
    notes, program = folder / "notes", folder / "cli"
    words = [sys.executable, "-S", tee.__file__, str(notes), str(place.agent.program)]
    program.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    async with place.wrapper("tee", place.agent.option, str(program)) as (_, target):
        conversation = await place.conversation(target)
        for number in range(3):
            await conversation.stream(f"@say warm {number}")
        for number in range(rounds * TURNS):
            said = f"first event {number}."
            notes.write_bytes(b"")  # the tee appends
            taken = await conversation.stream(f"@say {said}", keep=True)
            written = list(_written(notes))
            for line, event in place.agent.lines:
                marks = (line, said) if event == "agent_message" else (line,)
                at = next(when for when, text in written if all(mark in text for mark in marks))
                seen = next(when for when, type_ in _seen(taken) if type_ == event)
                figures.after.setdefault(event, []).append(seen - at)
        conversation.close()


def _written(notes: Path) -> Iterator[tuple[float, str]]:
    """When the CLI wrote which line."""
    for line in notes.read_text("utf-8").splitlines():
        when, _, text = line.partition(" ")
        yield int(when) / 1e9, text


def _seen(taken: Streamed) -> Iterator[tuple[float, str]]:
    """When the reader had which event, by its type."""
    rest = b""
    for when, data in taken.kept or ():
        *items, rest = (rest + data).split(b"\n\n")
        for item in items:
            at = item.find(b"data: ")
            if at < 0:
                continue
            event = event_of(json.decode_object(item[at + 6 :]))
            if "type" in event:
                yield when, event["type"]


# -- cold ----------------------------------------------------------------------------------------


async def _cold(place: Place, figures: Figures, number: int) -> None:
    """A process that was just started, and its first turn."""
    began = time.perf_counter()
    async with opened(place.bare(f"bare-{number}")) as bare:
        await bare.turn("@say cold")
        figures.bare_cold.append(time.perf_counter() - began)
    began = time.perf_counter()
    async with place.wrapper(f"cold-{number}") as (_, target):
        figures.ready.append(time.perf_counter() - began)
        conversation = await place.conversation(target)
        figures.cold.append(await conversation.send("@say cold"))
        conversation.close()
