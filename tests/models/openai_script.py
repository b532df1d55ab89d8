"""What a scripted Responses model answers next: a request in, the steps of the response out.

Pure: knows no server. The prompt is the script: every line `@verb …` of the last user message
that has one is a step; a tool call ends its response, and the tool outputs in the next request
tell how far the script has come, so any number of conversations run at once without state.

    @say TEXT                 the final answer            @note TEXT       a message on the way
    @stream N DELAY_S TEXT    TEXT N times, slowly        @reason TEXT     a reasoning summary
    @sh COMMAND               run a command               @escalate COMMAND  outside the sandbox
    @background MS COMMAND    run it, wait MS at most     @tool NAME JSON  any function tool
    @patch PATH TEXT          add a file                  @rawpatch TEXT   any patch
    @todo A|B|C IDX           a plan, IDX in progress     @input JSON      request_user_input
    @ns SPACE NAME JSON       a tool of a namespace: an MCP server's, or of `multi_agent_v1`
    @play NAME JSON           a program of `caller`: what the bridge's tools answer decides
    @js CODE                  what models in code mode call: JavaScript that calls the tools
    @search QUERY             a search of the model's own @draw TEXT       a picture of its own
    @with VERB REST           a call that goes together with the next one
    @next VERB REST           a step of the answer to the next prompt that has no verb
    @sleep SECONDS            silence                     @results         say what came back
    @tokens N                 what the answer says of its size (1000 in, 50 out by default)
    @http CODE [TIMES]        refuse (TIMES times, default always)
    @fail CODE MESSAGE        the response fails          @incomplete      it stops for length
    @cut [TIMES]              the stream just ends        @garbage         the stream is no JSON

`\\n` in a TEXT is a line break; `$agent` is the sub-agent and `$session` the command in the
background that was started last. A prompt without a verb is answered `echo: PROMPT`.
"""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from gateway.core.json import as_object
from tests.models.caller import Call, next_act

Json: TypeAlias = dict[str, Any]
BRIDGE = "mcp__a2a_gateway"  # the namespace of the bridge's tools
_HEAD = re.compile(r"\AWall time: .*\nOutput:\n")
# A PNG of one pixel, in Base64.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True)
class Step:
    verb: str
    rest: str
    joined: bool = False  # with the next call, in one response


@dataclass(frozen=True)
class Script:
    """The steps due in this response, the prompt they stand in, and what was said since."""

    steps: list[Step]
    prompt: str
    heard: str


def _text(item: Json) -> str:
    content = item.get("content") if "content" in item else item.get("output")
    if isinstance(content, str):
        return content
    parts: list[object] = content or []
    return "\n".join(str(as_object(part).get("text", "")) for part in parts)


def _steps(text: str) -> list[Step]:
    found: list[Step] = []
    for line in text.splitlines():
        if line.strip().startswith("@"):
            found += _step(line.strip().removeprefix("@"))
    return found


def _step(line: str) -> list[Step]:
    verb, _, rest = line.partition(" ")
    if verb == "with":
        return [replace(step, joined=True) for step in _step(rest)]
    return [Step(verb, rest.strip())] if verb in VERBS else []


def _next(steps: list[Step]) -> list[Step]:
    return [found for step in steps if step.verb == "next" for found in _step(step.rest)]


def read_script(body: Json) -> Script:
    """What a request's conversation asks for now."""
    items: list[Json] = body["input"]
    prompt, steps, since, answered = "", list[Step](), list[Json](), False
    for item in items:
        said = item.get("type", "message") == "message"
        if said and item.get("role") == "user":
            text = _text(item)
            # A prompt with verbs starts a script; one without starts an echo, unless it was said
            # into a running turn or is context that the CLI adds by itself (`<…>`).
            if (here := _steps(text)) or ((not steps or answered) and not text.startswith("<")):
                prompt, steps, since, answered = text, here or _next(steps), [], False
                continue
        if said and item.get("role") == "assistant":
            answered = answered or item.get("phase") != "commentary"
        since.append(item)
    heard = " / ".join(text for item in since if (text := _text(item)))
    answers = outputs(since)
    played = next((_played(step.rest, answers) for step in steps if step.verb == "play"), None)
    due = [played] if played else _due(steps, len(answers))
    due = [Step(step.verb, _filled(step.rest, heard)) for step in due]
    return Script(due or [Step("say", f"echo: {prompt}")], prompt, heard)


def outputs(items: list[Json]) -> list[str]:
    """What the tools of a conversation's items brought, without what the CLI says of it."""
    found = [_text(item) for item in items if str(item.get("type", "")).endswith("_output")]
    return [_HEAD.sub("", text) for text in found]


