"""The status table against the protobuf enum, and against itself."""

import pytest
from a2a.types import TaskState

from gateway.core.status import (
    ACTIVE,
    STATUS_OF_STATE,
    TASK_STATES,
    TERMINAL,
    TRANSITIONS,
    IllegalTransitionError,
    RunStatus,
    advance,
    lifecycle_diagram,
)


def test_every_status_has_a_row_and_every_row_leads_to_statuses() -> None:
    assert set(TRANSITIONS) == set(RunStatus)
    assert all(after <= set(RunStatus) for after in TRANSITIONS.values())


def test_the_state_names_are_those_of_the_protocol_both_ways() -> None:
    wire = {name for name, _ in TaskState.items() if name != "TASK_STATE_UNSPECIFIED"}
    assert set(TASK_STATES.values()) == wire
    assert {STATUS_OF_STATE[name] for name in wire} == set(RunStatus)


def test_the_four_ends_are_terminal_and_nothing_leaves_them() -> None:
    assert {status.value for status in TERMINAL} == {
        "completed",
        "failed",
        "cancelled",
        "rejected",
    }
    for before in TERMINAL:
        for after in RunStatus:
            with pytest.raises(IllegalTransitionError):
                advance(before, after)


def test_an_active_status_may_stay_as_it_is() -> None:
    assert [advance(status, status) for status in ACTIVE] == list(ACTIVE)


def test_a_queued_run_cannot_complete_or_wait_without_running() -> None:
    for after in (RunStatus.COMPLETED, RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED):
        with pytest.raises(IllegalTransitionError):
            advance(RunStatus.QUEUED, after)


def test_the_diagram_draws_every_transition_once() -> None:
    lines = [line.strip() for line in lifecycle_diagram().splitlines()]
    drawn = [line for line in lines if "-->" in line and "[*]" not in line]
    assert len(drawn) == sum(len(after) for after in TRANSITIONS.values()) == len(set(drawn))
