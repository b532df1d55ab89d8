"""The fold: what each event makes of a run's record."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    CommandStarted,
    Event,
    FileChanged,
    InputRequired,
    Reasoning,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import CodingRequest
from gateway.core.messages import user_text
from gateway.core.record import AfterTerminalError, Run, apply, shorten
from gateway.core.status import IllegalTransitionError, RunStatus

QUEUED = Run(
    id="r",
    context_id="c",
    principal="p",
    agent="codex",
    backend="codex",
    status=RunStatus.QUEUED,
    message=user_text("m", "go"),
    request=CodingRequest(),
    created_at=1,
    updated_at=1,
)


def _fold(*events: Event, run: Run = QUEUED) -> Run:
    for at, event in enumerate(events, 2):
        run = apply(run, event, at=at)
    return run


def _asks(*ids: str) -> InputRequired:
    pending = [{"request_id": i, "kind": "permission", "text": f"{i}?"} for i in ids]
    return InputRequired(text=f"{ids[-1]}?", pending=pending)


def _resolves(request_id: str) -> StatusChanged:
    return StatusChanged(status="running", resolved=request_id, how="answered")


def test_a_run_starts_works_and_completes_with_its_result() -> None:
    run = _fold(
        RunStarted(),
        AgentMessage(text="half way"),
        RunCompleted(final_response="done", structured_output={"a": 1}, usage={"n": 2}),
    )
    assert (run.status, run.last_seq, run.summary) == (RunStatus.COMPLETED, 3, "done")
    assert (run.started_at, run.completed_at, run.updated_at) == (2, 4, 4)
    assert run.result is not None
    assert (run.result.final_response, run.result.structured_output) == ("done", {"a": 1})


def test_a_run_is_input_required_exactly_while_something_is_pending() -> None:
    asked = _fold(RunStarted(), _asks("a"), _asks("a", "b"), Reasoning(text="hm"))
    assert (asked.status, len(asked.pending)) == (RunStatus.INPUT_REQUIRED, 2)
    half = apply(asked, _resolves("a"), at=9)
    assert (half.status, [p.request_id for p in half.pending]) == (
        RunStatus.INPUT_REQUIRED,
        ["b"],
    )
    assert apply(half, _resolves("b"), at=10).status is RunStatus.RUNNING


def test_a_status_word_alone_does_not_end_a_wait() -> None:
    asked = _fold(RunStarted(), _asks("a"))
    for status in ("running", "queued", "completed", "idle"):
        assert apply(asked, StatusChanged(status=status), at=5).status is RunStatus.INPUT_REQUIRED
    assert apply(asked, RunStarted(), at=5).status is RunStatus.INPUT_REQUIRED


def test_an_end_takes_the_pending_requests_with_it() -> None:
    ended = _fold(RunStarted(), _asks("a"), StatusChanged(status="cancelled"))
    assert (ended.status, ended.pending) == (RunStatus.CANCELLED, ())


def test_authentication_is_waited_for_and_retried() -> None:
    waiting = _fold(RunStarted(), AuthRequired(text="log in"))
    assert waiting.status is RunStatus.AUTH_REQUIRED
    assert _fold(StatusChanged(status="running"), run=waiting).status is RunStatus.RUNNING


def test_a_cancel_request_leaves_the_status() -> None:
    run = _fold(RunStarted(), StatusChanged(status="running", cancel_requested_at="2026"))
    assert (run.status, run.cancel_requested_at) == (RunStatus.RUNNING, 3)


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (RunFailed(message="no", reason="deadline"), RunStatus.FAILED, "deadline"),
        (Rejected(message="no", reason="queue_full"), RunStatus.REJECTED, "queue_full"),
        (StatusChanged(status="cancelled"), RunStatus.CANCELLED, "cancelled_by_caller"),
    ],
)
def test_every_other_end_has_an_error_with_its_reason(
    event: Event, status: RunStatus, reason: str
) -> None:
    run = _fold(event)
    assert run.status is status
    assert run.error is not None
    assert run.error.reason == reason


def test_nothing_is_appended_after_an_end() -> None:
    ended = _fold(RunStarted(), RunCompleted())
    with pytest.raises(AfterTerminalError, match="r is completed"):
        apply(ended, AgentMessage(text="late"), at=9)


def test_an_illegal_step_changes_nothing() -> None:
    with pytest.raises(IllegalTransitionError):
        _fold(RunCompleted())
    with pytest.raises(IllegalTransitionError):
        _fold(_asks("a"))


def test_artifacts_are_kept_by_the_event_that_brought_them() -> None:
    run = _fold(
        RunStarted(),
        ArtifactAdded(artifact_id="a1", name="diff", parts=[{"text": "x"}]),
        RunCompleted(final_response="ok"),
    )
    assert run.result is not None
    assert [(a["artifact_id"], a["seq"]) for a in run.result.artifacts] == [("a1", 2)]


@pytest.mark.parametrize(
    ("event", "summary"),
    [
        (CommandStarted(command="ls -l"), "command_started: ls -l"),
        (FileChanged(changes=[{}, {}]), "Updated 2 file(s)"),
        (AgentMessage(text="x" * 300), "x" * 117 + "..."),
        (_asks("a"), "Waiting for input: a?"),
    ],
)
def test_the_summary_says_what_happened_last(event: Event, summary: str) -> None:
    assert _fold(RunStarted(), event).summary == summary


def test_folding_leaves_the_record_before_as_it_was() -> None:
    before = replace(QUEUED)
    _fold(RunStarted(), run=before)
    assert before == QUEUED


def test_a_summary_is_one_line() -> None:
    text: Any = "a\n b\t c"
    assert shorten(text) == "a b c"
