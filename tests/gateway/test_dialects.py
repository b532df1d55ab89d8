"""What the dialects make of recorded agents; the recordings say of which, in `recorded`.

The scenarios were taken from the real servers, with scripted models behind them, and shortened:
ids are numbered, times and tool descriptions left out.
"""

from pathlib import Path
from typing import Any

import pytest

from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.messages import DataPart, Message, user_text
from gateway.dialects import spoken
from gateway.dialects.dialect import Call, Said
from gateway.link.v03 import new_item

FOLDER = Path(__file__).parent / "dialects"
Items = list[dict[str, Any]]
SENT = user_text("m-9", "whatever was sent")


def recorded(dialect: str, scenario: str) -> list[Items]:
    """The streams of a scenario, in the JSON of A2A 1.0."""
    text = (FOLDER / f"{dialect}.json").read_bytes()
    streams: list[Items] = json.decode_object(text)["scenarios"][scenario]["streams"]
    return [[new_item(item) if "kind" in item else item for item in items] for items in streams]


def waiting(dialect: str, scenario: str) -> dict[str, Any]:
    """The task as GetTask gave it while it waited."""
    task = json.decode_object((FOLDER / f"{dialect}.json").read_bytes())["scenarios"][scenario][
        "waiting_task"
    ]
    return new_item(task) if "kind" in task else {"task": task}


def plain(ears: spoken.Ears, items: Items) -> Items:
    return [one for item in items for one in ears.plain(item)]


def body(item: dict[str, Any]) -> dict[str, Any]:
    [held] = item.values()
    return held


def states(items: Items) -> list[str]:
    return [body(item)["status"]["state"].removeprefix("TASK_STATE_") for item in items]


def texts(items: Items) -> list[str]:
    messages: Items = [body(item).get("status", {}).get("message") or {} for item in items]
    return [part["text"] for one in messages for part in one.get("parts", []) if "text" in part]


def asked(item: dict[str, Any]) -> list[PendingRequest]:
    """What an item asks in plain words."""
    assert body(item)["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    [part] = body(item)["status"]["message"]["parts"]
    return [PendingRequest.model_validate(one) for one in part["data"]["pending"]]


def question(dialect: str, scenario: str) -> PendingRequest:
    """The one request of a scenario's first stream."""
    ears = spoken.Ears()
    items = plain(ears, recorded(dialect, scenario)[0])
    asking = [item for item in items if "pending" in json.encode(item)]
    [request] = asked(asking[0])
    [again] = asked(spoken.Ears([request]).plain(waiting(dialect, scenario))[0])
    assert again == request, "the task asked for later says the same"
    return request


def said(request: PendingRequest, **more: Any) -> Said:
    found = spoken.answer(request, Answer(request_id=request.request_id, **more), SENT)
    assert found is not None
    return found


# -- a2acode -------------------------------------------------------------------------------------


def words_and_block(found: Said) -> tuple[str, dict[str, Any]]:
    assert isinstance(found, Message)
    assert found.message_id == SENT.message_id, "a repetition stays one message"
    return found.text, found.metadata["a2acode_permission"]


def test_a2acode_asks_for_a_tool_with_the_options_of_its_agent() -> None:
    request = question("a2acode", "allow")
    assert (request.kind, request.tool) == ("permission", "Run rm -r build")
    assert request.input == {"command": "rm -r build"}
    assert request.text == "Permission requested for Run rm -r build: Run rm -r build"
    assert [(one.id, one.label) for one in request.options] == [
        ("allow", "Allow once"),
        ("allow_session", "Always allow"),
        ("deny", "Reject"),
        ("abort", "Deny and stop"),
    ]


def test_a2acode_is_answered_as_its_own_client_answers_it() -> None:
    request = question("a2acode", "allow")
    scenarios = json.decode_object((FOLDER / "a2acode.json").read_bytes())["scenarios"]
    [sent] = scenarios["allow"]["answers"]
    text, block = words_and_block(said(request, option="allow"))
    assert text == sent["parts"][0]["text"]
    assert block == sent["metadata"]["a2acode_permission"]
    [sent] = scenarios["always"]["answers"]
    text, _ = words_and_block(said(request, option="allow_session"))
    assert text == sent["parts"][0]["text"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "deny"),
        ("use make clean", "use make clean"),
        ("Two\nlines", "Two lines"),
        # It takes the whole message for consent when it is one of its allow-words.
        ("OK.", "deny: OK."),
        ("option:always-1", "deny: option:always-1"),
    ],
)
def test_a_denial_of_a2acode_never_reads_as_consent(reason: str | None, text: str) -> None:
    found = said(question("a2acode", "allow"), option="deny", message=reason)
    assert words_and_block(found)[0] == text


