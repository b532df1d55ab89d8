"""What runs ask, put to a person: as forms and links, and through a client that has one."""

import sys
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.types import (
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
)
from mcp_types._v2026_07_28 import PrimitiveSchemaDefinition
from pydantic import TypeAdapter

from gateway.core import json
from gateway.core.events import InputRequired, RunCompleted
from gateway.core.extension import (
    PERMISSION_OPTIONS,
    Answer,
    Option,
    PendingRequest,
    Question,
    QuestionOption,
)
from gateway.core.json import JsonObject
from mcp_bridge.face import asking
from mcp_bridge.face.elicitation import CUT, MESSAGE_MAX, UnusableError, answered, asked
from mcp_bridge.face.server import mcp_server
from mcp_bridge.tool import Call
from tests.core.puppet import ME, stage
from tests.mcp_bridge.house import WAYS, Agents, House, Way, house
from tests.mcp_bridge.test_relay import gateway, relay

FIELD: TypeAdapter[Any] = TypeAdapter(PrimitiveSchemaDefinition)


def _request(kind: str, **more: Any) -> PendingRequest:
    about = {"request_id": "q-1", "kind": kind, "text": "Well?", **more}
    return PendingRequest.model_validate(about)


def _form(request: PendingRequest) -> ElicitRequestFormParams:
    made = asked(request, "Agent ada", links=True)
    assert made is not None
    assert made == asked(request, "Agent ada", links=True)
    assert isinstance(made.params, ElicitRequestFormParams)
    for field in made.params.requested_schema["properties"].values():
        FIELD.validate_python(field)
    return made.params


COLOURS = (QuestionOption(label="blue", description="as the sky"), QuestionOption(label="green"))
PICK = Question(id="Which colour?", question="Which colour?", header="Colour", options=COLOURS)
SOME = Question(id="s", question="Which ones?", options=COLOURS, multi_select=True)
OPEN = Question(id="o", question="Why?")
SIZE: JsonObject = {"type": "integer", "minimum": 1, "x-widget": "slider"}
MAIL: JsonObject = {"type": "string", "format": "email"}
PLAN = {"schema": {"type": "object", "properties": {"n": SIZE, "to": MAIL}, "required": ["n"]}}


@pytest.mark.parametrize(
    ("request_", "fields", "said", "answer"),
    [
        (
            _request("permission", options=PERMISSION_OPTIONS),
            ["decision", "reason"],
            {"decision": "deny", "reason": " not now "},
            {"option": "deny", "message": "not now"},
        ),
        (
            _request("plan", options=[{"id": "allow", "label": "Go"}]),
            ["decision", "reason"],
            {"decision": "allow", "reason": None},
            {"option": "allow"},
        ),
        (
            _request("permission"),
            ["decision", "reason"],
            {"decision": "allow"},
            {"option": "allow"},
        ),
        (
            _request("question", questions=(PICK, SOME, OPEN)),
            ["q1", "q2", "q3"],
            {"q1": "blue", "q2": ["blue", "green"], "q3": "it is"},
            {"answers": {"Which colour?": "blue", "s": ["blue", "green"], "o": "it is"}},
        ),
        (_request("question"), ["answer"], {"answer": "so"}, {"message": "so"}),
        (
            _request("question", options=(Option(id="1", label="One"),)),
            ["decision", "reason"],
            {"decision": "1"},
            {"option": "1"},
        ),
        (
            _request("form", input=PLAN),
            ["n", "to"],
            {"n": 3, "other": 4},
            {"answers": {"n": 3}},
        ),
        (_request("form"), ["answer"], {"answer": "so"}, {"message": "so"}),
    ],
)
def test_each_kind_has_a_form_whose_content_is_its_answer(
    request_: PendingRequest, fields: list[str], said: JsonObject, answer: JsonObject
) -> None:
    form = _form(request_)
    assert list(form.requested_schema["properties"]) == fields
    assert answered(request_, said) == Answer(request_id="q-1", **answer)


