"""What the scripted agent says and does: verbs that wait for nobody's answer.

Each is a generator of run events; the language stands in `script`.
"""

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator
from typing import Final, TypeAlias

from gateway.core import json
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    CommandStarted,
    CommandUpdated,
    FileChanged,
    MessageAdded,
    Reasoning,
    RunFailed,
    StatusChanged,
    TodoUpdated,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject
from wrappers.adapter import Step
from wrappers.processes.process import Child, spawn
from wrappers.scripted.play import EndedError, Play

OUTPUT_PAUSE_S: Final = 0.2  # at most one command_updated in this time, as every agent of ours
TAG: Final = "scripted"

Steps: TypeAlias = AsyncGenerator[Step, None]


def bad_line(verb: str, takes: str) -> EndedError:
    return EndedError(
        RunFailed(message=f"the script's {verb!r} takes {takes}", reason="bad_script")
    )


def object_of(verb: str, text: str) -> JsonObject:
    try:
        return json.decode_object(text or "{}")
    except ValueError as exc:
        raise bad_line(verb, "a JSON object") from exc


def seconds_of(verb: str, text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise bad_line(verb, "a number of seconds")
    return float(text)


async def say(play: Play, rest: str) -> Steps:
    play.said.append(rest)
    yield AgentMessage(text=rest)


async def echo(play: Play, rest: str) -> Steps:
    play.said.append(f"echo: {rest}")
    yield AgentMessage(text=play.said[-1])


async def reason(_play: Play, rest: str) -> Steps:
    yield Reasoning(text=rest)


async def note(_play: Play, rest: str) -> Steps:
    yield MessageAdded(role="agent", text=rest)


async def state(play: Play, rest: str) -> Steps:
    status = "input_required" if play.pending else "running"
    yield StatusChanged(status=status, message=rest)


async def stream(play: Play, rest: str) -> Steps:
    count, delay, text = [*rest.split(maxsplit=2), "", "", ""][:3]
    if not count.isdigit():
        raise bad_line("stream", "a count, a delay in seconds and a text")
    pause = seconds_of("stream", delay)
    for number in range(1, int(count) + 1):
        yield AgentMessage(text=f"{text} {number}")
        if pause:
            await play.until(lambda: False, pause)
    play.said.append(f"{text} {count}")


async def big(_play: Play, rest: str) -> Steps:
    if not rest.isdigit():
        raise bad_line("big", "a number of characters")
    yield AgentMessage(text="x" * int(rest))


async def structured(play: Play, rest: str) -> None:
    play.structured = object_of("json", rest)


async def settings(play: Play, _rest: str) -> Steps:
    asked = play.turn.request.to_json() | {
        "cwd": str(play.context.cwd),
        "profile": play.context.profile,
        "vendor_session": play.context.vendor_session,
    }
    play.said.append(json.encode(json.merge_null(asked)))
    yield AgentMessage(text=play.said[-1])


async def recall(play: Play, _rest: str) -> Steps:
    play.said.append(" | ".join(play.before) or "nothing was said before")
    yield AgentMessage(text=play.said[-1])


async def listen(play: Play, _rest: str) -> Steps:
    await play.until(lambda: play.hears)
    for text in play.take_heard():
        play.said.append(f"heard: {text}")
        yield AgentMessage(text=play.said[-1])


async def command(play: Play, rest: str) -> Steps:
    found = re.fullmatch(r"(.*?)(?:\s*=>\s*(.*?))?(?:\s+exit\s+(\d+))?", rest)
    line, output, code = found.groups() if found else (rest, None, None)
    use = play.new_id("command")
    yield CommandStarted(command=line, tool_use_id=use)
    if output:
        yield CommandUpdated(command=line, output=output, tool_use_id=use)
    yield _finished(line, output or "", int(code or 0), use)


def _finished(line: str, output: str, exit_code: int, use: str) -> CommandFinished:
    status = "failed" if exit_code else "completed"
    return CommandFinished(
        command=line, output=output, status=status, exit_code=exit_code, tool_use_id=use
    )


async def run(play: Play, rest: str) -> Steps:
    use = play.new_id("command")
    yield CommandStarted(command=rest, tool_use_id=use)
    play.output, play.output_ended = [], False
    child = await spawn(
        ["sh", "-c", f"exec 2>&1\n{rest}"],
        cwd=play.context.cwd,
        env=play.environment,
        tag=TAG,
    )
    reading = asyncio.ensure_future(_read_output(child, play))
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    whole = ""
    try:
        while not play.output_ended:
            await play.until(lambda: play.output_ended, OUTPUT_PAUSE_S)
            news, play.output = decode(b"".join(play.output)), []
            if news and not play.output_ended:
                yield CommandUpdated(command=rest, output=news, tool_use_id=use)
            whole += news
        yield _finished(rest, whole, await child.wait(), use)
    finally:
        await child.close()
        await asyncio.wait([reading])


async def _read_output(child: Child, play: Play) -> None:
    while chunk := await child.stdout.read(1 << 16):
        play.signal(chunk)
    play.signal(b"")


async def file(_play: Play, rest: str) -> Steps:
    yield FileChanged(changes=[{"path": rest, "kind": "update"}], status="completed")


async def tool(play: Play, rest: str) -> Steps:
    name, _, given = rest.partition(" ")
    for step in called(name, object_of("tool", given), play.new_id("tool"), "completed"):
        yield step


def called(name: str, given: JsonObject, use: str, status: str) -> list[Step]:
    return [
        ToolStarted(tool=name, tool_use_id=use, extra={"input": given}),
        ToolFinished(tool=name, tool_use_id=use, status=status),
    ]


async def todo(_play: Play, rest: str) -> Steps:
    names, _, done = rest.rpartition(" ")
    if not done.isdigit():
        raise bad_line("todo", "entries separated by | and how many are done")
    entries = enumerate(names.split("|"))
    yield TodoUpdated(
        items=[{"text": text.strip(), "completed": at < int(done)} for at, text in entries]
    )


async def parts(play: Play, rest: str) -> Steps:
    name, _, given = rest.partition(" ")
    try:
        value = json.decode(given)
    except ValueError as exc:
        raise bad_line("parts", "a name and a JSON list of A2A parts") from exc
    yield ArtifactAdded(artifact_id=play.new_id("artifact"), name=name, parts=value)


async def artifact(play: Play, rest: str) -> Steps:
    name, _, text = rest.partition(" ")
    yield ArtifactAdded(
        artifact_id=play.new_id("artifact"), name=name, parts=[{"text": text}], text=text
    )