def test_what_an_agent_behind_a2acode_offers_beside_ours_is_offered_by_its_id() -> None:
    request = question("a2acode", "plan")
    assert request.kind == "plan"
    assert [one.id for one in request.options] == ["allow", "allow_session", "deny", "abort"]
    assert [one.label for one in request.options][:2] == [
        "Yes, ask each time",
        "Yes, and accept edits",
    ]
    assert words_and_block(said(request, option="allow_session"))[0] == "option:acceptEdits"


def test_a_question_through_a2acode_is_answered_by_its_words() -> None:
    # Not recorded: written after the shape of the AskUserQuestion tool that its Claude backend
    # passes on as `input`.
    questions = [
        {
            "question": "Which database?",
            "header": "Database",
            "options": [{"label": "SQLite", "description": "One file"}],
            "multiSelect": False,
        },
        {"question": "Which parts?", "options": [{"label": "api"}], "multiSelect": True},
    ]
    block = {"request_id": "r-1", "tool": "AskUserQuestion", "input": {"questions": questions}}
    message: dict[str, Any] = {
        "messageId": "m",
        "parts": [],
        "metadata": {"a2acode_permission": block},
    }
    status = {"state": "TASK_STATE_INPUT_REQUIRED", "message": message}
    [item] = spoken.Ears().plain({"statusUpdate": {"status": status}})
    [request] = asked(item)
    assert (request.kind, [one.multi_select for one in request.questions]) == (
        "question",
        [False, True],
    )
    given = {"Which database?": "SQLite", "Which parts?": ["api", "docs"]}
    text, sent = words_and_block(said(request, answers=given))
    assert (text, sent) == ("allow", {"request_id": "r-1", "answers": given})
    assert words_and_block(said(request, option="deny", message="not now"))[0] == "not now"


# -- codex-a2a -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "more"),
    [
        ("permission_once", {"option": "allow"}),
        ("permission_always", {"option": "allow_session"}),
        ("permission_reject", {"option": "deny", "message": "use the other folder"}),
        ("question", {"answers": {"db": "SQLite", "name": "main"}}),
        ("question_reject", {"option": "deny"}),
        ("form", {"answers": {"key": "ABC-1"}}),
        ("url", {"option": "deny"}),
    ],
)
def test_codex_a2a_is_answered_by_the_calls_that_it_took(scenario: str, more: Any) -> None:
    request = question("codex_a2a", scenario)
    scenarios = json.decode_object((FOLDER / "codex_a2a.json").read_bytes())["scenarios"]
    found = said(request, **more)
    assert isinstance(found, Call)
    assert {"method": found.method, "params": found.params} == scenarios[scenario]["answer"]


def test_codex_a2a_names_what_it_wants_to_do() -> None:
    request = question("codex_a2a", "permission_once")
    assert (request.kind, request.tool, request.text) == (
        "permission",
        "command_execution",
        "It needs the network",
    )
    asks = question("codex_a2a", "question")
    assert [(one.id, one.header, len(one.options)) for one in asks.questions] == [
        ("db", "Database", 2),
        ("name", "Name", 0),
    ]
    form, url = question("codex_a2a", "form"), question("codex_a2a", "url")
    assert form.input is not None
    assert form.input["schema"]["required"] == ["key"]
    assert (url.kind, url.input) == ("url", {"url": "https://example.org/login"})


