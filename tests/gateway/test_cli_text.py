"""What the command line makes of a run's events and records: pure, and safe to print."""

import shlex
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.cli import agents, options, plain, portrait
from gateway.cli.errors import CommandError
from gateway.cli.narration import BRIEF_LINES, EVENT_WORDS, Narrator
from gateway.core import json
from gateway.core.events import EVENT_TYPES
from gateway.core.json import JsonObject

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOSTILE = "a\x1b]0;owned\x07b\x9b31mc\u202ed\x00e\x7ff\u2028g\ud800h\rX"


def told(type_: str, /, **data: Any) -> str | None:
    return told_by(Narrator(), type_, data)


def told_by(narrator: Narrator, type_: str, data: JsonObject) -> str | None:
    event: JsonObject = {"seq": 7, "run_id": "r-12345678", "type": type_, "data": data}
    entry = narrator.entry(event)
    return None if entry is None else entry.text()


# -- safe texts ----------------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_written_as_an_escape() -> None:
    shown = plain.safe(HOSTILE)
    assert shown == r"a\x1b]0;owned\x07b\x9b31mc\u202ed\x00e\x7ff\u2028g\ud800h\rX"
    assert shown.isascii()


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "Grüße 你好", "👩‍💻", "नमस्ते"])
def test_what_people_write_is_left_as_it_is(text: str) -> None:
    assert plain.safe(text) == text


def test_line_ends_of_another_system_are_line_ends() -> None:
    assert plain.safe("a\r\nb") == "a\nb"


def test_json_of_hostile_texts_is_the_same_value_without_a_control_character() -> None:
    value = {"text": "a\x1b\x9b\u202e\x7f\U000e0041", "好": "é"}
    text = plain.json_line(value)
    assert json.decode(text) == value
    assert not any(unicodedata.category(one) in ("Cc", "Cf") for one in text)
    assert "好" in text


def test_a_line_is_one_line_of_at_most_so_many_characters() -> None:
    assert plain.line("a\n b\t c") == "a b c"
    assert plain.line("x" * 50, 10) == "x" * 9 + "…"


# -- events --------------------------------------------------------------------------------------


def test_every_type_of_event_has_its_words() -> None:
    assert set(EVENT_TYPES) == EVENT_WORDS


@pytest.mark.parametrize(
    ("type_", "data", "text"),
    [
        ("run_started", {"model": "gpt-5.5"}, "started   model gpt-5.5"),
        ("status_changed", {"status": "running"}, "status    running"),
        (
            "status_changed",
            {"status": "running", "cancel_requested_at": "2026-11-22T10:00:00Z"},
            "status    running: a cancel was asked for",
        ),
        (
            "status_changed",
            {"status": "running", "resolved": "q-1", "how": "answered", "by": "local"},
            "request   q-1 answered by local",
        ),
        ("agent_message", {"text": "one\ntwo"}, "agent     one\n          two"),
        ("message_added", {"role": "user", "text": "and this"}, "user      and this"),
        (
            "message_added",
            {"role": "user", "message": {"parts": [{"data": {"option": "allow"}}]}},
            'user      {"option":"allow"}',
        ),
        ("reasoning", {"text": "hm"}, "thought   hm"),
        ("command_started", {"command": "ls -l"}, "command   $ ls -l"),
        ("command_updated", {"output": "a\nb\n"}, "output    a\n          b"),
        ("command_updated", {"output": ""}, None),
        (
            "command_finished",
            {"command": "ls", "status": "failed", "exit_code": 2, "output": "no\n"},
            "finished  $ ls: exit 2\n          no",
        ),
        (
            "file_changed",
            {"changes": [{"path": "a.py", "kind": "add", "diff": "+x"}]},
            "file      add a.py\n          +x",
        ),
        (
            "file_changed",
            {"changes": [{"path": "a", "kind": "add"}, {"path": "b", "kind": "delete"}]},
            "files     2 changed\n          add a\n          delete b",
        ),
        ("tool_started", {"tool": "Grep", "input": {"q": 1}}, 'tool      Grep {"q":1}'),
        (
            "tool_finished",
            {"tool": "Grep", "status": "failed", "output": "no"},
            "tool      Grep failed: no",
        ),
        (
            "artifact_added",
            {"artifact_id": "a-1", "name": "report", "parts": [{"text": "x"}], "text": "x"},
            "artifact  report\n          x",
        ),
        (
            "artifact_added",
            {"artifact_id": "a-1", "parts": [{"filename": "f.png", "mediaType": "image/png"}]},
            "artifact  a-1\n          f.png image/png",
        ),
        (
            "todo_updated",
            {"items": [{"text": "a", "completed": True}, {"text": "b"}]},
            "todo      1 of 2 done\n          [x] a\n          [ ] b",
        ),
        ("input_required", {"text": "May I?", "pending": []}, "asks      May I?"),
        ("auth_required", {"text": "codex login"}, "login     codex login"),
        ("rejected", {"message": "no", "reason": "full"}, "rejected  no (full)"),
        ("run_completed", {"final_response": "done"}, "completed done"),
        ("run_completed", {"structured_output": {"a": 1}}, 'completed {"a":1}'),
        ("run_failed", {"message": "broke", "reason": "deadline"}, "failed    broke (deadline)"),
        ("of_another_age", {"a": 1}, 'of_anoth… {"a":1}'),
    ],
)
def test_an_event_is_told_in_a_word_and_what_happened(
    type_: str, data: JsonObject, text: str | None
) -> None:
    assert told(type_, **data) == text


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_an_event_of_hostile_texts_or_wrong_types_is_told_all_the_same(type_: str) -> None:
    """Data comes from foreign agents; whatever stands where, a person gets safe lines."""
    names = "text role message command output status tool input path kind artifact_id name reason"
    names += " resolved how by final_response parts changes items pending cancel_requested_at"
    for value in (HOSTILE, None, 7, True, [HOSTILE, {HOSTILE: HOSTILE}], {HOSTILE: [HOSTILE]}):
        text = told(type_, **dict.fromkeys(names.split(), value)) or ""
        assert plain.safe(text) == text


