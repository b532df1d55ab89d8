"""What a scripted Messages model answers next: a request in, the next assistant message out.

Pure: knows no server. The last user text that holds a script line (`@verb …`) is the
script; how many assistant messages follow it in the request says which step comes next, so there
is no state but the count of refusals (`@http`). A prompt without a script is echoed.

    @say TEXT                 a text block                @sh COMMAND         run a command
    @reason TEXT              a thinking block            @write PATH TEXT    write a file
    @stream N DELAY_S TEXT    text in N slow chunks       @edit PATH OLD => NEW
    @todo A|B|C DONE          a list, DONE of it done     @tool NAME JSON     any tool
    @question Q|a|b ;; Q|c|d  ask the user                @plan TEXT          hand in a plan
    @agent LINE ;; LINE       a sub-agent and its script  @schema JSON        structured output
    @sleep SECONDS            before this step's answer   @results            say the tool results
    @http CODE [TIMES] [TEXT] refuse this step (TIMES times, default always), saying TEXT
    @cut [TIMES]              end the answer in its middle, whatever form it was asked for
    @garbage [TIMES]          put something into the stream that is no JSON
    @overload [TIMES]         an error `overloaded_error` in the middle of the stream
    @refuse TEXT              end with stop_reason refusal
    @stop REASON TEXT         end with another stop_reason (max_tokens)
    @play NAME JSON           a program of `caller`: what the bridge's tools answer decides
    @tokens INPUT             how many input tokens this step says it took
    @header NAME VALUE        a header of this step's answer

A question that begins with `*` takes several answers.

Texts and thoughts join the tool call that follows them; every tool call ends its message, unless
the next line starts with `&@`: then both calls are one message. `\\n` in a TEXT is a line break.
"""

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from gateway.core import json
from gateway.core.json import JsonObject
from tests.models.caller import Call, next_act