def _played(line: str, answers: list[str]) -> Step:
    act = next_act(line, answers)
    if isinstance(act, Call):
        return Step("ns", f"{BRIDGE} {act.tool} {json.dumps(act.arguments)}")
    return Step("stream", f"1 0 {act}")  # as it is: `@say` makes line breaks of `\\n`


_NAMED = {
    "$agent": re.compile(r'"agent_id":"([^"]+)"'),
    "$session": re.compile(r"session ID (\d+)"),
}


def _filled(rest: str, heard: str) -> str:
    """`rest` with the ids that were heard last in place of their names."""
    for name, pattern in _NAMED.items():
        *_, found = [name, *pattern.findall(heard)]
        rest = rest.replace(name, found)
    return rest


def _due(steps: list[Step], done: int) -> list[Step]:
    """The steps after the `done`-th tool call, up to the next one."""
    due: list[Step] = []
    for step in steps:
        if done == 0:
            due.append(step)
        if step.verb in CALLS:
            if done == 0 and not step.joined:
                return due
            done = max(0, done - 1)
    return due or ([Step("say", "done")] if steps else [])


# -- output items -------------------------------------------------------------------------------


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:16]}"


def _function(name: str, arguments: object, **more: str) -> Json:
    return {
        **more,
        "type": "function_call",
        "id": new_id("fc"),
        "call_id": new_id("call"),
        "name": name,
        "arguments": json.dumps(arguments),
        "status": "completed",
    }


def _freeform(name: str, text: str) -> Json:
    return {
        "type": "custom_tool_call",
        "id": new_id("ctc"),
        "call_id": new_id("call"),
        "name": name,
        "input": text,
        "status": "completed",
    }


def _sh(rest: str, **more: object) -> Json:
    return _function("exec_command", {"cmd": rest, "yield_time_ms": 10_000, **more})


def _escalate(rest: str) -> Json:
    return _sh(rest, sandbox_permissions="require_escalated", justification=f"needs {rest}")


def _background(rest: str) -> Json:
    wait, _, command = rest.partition(" ")
    return _sh(command, yield_time_ms=int(wait))


def _patch(rest: str) -> Json:
    path, _, text = rest.partition(" ")
    added = "".join(f"+{line}\n" for line in lines(text).split("\n"))
    return _freeform("apply_patch", f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch")


def _todo(rest: str) -> Json:
    names, _, index = rest.rpartition(" ")
    states = ["completed"] * int(index) + ["in_progress"] + ["pending"] * names.count("|")
    plan = [
        {"step": name, "status": state}
        for name, state in zip(names.split("|"), states, strict=False)
    ]
    return _function("update_plan", {"explanation": "as scripted", "plan": plan})


def _tool(rest: str) -> Json:
    name, _, arguments = rest.partition(" ")
    return _function(name, json.loads(arguments or "{}"))


def _member(rest: str) -> Json:
    space, name, arguments = rest.split(" ", 2)
    return _function(name, json.loads(arguments), namespace=space)


def _search(rest: str) -> Json:
    action = {"type": "search", "query": rest, "queries": [rest]}
    return {"type": "web_search_call", "id": new_id("ws"), "status": "completed", "action": action}


def _draw(rest: str) -> Json:
    return {
        "type": "image_generation_call",
        "id": new_id("ig"),
        "status": "completed",
        "revised_prompt": rest,
        "result": PIXEL,
    }


def lines(text: str) -> str:
    return text.replace("\\n", "\n")


CALLS: dict[str, Callable[[str], Json]] = {
    "sh": _sh,
    "background": _background,
    "escalate": _escalate,
    "patch": _patch,
    "rawpatch": lambda rest: _freeform("apply_patch", lines(rest)),
    "todo": _todo,
    "input": lambda rest: _function("request_user_input", json.loads(rest)),
    "tool": _tool,
    "ns": _member,
    "js": lambda rest: _freeform("exec", lines(rest)),
}
OWN: dict[str, Callable[[str], Json]] = {  # done by the model's own side: nothing is called
    "search": _search,
    "draw": _draw,
}
TEXTS = {  # verb -> phase of the message
    "say": "final_answer",
    "stream": "final_answer",
    "results": "final_answer",
    "note": "commentary",
}
ENDINGS = frozenset({"fail", "incomplete", "cut", "garbage"})
VERBS = (
    frozenset(CALLS)
    | set(OWN)
    | set(TEXTS)
    | {"reason", "sleep", "http", "tokens", "next", "play"}
    | ENDINGS
)