def test_output_that_was_told_as_it_came_is_not_told_again() -> None:
    narrator = Narrator()
    update = {"type": "command_updated", "data": {"output": "a\n", "tool_use_id": "1"}}
    end = {"command": "ls", "output": "a\n", "tool_use_id": "1", "exit_code": 0}
    entry = narrator.entry(update)
    assert entry is not None
    assert entry.head == "a"
    last = narrator.entry({"type": "command_finished", "data": end})
    assert last is not None
    assert last.text() == "finished  $ ls: exit 0"


def test_progress_shows_the_end_of_long_output() -> None:
    output = "\n".join(map(str, range(100)))
    narrator = Narrator(brief=True)
    text = told_by(narrator, "command_finished", {"command": "ls", "output": output}) or ""
    assert text.splitlines()[-1].strip() == "99"
    assert len(text.splitlines()) == BRIEF_LINES + 2
    assert f"… {100 - BRIEF_LINES} lines before" in text


def test_what_an_event_cut_is_named_with_the_command_that_reads_it() -> None:
    refs = {"/output": {"total_bytes": 4096}}
    text = told("command_updated", output="a", artifact_refs=refs) or ""
    assert "4.0 KB: runs artifact 12345678 7 /output" in text


# -- records -------------------------------------------------------------------------------------


RUN: JsonObject = {
    "run_id": "01a2056c-3b03-76b1-aaee-b764942961b7",
    "status": "input_required",
    "session_id": "s-1",
    "agent_name": "ada",
    "backend": "remote_a2a",
    "role": "worker",
    "summary": "Waiting",
    "last_seq": 4,
    "started_at": "2026-11-22T11:58:00Z",
    "updated_at": "2026-11-22T11:59:00Z",
    "cwd": "/w",
    "labels": {"ticket": "A-1"},
    "metadata": {"from": "me"},
    "remote_ref": {"agent_name": "far", "agent_url": "http://far", "task_id": None},
    "queue_place": 2,
    "pending": [
        {
            "request_id": "q-1",
            "kind": "permission",
            "title": "Use Bash",
            "text": "May I?",
            "input": {"command": "rm x"},
            "options": [{"id": "allow", "label": "Allow once"}, {"id": "deny", "label": "Deny"}],
            "expires_at": "2026-11-22T12:10:00Z",
            "default": "deny",
        }
    ],
}


def test_a_row_of_the_table_has_the_end_of_the_id_and_the_registered_agent() -> None:
    assert portrait.row(RUN, NOW) == (
        "942961b7",
        "ada",
        "input_required",
        "far",
        "2 min",
        "/w",
        "Waiting",
    )


def test_a_waiting_run_shows_what_it_asks_and_the_command_that_answers() -> None:
    shown = "\n".join(portrait.whole(RUN, NOW))
    assert "input_required, place 2 in the queue" in shown
    assert "asks (permission: Use Bash) q-1\n  May I?\n  command: rm x" in shown
    assert "  --option allow: Allow once\n  --option deny: Deny" in shown
    assert "  until 2026-11-22T12:10:00Z, then: deny" in shown
    assert f"answer with: a2a-gateway runs answer {RUN['run_id']} --option allow" in shown
    assert "labels    ticket=A-1" in shown
    assert "metadata  from=me" in shown


def test_several_questions_are_answered_by_id() -> None:
    questions: list[JsonObject] = [
        {"id": "a", "question": "A?"},
        {"id": "b", "question": "B?", "options": []},
    ]
    request: JsonObject = {
        "request_id": "q-2",
        "kind": "question",
        "text": "Two",
        "questions": questions,
    }
    run: JsonObject = {**RUN, "pending": [request, *RUN["pending"]]}
    how = portrait.how_to_answer(run, request)
    assert how.endswith("""q-2 --answers '{"a":"…","b":"…"}'""")


