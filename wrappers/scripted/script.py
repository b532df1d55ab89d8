"""The scripted agent's language: a prompt is a script, and performing it makes run events.

Knows no context and no server. One verb a line, done in order; a prompt in which no line starts
with a verb is echoed. The turn completes with its last `say` as the final response.

    say TEXT               a message                  reason TEXT          a thought
    note TEXT              somebody else's message    state TEXT           a word on the status
    stream N DELAY TEXT    N messages DELAY seconds apart: "TEXT 1", "TEXT 2", …
    big N                  a message of N characters
    command CMD [=> OUTPUT] [exit N]                  a command, in words only
    run CMD                a command, really: `sh -c` in the run's folder
    file PATH              a changed file             tool NAME JSON       a tool call
    todo A|B|C N           a list, the first N done   artifact NAME TEXT   an artifact
    parts NAME [JSON, …]   an artifact of these A2A parts
    ask QUESTION [a|b|c]   a question; its answer is said
    permission TOOL JSON   may I? (not asked when the permission mode is auto)
    plan TEXT              a plan to approve
    open VERB …            ask, permission or plan without waiting for the answer
    converse [WORD]        ask for input until a message says WORD (or anything)
    wait                   wait for every open request, as the end of the script does
    withdraw               take every open request back
    auth TEXT              credentials are missing until the run is tried again
    json {…}               the structured output      settings             say what was asked of it
    recall                 say the final responses of the turns before
    listen                 wait for a message to the running turn and say it
    sleep SECONDS          do nothing for a while     hang                 do nothing, for ever
    fail MESSAGE           end as failed              reject MESSAGE       end as rejected
    crash                  end without a last word, as a broken agent would

The words of conformance suites stand for scripts: `suites`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

from gateway.core.events import Rejected, RunFailed
from wrappers.scripted import acts, asks
from wrappers.scripted.acts import Steps, seconds_of
from wrappers.scripted.play import EndedError, Play


async def _sleep(play: Play, rest: str) -> None:
    await play.until(lambda: False, seconds_of("sleep", rest))


async def _hang(play: Play, _rest: str) -> None:
    await play.until(lambda: False)


async def _fail(_play: Play, rest: str) -> None:
    raise EndedError(RunFailed(message=rest or "as scripted", reason="scripted_failure"))


async def _reject(_play: Play, rest: str) -> None:
    raise EndedError(Rejected(message=rest or "as scripted", reason="scripted_refusal"))


async def _crash(_play: Play, _rest: str) -> None:
    raise EndedError(None)


# Verbs that show in events, and those that only wait, set something or end the turn.
SHOWN: Final[Mapping[str, Callable[[Play, str], Steps]]] = {
    "say": acts.say,
    "reason": acts.reason,
    "note": acts.note,
    "state": acts.state,
    "stream": acts.stream,
    "big": acts.big,
    "command": acts.command,
    "run": acts.run,
    "file": acts.file,
    "tool": acts.tool,
    "todo": acts.todo,
    "artifact": acts.artifact,
    "parts": acts.parts,
    "settings": acts.settings,
    "recall": acts.recall,
    "listen": acts.listen,
    "ask": asks.asking("ask"),
    "permission": asks.asking("permission"),
    "plan": asks.asking("plan"),
    "open": asks.open_request,
    "converse": asks.converse,
    "wait": asks.wait,
    "withdraw": asks.withdraw,
}
SILENT: Final[Mapping[str, Callable[[Play, str], Awaitable[None]]]] = {
    "auth": asks.auth,
    "json": acts.structured,
    "sleep": _sleep,
    "hang": _hang,
    "fail": _fail,
    "reject": _reject,
    "crash": _crash,
}
VERBS: Final = frozenset(SHOWN) | frozenset(SILENT)


def read_script(text: str) -> list[tuple[str, str]]:
    """The (verb, rest) of every line; without any verb the whole text, to be echoed."""
    lines = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    if not any(verb in VERBS for verb, _, _ in lines):
        return [("echo", text)]
    return [
        (verb, rest.strip()) if verb in VERBS else ("echo", f"{verb} {rest}".strip())
        for verb, _, rest in lines
    ]


async def perform(play: Play) -> Steps:
    """Everything the prompt says. Raises: EndedError."""
    if play.answered:  # a restart lies between the question and its answer
        async for step in asks.wait(play, ""):
            yield step
    for verb, rest in read_script(play.script)[play.line :]:
        play.line += 1
        if verb in SILENT:
            await SILENT[verb](play, rest)
            continue
        async with aclosing(SHOWN.get(verb, acts.echo)(play, rest)) as steps:
            async for step in steps:
                play.check()
                yield step
        play.check()
    async for step in asks.wait(play, ""):
        yield step
