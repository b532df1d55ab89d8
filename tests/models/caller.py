"""A model that has agents work for it: programs that call the bridge's tools and go by the answers.

A program is a generator: it yields calls, is sent what each of them brought, and returns what the model
says at last. `@play NAME JSON` in a prompt has a scripted model of either kind play it, from its
beginning for every request, on the answers that the request holds: so it keeps no state. Knows the
tools by what they are published as, and no form of a request.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.core import json
from gateway.core.json import JsonObject

WAIT_MS: Final = 20_000
ENDS: Final = frozenset({"completed", "failed", "cancelled", "rejected"})
WAITS: Final = frozenset({"input_required", "auth_required"})
ABSENT: Final = "00000000-0000-7000-8000-000000000000"
SLICE_BYTES: Final = 64


class Call(NamedTuple):
    tool: str
    arguments: JsonObject


Program: TypeAlias = Generator[Call, JsonObject, str]
Doing: TypeAlias = Generator[Call, JsonObject, JsonObject]  # a part of a program


def next_act(line: str, answers: Sequence[str]) -> Call | str:
    """What the program of `line` (NAME JSON) does after `answers`: its next call, or its last words."""
    name, _, asked = line.partition(" ")
    program = PROGRAMS[name](json.decode_object(asked or "{}"))
    try:
        call = next(program)
        for answer in answers:
            call = program.send(_read(answer))
    except StopIteration as end:
        return str(end.value)
    except LookupError as exc:  # else the client would ask again and again
        return f"{name} does not understand its last answer ({exc!r}): {answers[-1:]}"
    return call


def _read(answer: str) -> JsonObject:
    """An answer of a tool; what is no JSON is a refusal."""
    try:
        return json.decode_object(answer)
    except ValueError:
        return {"refused": answer}


# -- parts --------------------------------------------------------------------------------------


def _follow(run_id: str, until: Callable[[JsonObject, list[JsonObject]], bool]) -> Doing:
    """Poll, and answer what the run asks, until a page with all `events` so far is what is waited for."""
    after, events, questions = 0, list[JsonObject](), list[JsonObject]()
    while True:
        asked = {"run_id": run_id, "after_seq": after, "wait_ms": WAIT_MS}
        page = yield Call("poll_events", asked)
        events += page["events"]
        after = page["next_after_seq"]
        whole = not page["has_more"]
        if whole and until(page, events):
            return {"events": events, "questions": questions}
        if whole and page["status"] in WAITS:
            for request in page["pending"]:
                questions.append(request)
                yield Call("continue_run", {"run_id": run_id, "answer": _first_of(request)})


def _first_of(request: JsonObject) -> JsonObject:
    """The first choice of each question; what is asked for permission is allowed."""
    if questions := request.get("questions"):
        answers = {question["id"]: question["options"][0]["label"] for question in questions}
        return {"request_id": request["request_id"], "answers": answers}
    return {"request_id": request["request_id"], "option": "allow"}


def _at_its_end(page: JsonObject, _: list[JsonObject]) -> bool:
    return page["status"] in ENDS


def _within_its_command(_: JsonObject, events: list[JsonObject]) -> bool:
    return any(event["type"] == "command_started" for event in events)


def _outcome(run_id: str) -> Doing:
    """Follow a run to its end; what came of it and what it asked for."""
    seen = yield from _follow(run_id, _at_its_end)
    run = yield Call("get_run", {"run_id": run_id})
    result: JsonObject = run.get("result") or {}
    return {
        "run_id": run_id,
        "backend": run["backend"],
        "status": run["status"],
        "said": result.get("final_response"),
        "asked": [request["kind"] for request in seen["questions"]],
        "cut": [
            {"run_id": run_id, "seq": event["seq"], "field_path": path}
            for event in seen["events"]
            for path in event["data"].get("artifact_refs", {})
        ],
    }


# -- programs -----------------------------------------------------------------------------------


def _delegate(asked: JsonObject) -> Program:
    """Have `jobs` (arguments of spawn_run) done side by side; says each outcome."""
    spawned: list[JsonObject] = []
    for job in asked["jobs"]:
        run = yield Call("spawn_run", job)
        spawned.append(run)
    outcomes: list[JsonObject] = []
    for run in spawned:
        if "refused" in run:
            outcomes.append(run)
        else:
            outcomes.append((yield from _outcome(run["run_id"])))
    return json.encode(outcomes)


def _oversee(asked: JsonObject) -> Program:
    """Have `long` (arguments of spawn_run) done and stopped within its first command, look at all runs,
    read a bit and then a whole page of what run `talkative` said too much of; ask for a run that is not there."""
    long = yield Call("spawn_run", asked["long"])
    yield from _follow(long["run_id"], _within_its_command)
    stopped = yield Call("cancel_run", {"run_id": long["run_id"]})
    seen = yield from _follow(long["run_id"], _at_its_end)
    talkative = yield Call("spawn_run", asked["talkative"])
    told = yield from _outcome(talkative["run_id"])
    piece = yield Call("get_event_artifact", {**told["cut"][0], "limit": SLICE_BYTES})
    page = yield Call("get_event_artifact", told["cut"][0])
    listed = yield Call("list_runs", {"cwd": asked["long"]["cwd"]})
    missing = yield Call("get_run", {"run_id": ABSENT})
    return json.encode(
        {
            "stopped": stopped["status"],
            "last_event": seen["events"][-1]["data"].get("status"),
            "piece": piece["content"],
            "page": {"bytes": page["returned_bytes"], "read": len(page["content"])},
            "runs": {run["run_id"]: run["status"] for run in listed["runs"]},
            "missing": missing["refused"],
        }
    )


def _begin(asked: JsonObject) -> Program:
    """Start `job` and wait for its end."""
    run = yield Call("spawn_run", asked["job"])
    outcome = yield from _outcome(run["run_id"])
    return json.encode(outcome)


def _once(asked: JsonObject) -> Program:
    """As `begin`, under the job's request_key; says how many runs there are in its folder, too."""
    run = yield Call("spawn_run", asked["job"])
    outcome = yield from _outcome(run["run_id"])
    page = yield Call("list_runs", {"cwd": asked["job"]["cwd"]})
    return json.encode({**outcome, "runs": len(page["runs"])})


def _tell(asked: JsonObject) -> Program:
    """As `begin`, told in words."""
    run = yield Call("spawn_run", asked["job"])
    outcome = yield from _outcome(run["run_id"])
    return f"{outcome['backend']} {outcome['status']} it and says: {outcome['said']}"


def _find(asked: JsonObject) -> Program:
    """The outcome of the newest run in the folder `cwd`, whoever started it."""
    page = yield Call("list_runs", {"cwd": asked["cwd"], "limit": 1})
    outcome = yield from _outcome(page["runs"][0]["run_id"])
    return json.encode(outcome)


PROGRAMS: Final[Mapping[str, Callable[[JsonObject], Generator[Call, Any, str]]]] = {
    "delegate": _delegate,
    "oversee": _oversee,
    "begin": _begin,
    "once": _once,
    "tell": _tell,
    "find": _find,
}