_LINE = re.compile(
    r"^(&?)@(say|stream|reason|sh|write|edit|todo|question|plan|agent|tool|sleep|http|schema"
    r"|results|refuse|cut|garbage|overload|stop|tokens|header|play)\b[ ]?(.*)$",
    re.MULTILINE,
)
_PLAY = re.compile(r"^@play (.*)$", re.MULTILINE)
BRIDGE = "mcp__a2a-gateway__"  # what the names of the bridge's tools begin with
_PLAN_FILE = re.compile(r"/[^\s\"`\\]+/plans/[\w-]+\.md")
_CWD = re.compile(r"[Ww]orking directory: (\S+)")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer: `http`, `cut`, `garbage` or `overload`. `times` None is
    always; `status` and `text` are those of `http`."""

    kind: str
    times: int | None = None
    status: int = 200
    text: str = ""


@dataclass
class Step:
    """One assistant message to be: its content blocks and how it is given."""

    blocks: list[JsonObject] = field(default_factory=list[JsonObject])
    delay_s: float = 0.0
    chunks: int = 1
    chunk_delay_s: float = 0.0
    fault: Fault | None = None
    stop_reason: str | None = None
    input_tokens: int = 100
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def calls_tool(self) -> bool:
        return any(block["type"] == "tool_use" for block in self.blocks)


def _lines(text: str) -> str:
    return text.replace("\\n", "\n")


def _tool(name: str, arguments: JsonObject) -> JsonObject:
    return {
        "type": "tool_use",
        "id": f"toolu_{uuid.uuid4().hex[:20]}",
        "name": name,
        "input": arguments,
    }


def _fault(verb: str, rest: str) -> Fault:
    status, _, rest = rest.partition(" ") if verb == "http" else ("200", "", rest)
    times, _, text = rest.partition(" ")
    if not times.isdigit():
        times, text = "", rest
    return Fault(
        kind=verb, times=int(times) if times else None, status=int(status), text=_lines(text)
    )


def _question(text: str) -> JsonObject:
    questions: list[JsonObject] = []
    for one in text.split(" ;; "):
        question, *labels = one.split("|")
        several = question.startswith("*")
        question = question.removeprefix("*")
        options = [{"label": label, "description": f"take {label}"} for label in labels]
        questions.append(
            {
                "question": question,
                "header": question[:12],
                "options": options,
                "multiSelect": several,
            }
        )
    return _tool("AskUserQuestion", {"questions": questions})


@dataclass
class Script:
    """The steps of one script, as this request's tools and folder allow."""

    tools: frozenset[str]
    cwd: str
    results: str
    plan_file: str | None = None
    steps: list[Step] = field(default_factory=list[Step])
    open: Step | None = None  # still takes texts; closed by a tool call

    def read(self, text: str) -> list[Step]:
        for joined, verb, rest in _LINE.findall(text):
            self._line(bool(joined), verb, rest)
        self._close()
        return self.steps

    def _current(self) -> Step:
        if self.open is None:
            self.open = Step()
        return self.open

    def _close(self) -> None:
        if self.open is not None:
            self.steps.append(self.open)
        self.open = None

    def _line(self, joined: bool, verb: str, rest: str) -> None:
        match verb:
            case "say" | "reason" | "stream" | "results" | "refuse" | "stop":
                self._current().blocks.append(self._text(verb, rest))
                if verb in ("refuse", "stop"):
                    self._close()
            case "sleep" | "tokens" | "header" | "http" | "cut" | "garbage" | "overload":
                self._manner(verb, rest)
            case "todo":
                self._todo(rest)
            case "plan":
                self._plan(rest)
            case _:
                self._call(joined, self._tool_of(verb, rest))

    def _manner(self, verb: str, rest: str) -> None:
        """How the open step's answer is given."""
        step = self._current()
        match verb:
            case "sleep":
                step.delay_s = float(rest)
            case "tokens":
                step.input_tokens = int(rest)
            case "header":
                name, _, value = rest.partition(" ")
                step.headers[name] = value
            case _:
                step.fault = _fault(verb, rest)

    def _text(self, verb: str, rest: str) -> JsonObject:
        match verb:
            case "reason":
                return {"type": "thinking", "thinking": _lines(rest), "signature": "c2ln"}
            case "results":
                return {"type": "text", "text": self.results}
            case "stream":
                count, delay, rest = rest.split(" ", 2)
                self._current().chunks = int(count)
                self._current().chunk_delay_s = float(delay)
            case "refuse":
                self._current().stop_reason = "refusal"
            case "stop":
                self._current().stop_reason, _, rest = rest.partition(" ")
            case _:
                pass
        return {"type": "text", "text": _lines(rest)}

    def _call(self, joined: bool, *calls: JsonObject) -> None:
        if joined and self.open is None and self.steps:
            self.steps[-1].blocks.extend(calls)
            return
        self._current().blocks.extend(calls)
        self._close()

    def _tool_of(self, verb: str, rest: str) -> JsonObject:
        match verb:
            case "sh":
                return _tool("Bash", {"command": rest, "description": "Run a scripted command"})
            case "write":
                path, _, text = rest.partition(" ")
                content = _lines(text)
                return _tool("Write", {"file_path": self._path(path), "content": content})
            case "edit":
                path, _, change = rest.partition(" ")
                old, _, new = change.partition(" => ")
                arguments = {"file_path": self._path(path)}
                return _tool(
                    "Edit", {**arguments, "old_string": _lines(old), "new_string": _lines(new)}
                )
            case "question":
                return _question(rest)
            case "agent":
                prompt = rest.replace(" ;; ", "\n")
                kind = {"description": "Scripted job", "subagent_type": "general-purpose"}
                return _tool("Agent", {**kind, "prompt": prompt})
            case "schema":
                return _tool("StructuredOutput", json.decode_object(rest))
            case _:
                name, _, arguments = rest.partition(" ")
                return _tool(name, json.decode_object(arguments or "{}"))

    def _plan(self, text: str) -> None:
        # Claude Code takes the plan from a file of its own, named by its reminder in plan mode.
        if self.plan_file:
            arguments = {"file_path": self.plan_file, "content": _lines(text)}
            self._call(False, _tool("Write", arguments))
        self._call(False, _tool("ExitPlanMode", {}))

    def _path(self, path: str) -> str:
        return str(Path(self.cwd) / path)

    def _todo(self, rest: str) -> None:
        names, _, done = rest.rpartition(" ")
        items = names.split("|")
        if "TodoWrite" in self.tools:
            todos = [
                {
                    "content": item,
                    "activeForm": item,
                    "status": "completed" if at < int(done) else "pending",
                }
                for at, item in enumerate(items)
            ]
            self._call(False, _tool("TodoWrite", {"todos": todos}))
            return
        # The task tools number from 1 in a fresh session; an update needs the number.
        self._call(
            False, *(_tool("TaskCreate", {"subject": item, "description": item}) for item in items)
        )
        done_ids = [str(at + 1) for at in range(int(done))]
        if done_ids:
            updates = [{"taskId": task, "status": "completed"} for task in done_ids]
            self._call(False, *(_tool("TaskUpdate", update) for update in updates))