def test_a_form_says_who_asks_for_what() -> None:
    request = _request(
        "permission", title="Run a command", tool="Bash", input={"command": "rm -r build"}
    )
    assert _form(request).message == (
        'Agent ada asks: Run a command\nWell?\nBash: {"command":"rm -r build"}'
    )
    colour = _form(_request("question", questions=(PICK,))).requested_schema
    assert colour["properties"]["q1"] == {
        "type": "string",
        "title": "Colour",
        "description": "Which colour?\nblue: as the sky",
        "enum": ["blue", "green"],
    }
    assert colour["required"] == ["q1"]


def test_a_message_is_short_and_plain() -> None:
    # A person decides on what they read: a text must not turn its direction or clear the screen.
    text = _form(_request("question", text="\x1b[2J\u202etxet" + "x" * 5000)).message
    assert len(text) == MESSAGE_MAX
    assert "\x1b" not in text
    assert "\u202e" not in text
    options = (Option(id="\x1b", label="\x1b[2JGo"),)
    question = Question(id="q", question="\x1b[2J?", header="\u202eH")
    for asking_ in (_request("plan", options=options), _request("question", questions=[question])):
        schema = json.encode(_form(asking_).requested_schema)
        assert "\\u001b[" not in schema
        assert "\u202e" not in schema
    assert answered(_request("plan", options=options), {"decision": "\x1b"}).option == "\x1b"


def test_what_is_decided_on_is_shown_and_what_is_cut_says_so() -> None:
    # An agent's long words, or a long folder, left no room for the command that they were about;
    # and of a long command a person saw the harmless beginning, as if it were all.
    command = {"command": "rm -r build"}
    request = _request("permission", title="t" * 5000, text="x" * 5000, tool="Bash", input=command)
    head, words, given = _form(request).message.split("\n")
    assert given == 'Bash: {"command":"rm -r build"}'
    assert head.startswith("Agent ada asks: ttt")
    assert head.endswith(CUT)
    assert words.endswith(CUT)
    long = _request("permission", tool="Bash", input={"command": "ls" + " " * 5000 + "; rm -r /"})
    assert _form(long).message.endswith(CUT)


@pytest.mark.parametrize(
    "about",
    [
        {"type": "object", "properties": {}},
        {"type": "array", "items": {"type": "object"}},
        {"enum": [1, 2]},
        {"oneOf": [{"type": "string"}]},
        {"anyOf": [{"type": "string"}]},
        {},
    ],
)
def test_what_flat_fields_cannot_hold_has_no_form(about: JsonObject) -> None:
    schema = {"type": "object", "properties": {"n": SIZE, "deep": about}}
    assert asked(_request("form", input={"schema": schema}), "Agent ada", links=True) is None


def test_choices_of_a_form_stay_choices() -> None:
    fields: JsonObject = {
        "one": {"enum": ["a", "b"], "enumNames": ["A", "B"]},
        "titled": {"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]},
        "many": {"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True},
    }
    form = _form(_request("form", input={"schema": {"properties": fields}}))
    assert form.requested_schema["properties"]["titled"]["oneOf"][1] == {"const": "b", "title": "b"}


def test_a_link_is_opened_where_the_client_opens_links() -> None:
    request = _request("url", input={"url": "https://login.example/x"})
    made = asked(request, "Agent ada", links=True)
    assert made is not None
    assert isinstance(made.params, ElicitRequestURLParams)
    assert made.params.url == "https://login.example/x"
    assert asked(request, "Agent ada", links=False) is None
    assert answered(request, None).option == "allow"
    for url in ("file:///etc/passwd", "javascript:alert(1)", None):
        assert asked(_request("url", input={"url": url}), "Agent ada", links=True) is None


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (_request("permission"), None),
        (_request("permission"), {"decision": "burn"}),
        (_request("permission"), {"decision": ["allow"]}),
        (_request("question", questions=(PICK,)), {"q1": " "}),
        (_request("question", questions=(SOME,)), {"q1": "blue"}),
        (_request("question", questions=(SOME,)), {"q1": [1]}),
        (_request("question"), {}),
        (_request("form", input=PLAN), {"to": "x@example.com"}),
    ],
)
def test_what_is_no_answer_to_its_form_is_unusable(
    request_: PendingRequest, said: JsonObject | None
) -> None:
    with pytest.raises(UnusableError):
        answered(request_, said)


