"""A person at a terminal: questions answered at the prompt, Ctrl+C, and what agents cannot do to it."""

import os
from collections.abc import AsyncGenerator

import pytest

from tests.gateway.people import CTRL_C, DOWN, ENTER, Desk, desk


@pytest.fixture(scope="module")
async def shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    async with desk(tmp_path_factory.mktemp("terminal")) as made:
        yield made


async def test_a_question_is_answered_with_the_arrows(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "ask Colour? [red|blue]\nsay done") as person:
        await person.until("Colour?:")
        person.type(DOWN + ENTER)
        await person.until("Colour? blue")
        await person.until("done")
        assert await person.ended() == 0


async def test_a_question_without_choices_is_answered_in_words(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "ask Name?") as person:
        await person.until("Name?:")
        person.type("Ada" + ENTER)
        await person.until("Name? Ada")
        assert await person.ended() == 0


async def test_a_permission_shows_what_it_is_for_and_a_denial_says_why(shell: Desk) -> None:
    script = 'permission Bash {"command": "rm -r build"}'
    async with shell.terminal("run", "scripted", "--permission-mode", "ask", script) as person:
        await person.until("command: rm -r build")
        await person.until("Your answer:")
        person.type(DOWN + DOWN + ENTER)
        await person.until("Why (may be empty):")
        person.type("keep it" + ENTER)
        assert await person.ended() == 0


async def test_a_plan_is_approved(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "plan first this, then that") as person:
        await person.until("first this, then that")
        await person.until("Your answer:")
        person.type(ENTER)
        await person.until("plan approved")
        assert await person.ended() == 0


async def test_questions_are_asked_while_the_answer_goes_to_a_variable(shell: Desk) -> None:
    reader, writer = os.pipe()
    async with shell.terminal("run", "scripted", "ask Name?\nsay bye", stdout=writer) as person:
        os.close(writer)
        await person.until("Name?:")
        person.type("Ada" + ENTER)
        assert await person.ended() == 0
    assert os.read(reader, 1000) == b"bye\n"
    os.close(reader)


async def test_an_answer_put_off_leaves_the_run_waiting_and_says_how_to_answer(
    shell: Desk,
) -> None:
    async with shell.terminal("run", "scripted", "ask Colour? [red|blue]") as person:
        await person.until("Colour?:")
        person.type("\x1b[A" + ENTER)  # the last one
        await person.until("a2a-gateway runs answer")
        assert await person.ended() == 7


async def test_credentials_that_are_missing_are_waited_for(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "auth use: scripted login\nsay in") as person:
        await person.until("use: scripted login")
        await person.until("then press Enter")
        person.type(ENTER)
        assert await person.ended() == 0


async def test_a_question_that_was_answered_elsewhere_meanwhile_is_no_end(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "ask Name?\nlisten\nsay over") as person:
        await person.until("run ")
        run_id = person.seen[:36]
        await person.until("Name?:")
        assert (await shell.do("runs", "answer", run_id, "--text", "Grace")).code == 0
        person.type("Ada" + ENTER)
        await person.until("not taken: ")
        assert (await shell.do("runs", "continue", run_id, "go on")).code == 0
        await person.until("over")
        assert await person.ended() == 0


# -- Ctrl+C --------------------------------------------------------------------------------------


async def test_ctrl_c_offers_to_cancel(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "say begun\nhang") as person:
        await person.until("begun")
        person.type(CTRL_C)
        await person.until("The run is at work:")
        person.type(ENTER)
        assert await person.ended() == 6


async def test_ctrl_c_offers_to_leave_the_run_which_goes_on(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "say begun\nhang") as person:
        await person.until("run ")
        run_id = person.seen[:36]
        await person.until("begun")
        person.type(CTRL_C)
        await person.until("The run is at work:")
        person.type(DOWN + ENTER)
        await person.until("goes on")
        assert await person.ended() == 130
    assert (await shell.do("runs", "show", run_id, "--json")).json["status"] == "running"
    assert (await shell.do("runs", "cancel", run_id)).code == 0


async def test_ctrl_c_offers_to_go_on(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "say begun\nask Name?") as person:
        await person.until("Name?:")
        person.type(CTRL_C)
        await person.until("The run is at work:")
        person.type(DOWN + DOWN + ENTER)
        await person.until("Name?:")
        person.type("Ada" + ENTER)
        await person.until("Name? Ada")
        assert await person.ended() == 0


async def test_a_second_ctrl_c_leaves_at_once(shell: Desk) -> None:
    async with shell.terminal("run", "scripted", "say begun\nhang") as person:
        await person.until("begun")
        person.type(CTRL_C)
        await person.until("The run is at work:")
        person.type(CTRL_C)
        await person.until("goes on")
        assert await person.ended() == 130


async def test_ctrl_c_ends_a_tail(shell: Desk) -> None:
    run_id = await shell.spawn("say begun\nhang")
    async with shell.terminal("runs", "tail", "-f", run_id) as person:
        await person.until("begun")
        person.type(CTRL_C)
        assert await person.ended() == 130
    await shell.do("runs", "cancel", run_id)


async def test_a_run_that_was_left_is_followed_again_and_asks_there(shell: Desk) -> None:
    run_id = await shell.spawn("say begun\nask Name?")
    async with shell.terminal("runs", "attach", run_id) as person:
        await person.until("begun")
        await person.until("Name?:")
        person.type("Ada" + ENTER)
        assert await person.ended() == 0


# -- answering a run that was left ---------------------------------------------------------------


async def test_answer_without_an_answer_asks(shell: Desk) -> None:
    run_id = await shell.asks("ask Colour? [red|blue]")
    async with shell.terminal("runs", "answer", run_id) as person:
        await person.until("Colour?:")
        person.type(ENTER)
        await person.until("answered")
        assert await person.ended() == 0
    tail = await shell.do("runs", "tail", "-f", run_id)
    assert (tail.code, "Colour? red" in tail.out) == (0, True)


# -- hostile words -------------------------------------------------------------------------------

TITLE = "\x1b]0;owned\x07"
C1 = "\x9b31m"
REVERSED = "\u202e"


async def test_a_terminal_is_told_no_escape_sequence_of_an_agent(
    shell: Desk,
) -> None:
    script = f"say {TITLE}loud\nask {C1}Sure?{REVERSED} [{TITLE}yes|no]\nsay {TITLE}{C1}bye"
    async with shell.terminal("run", "scripted", script) as person:
        await person.until("\\x07yes")
        person.type("sure" + ENTER)
        await person.until("bye")
        assert await person.ended() == 0
        assert person.everything.count(TITLE) == 0
        assert C1 not in person.everything
        assert REVERSED not in person.everything


async def test_colours_are_for_terminals_that_want_them(shell: Desk) -> None:
    await shell.do("run", "-q", "scripted", "fail it broke")
    async with shell.terminal("runs", "list") as person:
        await person.until("RUN")
        assert await person.ended() == 0
        assert "\x1b[1m" in person.everything
    plain = Desk(environment={**shell.environment, "NO_COLOR": "1"}, folder=shell.folder)
    async with plain.terminal("runs", "tail", "agent1") as person:
        assert await person.ended() == 0
        assert "\x1b[3" not in person.everything
