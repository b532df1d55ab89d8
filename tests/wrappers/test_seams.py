"""Output that comes in pieces: nothing is lost, and no secret lies between two events."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import (
    AgentMessage,
    CommandFinished,
    CommandUpdated,
    RunCompleted,
    StatusChanged,
)
from gateway.core.secrets import Mask
from wrappers.adapter import Step
from wrappers.running.seams import LINE_MAX, Seams

TOKEN = "zQ7-a-token-of-this-process-only"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END PRIVATE KEY-----\n"


def piece(output: str, item: str = "c-1") -> CommandUpdated:
    return CommandUpdated(command="make", output=output, tool_use_id=item)


def outputs(steps: list[Step]) -> list[str]:
    return [step.output or "" for step in steps if isinstance(step, CommandUpdated)]


def told(*steps: Step) -> list[Step]:
    seams = Seams()
    return [told for step in steps for told in seams.take(step)]


def test_whole_lines_go_on_at_once_and_the_last_one_waits_for_its_end() -> None:
    end = CommandFinished(command="make", tool_use_id="c-1")
    assert outputs(told(piece("a\nb"), piece("c\n"), piece("d"), end)) == ["a\n", "bc\n", "d"]


def test_commands_side_by_side_do_not_mix() -> None:
    assert outputs(
        told(piece("a", "1"), piece("b", "2"), piece("A\n", "1"), piece("B\n", "2"))
    ) == [
        "aA\n",
        "bB\n",
    ]


def test_whatever_ends_the_run_what_waits_is_told_before() -> None:
    for last in (RunCompleted(final_response="x"), StatusChanged(status="cancelled")):
        assert told(piece("half"), last) == [piece("half"), last]


def test_a_sign_of_life_and_other_steps_pass() -> None:
    steps: list[Step] = [CommandUpdated(command="make"), AgentMessage(text="hi"), piece("")]
    assert told(*steps) == steps


@given(st.lists(st.text("ab\n\r-", max_size=9), max_size=9))
def test_no_character_is_lost(pieces: list[str]) -> None:
    end = CommandFinished(command="make", tool_use_id="c-1")
    assert "".join(outputs(told(*map(piece, pieces), end))) == "".join(pieces)


def test_a_line_without_end_does_not_wait_for_ever() -> None:
    found = outputs(told(piece("x" * 3 * LINE_MAX)))
    assert found == ["x" * 2 * LINE_MAX]


@given(st.integers(0, len(TOKEN)), st.integers(0, len(PEM)))
def test_a_secret_cut_at_any_place_is_masked(first: int, second: int) -> None:
    mask = Mask([TOKEN])
    for text, at in ((f"key {TOKEN} and\n", first), (f"found\n{PEM}\n", second)):
        found = told(piece(text[: at + 4]), piece(text[at + 4 :]), RunCompleted())
        masked = "".join(mask.text(output) for output in outputs(found))
        assert TOKEN not in masked
        assert "MIIEow" not in masked
        assert "IBAAKC" not in masked