def test_permissions_of_codex_a2a_are_granted_whole_for_a_turn_or_a_session_or_not() -> None:
    request = question("codex_a2a", "permissions")
    wanted = {"network": {"enabled": True}, "fileSystem": {"write": ["/srv/other"]}}
    assert request.input == wanted
    found = [said(request, option=option) for option in ("allow", "allow_session", "deny")]
    assert [one.params for one in found if isinstance(one, Call)] == [
        {"request_id": found_id, "permissions": granted, "scope": scope}
        for found_id, granted, scope in (
            (request_number(request), wanted, "turn"),
            (request_number(request), wanted, "session"),
            (request_number(request), {}, "turn"),
        )
    ]


def request_number(request: PendingRequest) -> str:
    return request.request_id.partition(":")[2].partition("?")[0]


def test_codex_a2a_has_several_requests_open_and_each_goes_by_itself() -> None:
    first = recorded("codex_a2a", "permission_once")[0]
    second = recorded("codex_a2a", "question")[0]
    ears = spoken.Ears()
    [one] = asked(ears.plain(first[1])[0])
    both = asked(ears.plain(second[1])[0])
    assert [request.kind for request in both] == ["permission", "question"]
    left = asked(ears.plain(first[2])[0])
    assert [request.kind for request in left] == ["question"], "the other is open still"
    assert ears.plain(second[2]) == [second[2]], "all are resolved"
    assert [one, *left] == both


def test_a_type_of_interrupt_nobody_knows_is_asked_and_cannot_be_answered() -> None:
    [item] = recorded("codex_a2a", "permission_once")[0][1:2]
    item["statusUpdate"]["metadata"]["shared"]["interrupt"]["type"] = "telepathy"
    [request] = asked(spoken.Ears().plain(item)[0])
    with pytest.raises(InvalidInputError, match="cancel the run"):
        said(request, option="allow")


# -- Gemini CLI ----------------------------------------------------------------------------------


def test_gemini_asks_when_its_turn_stops_before_a_tool_and_its_text_is_one_message() -> None:
    items = plain(spoken.Ears(), recorded("gemini", "allow")[0])
    assert texts(items) == ["Let me run that."]
    assert set(states(items[:-1])) == {"SUBMITTED", "WORKING"}
    [request] = asked(items[-1])
    assert (request.kind, request.tool, request.title, request.text) == (
        "permission",
        "run_shell_command",
        "Confirm Shell Command",
        "touch made-by-gemini",
    )
    assert request.input == {"command": "touch made-by-gemini", "description": "Make a file"}
    assert [one.id for one in request.options] == ["allow", "allow_session", "deny", "abort"]


def test_gemini_works_on_after_the_answer_and_the_end_of_its_turn_is_the_end() -> None:
    first, second = recorded("gemini", "allow")
    ears = spoken.Ears()
    plain(ears, first)
    items = plain(ears, second)
    # Its updates of the running tool still say input-required.
    assert states(items) == ["WORKING"] * 5 + ["COMPLETED"]
    assert "coderAgent" not in json.encode(items), "its kinds are no news beside what they say"
    assert texts(items) == ["I ran it. All done."]


def test_a_task_of_gemini_asked_for_is_a_question_as_long_as_one_is_open() -> None:
    request = question("gemini", "allow")
    assert asked(spoken.Ears([request]).plain(waiting("gemini", "allow"))[0]) == [request]
    assert states(spoken.Ears().plain(waiting("gemini", "allow"))) == ["COMPLETED"]


def test_gemini_denied_ends_its_turn() -> None:
    first, second = recorded("gemini", "deny")
    ears = spoken.Ears()
    plain(ears, first)
    assert states(plain(ears, second)) == ["WORKING", "COMPLETED"]