# -- through a client ---------------------------------------------------------------------------


class Somebody:
    """The person behind a client: says what the test wants, and keeps what they were shown."""

    def __init__(self, *answers: ElicitResult | Callable[[], Any]) -> None:
        self._answers = list(answers)
        self.shown: list[ElicitRequestParams] = []

    async def __call__(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult:
        del context
        self.shown.append(params)
        answer = self._answers.pop(0)
        if isinstance(answer, ElicitResult):
            return answer
        return await answer()


def _yes(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


@asynccontextmanager
async def _at(folder: Path, way: Way, person: Somebody) -> AsyncGenerator[House]:
    async with house(folder, way, person=person) as caller:
        yield caller


MODERN: tuple[Way, ...] = ("memory, 2026", "http, 2026")


@pytest.mark.parametrize("way", MODERN)
@pytest.mark.promise("elicit.answer")
async def test_a_person_answers_and_the_poll_goes_on(way: Way, tmp_path: Path) -> None:
    person = Somebody(_yes(decision="allow"))
    async with _at(tmp_path, way, person) as caller:
        run_id, puppet = await caller.begin(nickname="ada")
        await puppet.ask("q-1")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert page["status"] == "running"
        assert page["pending"] == []
        assert page["person"] == [{"run_id": run_id, "request_id": "q-1", "did": "answered"}]
        assert page["events"][0]["seq"] == 1, "nothing is lost of what was to be told"
        [(_, [answer])] = puppet.heard
        assert (answer.request_id, answer.option) == ("q-1", "allow")
        [shown] = person.shown
        assert shown.message == f"Agent ada in {caller.folder} asks:\nq-1?"


@pytest.mark.parametrize("way", MODERN)
async def test_two_requests_are_asked_at_once_each_for_itself(way: Way, tmp_path: Path) -> None:
    person = Somebody(_yes(decision="allow"), ElicitResult(action="decline"))
    async with _at(tmp_path, way, person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1", "q-2")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        did = {one["request_id"]: one["did"] for one in page["person"]}
        assert sorted(did.values()) == ["answered", "decline"]
        assert [one["request_id"] for one in page["pending"]] == [
            name for name, what in did.items() if what == "decline"
        ]
        assert len(person.shown) == 2


@pytest.mark.parametrize("action", ["decline", "cancel"])
@pytest.mark.promise("elicit.left")
async def test_what_a_person_leaves_is_the_agents_and_they_are_not_asked_again(
    action: Any, tmp_path: Path
) -> None:
    person = Somebody(ElicitResult(action=action), _yes(decision="deny"))
    async with _at(tmp_path, "http, 2026", person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        for _ in range(3):
            page = await caller.call("poll_events", run_id=run_id, after_seq=0)
            assert [one["request_id"] for one in page["pending"]] == ["q-1"]
        assert len(person.shown) == 1
        await caller.call(
            "continue_run", run_id=run_id, answer={"request_id": "q-1", "option": "allow"}
        )
        await puppet.ask("q-2")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert page["person"][0]["did"] == "answered", "another request is asked"


async def test_what_was_answered_elsewhere_meanwhile_is_said(tmp_path: Path) -> None:
    async def meanwhile() -> ElicitResult:
        answer = {"request_id": "q-1", "option": "allow"}
        await caller.call("continue_run", run_id=run_id, answer=answer)
        return _yes(decision="deny")

    person = Somebody(meanwhile)
    async with _at(tmp_path, "http, 2026", person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        [outcome] = page["person"]
        assert outcome["did"] == "already_answered"
        assert "'q-1'" in outcome["text"]
        assert page["status"] == "running"
        assert [answer.option for _, [answer] in puppet.heard] == ["allow"]


async def test_a_run_that_ended_meanwhile_says_so(tmp_path: Path) -> None:
    async def meanwhile() -> ElicitResult:
        await puppet.end(RunCompleted(final_response="without you"))
        await caller.ended(run_id)
        return _yes(decision="deny")

    async with _at(tmp_path, "http, 2026", Somebody(meanwhile)) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert page["status"] == "completed"
        assert page["person"][0]["did"] == "run_ended"


async def test_an_answer_that_fits_no_form_leaves_the_request_to_the_agent(tmp_path: Path) -> None:
    person = Somebody(_yes(decision="burn it"))
    async with _at(tmp_path, "http, 2026", person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        for expected in ("unusable", None):
            page = await caller.call("poll_events", run_id=run_id, after_seq=0)
            assert [one["did"] for one in page.get("person", [])] == [expected] * bool(expected)
            assert [one["request_id"] for one in page["pending"]] == ["q-1"]


async def test_what_a_client_declines_does_not_become_our_memory(tmp_path: Path) -> None:
    # Four thousand were remembered, under names as long as the client liked.
    async def beat(waited: float, most: float, text: str) -> None:
        del waited, most, text

    async with stage(tmp_path) as puppets:
        run, _ = await puppets.begin()
        call = Call(tasks=puppets.tasks, backends=Agents(), principal=ME, beat=beat)
        person, desk = asking.Person(client="one", links=False), asking.Asking()
        tracemalloc.start()
        try:
            for number in range(20):
                name = f"{run.id}:{number}{'x' * 1_000_000}"
                [said] = await desk.answers(call, person, {name: ElicitResult(action="decline")})
                assert said["did"] == "decline"
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 5_000_000


async def test_several_runs_in_one_poll_are_each_asked_about(tmp_path: Path) -> None:
    person = Somebody(_yes(decision="allow"), _yes(decision="allow"))
    async with _at(tmp_path, "http, 2026", person) as caller:
        begun = [await caller.begin() for _ in range(3)]
        await begun[0][1].ask("q-1")
        await begun[2][1].ask("q-1")  # the same id: each agent numbers its own
        page = await caller.call(
            "poll_events", after_seq=0, run_ids=[{"run_id": run_id} for run_id, _ in begun]
        )
        assert {one["run_id"] for one in page["person"]} == {begun[0][0], begun[2][0]}
        assert [len(puppet.heard) for _, puppet in begun] == [1, 0, 1]


async def test_one_call_asks_a_bounded_number_of_times(tmp_path: Path) -> None:
    # Clients give a call up that asks for ever; the next call asks on.
    number = 0

    async def again() -> ElicitResult:
        nonlocal number
        number += 1
        await puppet.ask(f"more-{number}")
        return _yes(decision="allow")

    async with _at(tmp_path, "http, 2026", Somebody(*[again] * 20)) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert number == asking.ROUNDS
        assert [one["request_id"] for one in page["pending"]] == [f"more-{number}"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.promise("elicit.absent")
async def test_without_a_person_who_can_be_asked_the_page_is_the_plain_one(
    way: Way, tmp_path: Path
) -> None:
    """A client of 2026 that did not ask for it, and one of the handshake era that did."""
    person = Somebody() if way.endswith("legacy") else None
    async with house(tmp_path, way, person=person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert [one["request_id"] for one in page["pending"]] == ["q-1"]
        assert "person" not in page


async def test_a_request_without_a_form_stays_in_the_page(tmp_path: Path) -> None:
    deep = {"schema": {"properties": {"n": {"type": "object"}}}}
    pending = {"request_id": "q-1", "kind": "form", "text": "Fill in", "input": deep}
    async with _at(tmp_path, "http, 2026", Somebody()) as caller:
        run_id, puppet = await caller.begin()
        await puppet.say(InputRequired(text="Fill in", pending=[pending]))
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert [one["request_id"] for one in page["pending"]] == ["q-1"]


def test_what_a_client_says_of_its_rounds_is_taken_as_a_small_number_or_not() -> None:
    assert [asking.rounds(state) for state in (None, "3", "12", "-1", "x")] == [0, 3, 0, 0, 0]


# -- through the relay --------------------------------------------------------------------------


@asynccontextmanager
async def _relayed(
    folder: Path, environment: dict[str, str], mode: str, person: Somebody
) -> AsyncGenerator[House]:
    """A client that starts the relay with --elicit, in either era."""
    async with gateway(folder) as (puppets, agents, arguments):
        command = ["-m", "mcp_bridge.stdio", *arguments, "--elicit"]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=environment)
        async with Client(parameters, mode=mode, elicitation_callback=person) as client:
            yield House(client, puppets, agents, folder)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.promise("elicit.relay")
async def test_over_stdio_a_person_is_asked_in_both_eras(
    mode: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    # A client of the handshake's era takes a request where the newer one finds it in a result:
    # the relay, which holds its pipe, makes the one of the other.
    left = ElicitResult(action="decline")
    person = Somebody(_yes(decision="allow"), _yes(decision="deny", reason="no"), left)
    async with _relayed(tmp_path, environment, mode, person) as caller:
        run_id, puppet = await caller.begin()
        await puppet.ask("q-1", "q-2")
        page = await caller.call("poll_events", run_id=run_id, after_seq=0)
        assert [one["did"] for one in page["person"]] == ["answered", "answered"]
        assert {answer.option for _, [answer] in puppet.heard} == {"allow", "deny"}
        await puppet.ask("q-3")
        page = await caller.call("poll_events", run_id=run_id, after_seq=page["next_after_seq"])
        assert [one["request_id"] for one in page["pending"]] == ["q-3"]
        assert len(person.shown) == 3
        form = person.shown[0]
        assert isinstance(form, ElicitRequestFormParams)
        decision = form.requested_schema["properties"]["decision"]
        said = [one["const"] for one in decision["oneOf"]] if mode == "auto" else decision["enum"]
        assert said == ["allow", "deny"]


async def test_a_poll_that_is_cancelled_takes_its_question_back(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with (
        gateway(tmp_path) as (puppets, agents, arguments),
        relay([*arguments, "--elicit"], environment) as pipe,
    ):
        await pipe.write(json.encode(HELLO).encode())
        await pipe.read()
        client = Client(mcp_server(puppets.tasks, agents, ME))
        async with client:
            run_id, puppet = await House(client, puppets, agents, tmp_path).begin()
        await puppet.ask("q-1")
        where = {"run_id": run_id, "after_seq": 0}
        call = {"name": "poll_events", "arguments": where}
        await pipe.write(json.encode(_message("tools/call", 2, call)).encode())
        asked_for = await pipe.read()
        assert asked_for["method"] == "elicitation/create"
        await pipe.write(
            json.encode(_message("notifications/cancelled", None, {"requestId": 2})).encode()
        )
        taken_back = await pipe.read()
        assert taken_back["method"] == "notifications/cancelled"
        assert taken_back["params"] == {"requestId": asked_for["id"]}
        late = {"jsonrpc": "2.0", "id": asked_for["id"], "result": {"action": "decline"}}
        await pipe.write(json.encode(late).encode())
        await pipe.write(json.encode(_message("ping", 3, {})).encode())
        assert (await pipe.read())["id"] == 3
        assert puppet.heard == []


HELLO: JsonObject = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "old", "version": "1"},
    },
}


def _message(method: str, number: int | None, params: JsonObject) -> JsonObject:
    made: JsonObject = {"jsonrpc": "2.0", "method": method, "params": params}
    return made if number is None else {**made, "id": number}