# -- reading a request -------------------------------------------------------------------------


def texts(message: JsonObject) -> list[str]:
    """The text blocks of one message of a request."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return [content]
    return [block["text"] for block in content or () if block.get("type") == "text"]


def next_step(body: JsonObject) -> tuple[str, int, Step]:
    """The script of a request, the number of its next step, and the step."""
    messages: list[JsonObject] = body.get("messages") or []
    at, script = -1, ""
    for index, message in enumerate(messages):
        # What a user says to a working Claude Code arrives as a system message.
        if message.get("role") == "assistant":
            continue
        for text in texts(message):
            if _LINE.search(text):
                at, script = index, text
    if not script:
        return "", 0, _echo(messages)
    number = sum(message.get("role") == "assistant" for message in messages[at + 1 :])
    if (play := _PLAY.search(script)) is not None:
        return script, number, _played(play.group(1), results(messages[at + 1 :]))
    whole = json.encode(body.get("system") or "") + json.encode(messages)
    found = _CWD.search(whole)
    plans = _PLAN_FILE.search(whole)
    reader = Script(
        tools=frozenset(str(tool.get("name")) for tool in body.get("tools") or ()),
        cwd=re.split(r'\\n|"', found.group(1))[0] if found else ".",
        results="\n".join(results(_last_of_user(messages))),
        plan_file=plans.group(0) if plans else None,
    )
    steps = reader.read(script)
    if number < len(steps):
        return script, number, steps[number]
    return script, number, _echo(messages[at + 1 :])


def _echo(messages: list[JsonObject]) -> Step:
    """What a prompt without a script is answered; "done" where there is no prompt."""
    said = [
        text
        for message in messages
        for text in texts(message)
        if message.get("role") == "user" and not text.startswith("<system-reminder>")
    ]
    return Step(blocks=[{"type": "text", "text": f"echo: {said[-1]}" if said else "done"}])


def _played(line: str, answers: list[str]) -> Step:
    act = next_act(line, answers)
    if isinstance(act, Call):
        return Step(blocks=[_tool(f"{BRIDGE}{act.tool}", act.arguments)])
    return Step(blocks=[{"type": "text", "text": act}])


def _last_of_user(messages: list[JsonObject]) -> list[JsonObject]:
    return [next((m for m in reversed(messages) if m.get("role") == "user"), JsonObject())]


def results(messages: list[JsonObject]) -> list[str]:
    """The tool results in user messages of a request, in their order."""
    contents: list[Any] = [m.get("content") for m in messages if m.get("role") == "user"]
    blocks = [
        block
        for content in contents
        if isinstance(content, list)
        for block in cast("list[JsonObject]", content)
        if block.get("type") == "tool_result"
    ]
    return [
        str(block["content"])
        if isinstance(block.get("content"), str)
        else "\n".join(texts({"content": block.get("content")}))
        for block in blocks
    ]
