"""A run as a person wants to see it: its state, what it asks and how to answer, its outcome.

Pure: the objects of get_run and list_runs in, safe lines out. Knows no terminal.
"""

import shlex
from datetime import datetime
from typing import Final

from gateway.cli import plain
from gateway.cli.narration import lines
from gateway.cli.plain import objects, string
from gateway.core import json
from gateway.core.json import JsonObject, as_object

COLUMNS: Final = ("RUN", "NAME", "STATUS", "AGENT", "AGE", "FOLDER", "SUMMARY")
WHOLE: Final = 5  # columns that are shown whole, however narrow the terminal
_LABEL: Final = 10  # characters before a value


def agent_of(run: JsonObject) -> str:
    """The agent's name as people gave it: the backend, or the registered agent behind it."""
    remote = string(as_object(run.get("remote_ref")).get("agent_name"))
    backend = string(run.get("backend"))
    return plain.line((remote or backend) if backend == "remote_a2a" else backend)


def row(run: JsonObject, now: datetime) -> tuple[str, ...]:
    """The cells of a run in a table, in the order of COLUMNS."""
    return (
        plain.short_id(string(run.get("run_id"))),
        plain.line(string(run.get("agent_name"))),
        plain.line(string(run.get("status"))),
        agent_of(run),
        plain.age(string(run.get("started_at")), now),
        plain.line(string(run.get("cwd"))),
        plain.line(string(run.get("summary"))),
    )


def whole(run: JsonObject, now: datetime) -> list[str]:
    """Everything that get_run knows of a run."""
    told = [*_state(run, now), *_labels(run)]
    if remote := as_object(run.get("remote_ref")):
        keys = ("agent_name", "agent_url", "task_id")
        at = " ".join(plain.line(str(remote[key])) for key in keys if remote.get(key))
        told.append(_labelled("at", at))
    for request in objects(run.get("pending")):
        told += ["", *pending(run, request)]
    return [*told, *_outcome(run)]


def status_of(run: JsonObject) -> str:
    """The status, and what is to be known beside it."""
    status = plain.line(string(run.get("status")))
    if place := run.get("queue_place"):
        status += f", place {place} in the queue"
    if turn := string(run.get("blocked_by")):
        status += f", after run {plain.line(turn)} of its session"
    if run.get("cancel_requested_at") is not None:
        status += ", a cancel was asked for"
    return status


def _state(run: JsonObject, now: datetime) -> list[str]:
    role = string(run.get("role"))
    told = [
        ("run", plain.line(string(run.get("run_id")))),
        ("status", status_of(run)),
        ("name", plain.line(string(run.get("agent_name")))),
        ("agent", agent_of(run) + (f" ({plain.line(role)})" if role else "")),
        ("parent", plain.line(string(run.get("parent_run_id")))),
        ("session", plain.line(string(run.get("session_id")))),
        ("folder", plain.line(string(run.get("cwd")))),
        ("time", _times(run, now)),
        ("events", str(run.get("last_seq"))),
        ("doing", plain.line(string(run.get("summary")))),
    ]
    return [_labelled(name, text) for name, text in told if text]


def _times(run: JsonObject, now: datetime) -> str:
    begun, ended = string(run.get("started_at")), string(run.get("completed_at"))
    if not ended:
        return f"since {plain.line(begun)} ({plain.age(begun, now)})"
    try:
        took = datetime.fromisoformat(ended) - datetime.fromisoformat(begun)
    except (ValueError, TypeError):
        return f"{plain.line(begun)} to {plain.line(ended)}"
    return f"{plain.line(begun)}, took {plain.duration(took.total_seconds())}"


def _labels(run: JsonObject) -> list[str]:
    told: list[str] = []
    for name in ("labels", "metadata"):
        pairs = [
            f"{plain.line(key)}={plain.line(value if isinstance(value, str) else json.encode(value), 200)}"
            for key, value in as_object(run.get(name)).items()
        ]
        if pairs:
            told.append(_labelled(name, ", ".join(pairs)))
    return told


def _outcome(run: JsonObject) -> list[str]:
    told: list[str] = []
    result, error = as_object(run.get("result")), as_object(run.get("error"))
    if error:
        reason = f" ({plain.line(string(error['reason']))})" if error.get("reason") else ""
        told += ["", _labelled("error", plain.line(string(error.get("message"))) + reason)]
    if usage := figures(as_object(run.get("usage"))):
        told.append(_labelled("usage", usage))
    for artifact in objects(result.get("artifacts")):
        name = string(artifact.get("name")) or string(artifact.get("artifact_id"))
        told.append(_labelled("artifact", f"{plain.line(name)} (event {artifact.get('seq')})"))
    if result.get("final_response"):
        told += ["", *lines(result["final_response"])]
    if "structured_output" in result:
        told += ["", plain.safe(json.encode(result["structured_output"]))]
    return told


def figures(usage: JsonObject) -> str:
    """The numbers of a usage, `input_tokens 12, output_tokens 7`."""
    return ", ".join(
        f"{plain.line(name)} {value:,}"
        for name, value in usage.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def pending(run: JsonObject, request: JsonObject) -> list[str]:
    """One request: what is asked, what can be answered, and the command that answers it."""
    title = ": ".join(
        plain.line(string(request.get(k))) for k in ("kind", "title") if request.get(k)
    )
    told = [f"asks ({title}) {plain.line(string(request.get('request_id')))}"]
    told += [f"  {one}" for one in question(request)]
    if expires := request.get("expires_at"):
        fallback = plain.line(string(request.get("default"))) or "no answer"
        told.append(f"  until {plain.line(str(expires))}, then: {fallback}")
    for option in objects(request.get("options")):
        told.append(
            f"  --option {plain.line(string(option.get('id')))}: {plain.line(string(option.get('label')))}"
        )
    for asked in objects(request.get("questions")):
        told += _question(asked)
    return [*told, f"  answer with: {how_to_answer(run, request)}"]


def question(request: JsonObject) -> list[str]:
    """What a request says, and what it would do."""
    told = list(lines(request.get("text")))
    if given := as_object(request.get("input")):
        told += [
            f"{plain.line(name)}: {plain.line(value if isinstance(value, str) else json.encode(value), 400)}"
            for name, value in given.items()
        ]
    return told


def _question(asked: JsonObject) -> list[str]:
    several = " (several)" if asked.get("multi_select") else ""
    told = [
        f"  {plain.line(string(asked.get('id')))}{several}: {plain.line(string(asked.get('question')))}"
    ]
    for option in objects(asked.get("options")):
        about = plain.line(string(option.get("description")))
        told.append(
            f"    - {plain.line(string(option.get('label')))}" + (f": {about}" if about else "")
        )
    return told


def how_to_answer(run: JsonObject, request: JsonObject) -> str:
    """The command that answers a request. People paste it: an agent's ids are quoted."""
    only = len(objects(run.get("pending"))) < 2
    which = "" if only else f" {_word(request.get('request_id'))}"
    asked = objects(request.get("questions"))
    if options := objects(request.get("options")):
        how = f"--option {_word(options[0].get('id'))}"
    elif len(asked) > 1:
        how = f"--answers {_word(json.encode({string(one.get('id')): '…' for one in asked}))}"
    else:
        how = "--text '…'"
    return f"a2a-gateway runs answer {_word(run.get('run_id'))}{which} {how}"


def _word(text: object) -> str:
    return shlex.quote(plain.line(string(text)))


def _labelled(name: str, text: str) -> str:
    return f"{name:<{_LABEL}}{text}"