def test_gemini_asks_for_one_tool_after_the_other() -> None:
    first, second, *_ = recorded("gemini", "two")
    ears = spoken.Ears()
    [one] = asked(plain(ears, first)[-1])
    [other] = asked(plain(ears, second)[-1])
    assert (one.tool, other.tool) == ("run_shell_command", "write_file")
    assert other.text.startswith("Index: b.txt"), "the diff"


def test_gemini_that_could_not_reach_its_model_has_failed() -> None:
    items = plain(spoken.Ears(), recorded("gemini", "error")[0])
    assert states(items)[-1] == "FAILED"
    assert texts(items)[-1] == "[API Error: An unknown error occurred.]"


def test_gemini_that_stopped_by_itself_asks_what_to_do_in_its_own_words() -> None:
    # It aborts its turn when the connection that started it closes, as when the gateway restarts:
    # the tool call it had asked for is gone.
    request = question("gemini", "allow")
    item = waiting("gemini", "allow")
    parts = [{"text": "Execution aborted by client."}]
    item["task"]["status"]["message"] = {"messageId": "m", "role": "ROLE_AGENT", "parts": parts}
    ears = spoken.Ears([request])
    assert ears.plain(item) == [item]
    assert states(ears.plain(waiting("gemini", "allow"))) == ["COMPLETED"]


@pytest.mark.parametrize(
    ("option", "outcome"),
    [
        ("allow", "proceed_once"),
        ("allow_session", "proceed_always"),
        ("deny", "cancel"),
        ("abort", "cancel"),
    ],
)
def test_gemini_is_answered_by_the_outcome_of_the_tool_call(option: str, outcome: str) -> None:
    found = said(question("gemini", "allow"), option=option, message="because")
    assert isinstance(found, Message)
    [part] = found.parts
    assert isinstance(part, DataPart)
    assert part.data["outcome"] == outcome
    assert part.data["callId"].startswith("run_shell_command-")


def test_an_edit_of_gemini_is_allowed_with_other_content() -> None:
    first, second, *_ = recorded("gemini", "two")
    ears = spoken.Ears()
    plain(ears, first)
    [request] = asked(plain(ears, second)[-1])
    found = said(request, option="allow", updated_input={"newContent": "bye\n"})
    assert isinstance(found, Message)
    assert [part.data["newContent"] for part in found.parts if isinstance(part, DataPart)] == [
        "bye\n"
    ]


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        {"message": {"messageId": "m", "parts": [{"text": "hi"}]}},
        {"artifactUpdate": {"artifact": {"artifactId": "a", "parts": []}}},
        {"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}},
        {"task": {"id": "t", "status": {"state": "TASK_STATE_COMPLETED"}}},
        {"statusUpdate": {"status": "no object", "metadata": ["no object"]}},
        {"telegram": 1},
        {},
    ],
)
def test_plain_a2a_is_left_as_it_is(item: dict[str, Any]) -> None:
    assert spoken.Ears().plain(item) == [item]


def test_requests_of_no_dialect_are_not_answered_here() -> None:
    request = PendingRequest(request_id="q-1", kind="question", text="?")
    assert spoken.answer(request, Answer(request_id="q-1", message="x"), SENT) is None


def test_extensions_are_asked_for_when_the_card_names_them() -> None:
    hints = "urn:codex-a2a:extension:stream-hints:v1"
    assert spoken.requested(["urn:other", hints]) == (hints,)


def test_settings_go_to_agents_that_document_them() -> None:
    request = CodingRequest(cwd="/work", model="m-1", effort="low", permission_mode="auto")
    hints = "urn:codex-a2a:extension:stream-hints:v1"
    execution = {"model": "m-1", "effort": "low"}
    assert spoken.settings(request, "Codex A2A", [hints]) == {
        "codex": {"directory": "/work", "execution": execution}
    }
    assert spoken.settings(request, "Gemini SDLC Agent", []) == {
        "coderAgent": {"kind": "agent-settings", "workspacePath": "/work", "autoExecute": True}
    }
    assert spoken.settings(request, "Somebody", []) == {}
    assert spoken.settings(CodingRequest(), "Gemini SDLC Agent", [hints]) == {}