def test_a_command_to_paste_runs_nothing_that_an_agent_put_into_its_ids() -> None:
    request: JsonObject = {"request_id": "q; reboot", "options": [{"id": "$(reboot)"}]}
    how = portrait.how_to_answer({**RUN, "pending": [request, request]}, request)
    assert shlex.split(how)[4:] == ["q; reboot", "--option", "$(reboot)"]


def test_an_ended_run_shows_its_outcome() -> None:
    ended: JsonObject = {
        **RUN,
        "status": "failed",
        "pending": [],
        "completed_at": "2026-11-22T12:01:10Z",
        "error": {"message": "broke", "reason": "deadline"},
        "usage": {"input_tokens": 1200, "of": "x"},
        "result": {"final_response": "half", "artifacts": [{"name": "report", "seq": 3}]},
    }
    shown = "\n".join(portrait.whole(ended, NOW))
    assert "took 3 min 10 s" in shown
    assert (
        "error     broke (deadline)\nusage     input_tokens 1,200\nartifact  report (event 3)"
        in shown
    )
    assert shown.endswith("\n\nhalf")


def test_a_record_of_hostile_texts_is_shown_in_safe_lines() -> None:
    request = dict.fromkeys(("request_id", "kind", "title", "text", "expires_at"), HOSTILE)
    more = {
        "input": {HOSTILE: HOSTILE},
        "options": [{"id": HOSTILE, "label": HOSTILE}],
        "questions": [{"id": HOSTILE, "question": HOSTILE, "options": [{"label": HOSTILE}]}],
    }
    texts = dict.fromkeys(
        ("run_id", "status", "agent_name", "role", "cwd", "summary", "started_at"), HOSTILE
    )
    run: JsonObject = {
        **RUN,
        **texts,
        "metadata": {HOSTILE: HOSTILE},
        "labels": {HOSTILE: HOSTILE},
        "pending": [request | more],
    }
    run["remote_ref"] = {"agent_name": HOSTILE, "agent_url": HOSTILE}
    run["error"], run["result"] = {"message": HOSTILE}, {"final_response": HOSTILE}
    shown = "\n".join([*portrait.whole(run, NOW), *portrait.row(run, NOW)])
    assert plain.safe(shown) == shown


def test_an_agent_of_hostile_texts_is_shown_in_safe_lines() -> None:
    keys = ("name", "kind", "url", "card_path", "pool", "credentials")
    agent: JsonObject = dict.fromkeys(keys, HOSTILE)
    agent["labels"], agent["enabled"] = {HOSTILE: HOSTILE}, False
    agent["health"] = dict.fromkeys(("state", "checked_at", "error", "retry_at"), HOSTILE)
    skill = dict.fromkeys(("id", "name", "description"), HOSTILE)
    card = dict.fromkeys(("name", "description", "version", "protocol", "binding"), HOSTILE)
    agent["card"] = {**card, "skills": [skill], "extensions": [HOSTILE]}
    shown = "\n".join(agents.portrait(agent, NOW))
    assert plain.safe(shown) == shown
    assert shown.count("owned") >= 15


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5s", 1.5), ("15m", 900), ("1h30m", 5400), ("2d", 172_800)],
)
def test_a_time_is_said_in_units(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1x", "-5", "5m1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        options.seconds(text)


# A date without dashes was taken for seconds, and so many days for a crash.
def test_a_time_is_a_span_ago_or_goes_as_it_is_said() -> None:
    ago = datetime.now(UTC) - datetime.fromisoformat(options.time("2h") or "")
    assert round(ago / timedelta(hours=1)) == 2
    for text in ("2026-11-22", "20261122", "yesterday"):
        assert options.time(text) == text
    with pytest.raises(CommandError, match="longer ago than there are dates"):
        options.time("99999999999d")


def test_labels_are_pairs() -> None:
    assert options.pairs(["a=1", "b=x=y"], "--label") == {"a": "1", "b": "x=y"}
    with pytest.raises(CommandError, match="--label 'a': say KEY=VALUE"):
        options.pairs(["a"], "--label")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.9, "59.9 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations_are_said_short(seconds: float, text: str) -> None:
    assert plain.duration(seconds) == text


def test_sizes_and_ages_are_said_short() -> None:
    assert [plain.size(n) for n in (0, 2048, 3 << 20, 5 << 30)] == [
        "0 bytes",
        "2.0 KB",
        "3.0 MB",
        "5.0 GB",
    ]
    assert plain.age("2026-11-20T12:00:00Z", NOW) == "2 d"
    assert plain.age("no time\x1b", NOW) == r"no time\x1b"
