"""Scripts at the command line: what commands print, where, and with which exit code."""

import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from tests.gateway.people import Desk, desk
from tests.gateway.process import COMMAND, started


@pytest.fixture(scope="module")
async def shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    async with desk(tmp_path_factory.mktemp("scripts")) as made:
        yield made


# -- run -----------------------------------------------------------------------------------------


async def test_the_answer_alone_is_on_stdout_and_progress_on_stderr(shell: Desk) -> None:
    done = await shell.do("run", "scripted", "say first\ncommand ls => a\nsay bye")
    assert (done.code, done.out) == (0, "bye\n")
    assert "agent     first" in done.err
    assert "command   $ ls" in done.err
    assert "\x1b" not in done.err


async def test_quiet_says_nothing_beside_the_answer(shell: Desk) -> None:
    done = await shell.do("run", "-q", "scripted", "say bye")
    assert (done.code, done.out, done.err) == (0, "bye\n", "")


async def test_words_are_one_prompt(shell: Desk) -> None:
    assert (await shell.do("run", "scripted", "say", "a", "b")).out == "a b\n"


async def test_a_prompt_comes_from_stdin_or_a_file(shell: Desk) -> None:
    assert (await shell.do("run", "scripted", stdin="say piped")).out == "piped\n"
    assert (await shell.do("run", "scripted", "-", stdin="say piped")).out == "piped\n"
    (shell.folder / "task.md").write_text("say from a file", encoding="utf-8")
    assert (await shell.do("run", "scripted", "-f", "task.md")).out == "from a file\n"


@pytest.mark.parametrize(
    ("script", "code", "why"),
    [
        ("fail it broke", 5, "failed: it broke (scripted_failure)"),
        ("reject not that", 5, "rejected: not that (scripted_refusal)"),
    ],
)
async def test_a_run_that_does_not_complete_exits_with_5_and_says_why(
    script: str, code: int, why: str, shell: Desk
) -> None:
    done = await shell.do("run", "-q", "scripted", script)
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") == 1
    assert done.err.endswith(why + "\n")


async def test_a_cancelled_run_exits_with_6(shell: Desk) -> None:
    done = await shell.do(
        "run", "-q", "scripted", "permission Bash {}\nsay no", "--permission-mode=ask"
    )
    run_id = done.err.split()[-5]
    assert (await shell.do("runs", "answer", run_id, "--option", "abort")).code == 0
    assert (await shell.do("runs", "tail", "-f", run_id)).code == 6


async def test_a_question_nobody_can_be_asked_exits_with_7_and_the_command_that_answers(
    shell: Desk,
) -> None:
    done = await shell.do("run", "scripted", "ask Colour? [red|blue]")
    assert (done.code, done.out) == (7, "")
    [how] = [line for line in done.err.splitlines() if "answer with: " in line]
    words = shlex.split(how.partition("a2a-gateway ")[2])
    assert (await shell.do(*words)).code == 0
    shown = await shell.do("runs", "tail", "-f", words[2])
    assert (shown.code, "Colour? …" in shown.out) == (0, True)


async def test_json_is_the_spawn_the_events_and_the_whole_run_in_lines(shell: Desk) -> None:
    done = await shell.do("run", "--json", "scripted", "say one\nsay two")
    first, *events, last = done.lines
    assert first["run_id"] == last["run_id"]
    assert [event["seq"] for event in events] == list(range(1, last["last_seq"] + 1))
    assert events[-1]["type"] == "run_completed"
    assert last["result"]["final_response"] == "two"
    assert done.err == ""


async def test_a_long_answer_is_printed_whole(shell: Desk) -> None:
    done = await shell.do("run", "-q", "scripted", stdin="say " + "long " * 100_000)
    assert (done.code, len(done.out)) == (0, 500_000)


async def test_an_answer_in_the_form_of_a_schema_is_json_on_stdout(shell: Desk) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (shell.folder / "schema.json").write_text(json.encode(schema), encoding="utf-8")
    done = await shell.do(
        "run", "-q", "--schema", "schema.json", "scripted", 'say hm\njson {"n": 7}'
    )
    assert (done.code, done.json) == (0, {"n": 7})


async def test_settings_labels_name_and_folder_reach_the_run(shell: Desk, tmp_path: Path) -> None:
    run_id = await shell.spawn(
        "settings\nhang",
        *("--cwd", str(tmp_path), "--role", "reviewer", "--name", "grace", "--model", "m-1"),
        *("--sandbox", "read-only", "--deadline", "1h", "-l", "ticket=A-1", "-l", "by=me"),
    )
    run = (await shell.do("runs", "show", run_id, "--json")).json
    assert (run["cwd"], run["role"], run["agent_name"]) == (str(tmp_path), "reviewer", "grace")
    assert run["labels"] == {"ticket": "A-1", "by": "me"}
    listed = await shell.do("runs", "list", "--label", "ticket=A-1", "--json")
    assert [one["run_id"] for one in listed.json["runs"]] == [run_id]
    for filters, found in (
        (("--since", "1h", "--role", "reviewer", "-s", "active"), [run_id]),
        (("--until", "1h"), []),
        (("--label", "ticket=A-1", "--label", "by=you"), []),
    ):
        listed = await shell.do("runs", "list", *filters, "--json")
        assert [one["run_id"] for one in listed.json["runs"]] == found
    wrong = await shell.do("runs", "list", "--since", "yesterday")
    assert (wrong.code, "give a time such as" in wrong.err) == (1, True)
    listed = await shell.do(
        "runs", "list", "--cwd", str(tmp_path), "--name", "grace", "-s", "running"
    )
    assert listed.out.split("\t")[:4] == [run_id[-8:], "grace", "running", "scripted"]
    assert (await shell.do("runs", "cancel", "grace", "--cwd", str(tmp_path))).code == 0


async def test_a_request_key_runs_once(shell: Desk) -> None:
    first = await shell.spawn("say once", "--request-key", "k-1")
    assert await shell.spawn("say once", "--request-key", "k-1") == first


async def test_a_session_goes_on(shell: Desk) -> None:
    first = (await shell.do("run", "--json", "scripted", "say one")).lines[-1]
    session = first["session_id"]
    done = await shell.do("run", "scripted", "--session", session, "recall")
    assert done.out == "one\n"
    listed = await shell.do("runs", "list", "--session", session, "--json")
    assert len(listed.json["runs"]) == 2


async def test_a_run_that_has_to_wait_says_for_what(shell: Desk) -> None:
    first = (await shell.do("run", "--json", "--quiet", "scripted", "ask A?")).lines[0]
    session, run_id = first["session_id"], first["run_id"]
    async with shell.terminal("run", "--session", session, "scripted", "say mine") as person:
        await person.until("place 1 in the queue")
        await person.until(f"after run {run_id}")
        assert (await shell.do("runs", "answer", run_id, "--text", "go")).code == 0
        await person.until("mine")
        assert await person.ended() == 0


async def test_a_run_started_by_a_run_s_agent_is_its_child(shell: Desk) -> None:
    parent = await shell.spawn("hang")
    inside = Desk(environment={**shell.environment, "A2A_GATEWAY_RUN": parent}, folder=shell.folder)
    child = await inside.spawn("say done")
    assert (await shell.do("runs", "show", child, "--json")).json["parent_run_id"] == parent
    listed = (await shell.do("runs", "list", "--parent", parent, "--json")).json["runs"]
    assert [run["run_id"] for run in listed] == [child]
    assert (await shell.do("runs", "cancel", parent)).code == 0


# -- runs ----------------------------------------------------------------------------------------


async def test_runs_are_listed_page_by_page(shell: Desk) -> None:
    ids = [await shell.spawn(f"say {n}", "-l", "page=p") for n in range(3)]
    one = await shell.do("runs", "list", "-l", "page=p", "-n", "2")
    assert [row.split("\t")[0] for row in one.out.splitlines()] == [ids[2][-8:], ids[1][-8:]]
    assert one.err == "more: --skip 2\n"
    two = await shell.do("runs", "list", "-l", "page=p", "-n", "2", "--skip", "2", "--json")
    assert [run["run_id"] for run in two.json["runs"]] == [ids[0]]
    assert two.json["has_more"] is False


async def test_an_agent_s_runs_are_listed_by_its_name(shell: Desk) -> None:
    await shell.do("run", "scripted", "say x")
    listed = (await shell.do("runs", "list", "--agent", "scripted", "--json")).json["runs"]
    assert listed
    assert {run["remote_ref"]["agent_name"] for run in listed} == {"scripted"}
    assert (await shell.do("runs", "list", "--agent", "codex")).err == "no runs\n"


async def test_a_run_goes_by_the_end_of_its_id_and_by_its_beginning_when_that_is_clear(
    shell: Desk,
) -> None:
    run_id = (await shell.do("run", "--json", "scripted", "say x")).lines[0]["run_id"]
    await shell.spawn("say y")
    for said in (run_id[-8:], run_id[-8:].upper(), run_id[:32]):
        shown = await shell.do("runs", "show", said, "--json")
        assert shown.json["run_id"] == run_id
    unclear = await shell.do("runs", "show", run_id[:5])
    assert unclear.code == 1
    assert "give more of one" in unclear.err


@pytest.mark.parametrize("said", ["nobody", "00000000", "00000000-0000-7000-8000-000000000000"])
async def test_a_run_that_is_not_there_is_one_line_and_a_next_step(said: str, shell: Desk) -> None:
    done = await shell.do("runs", "show", said)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "a2a-gateway runs list" in done.err


async def test_a_tail_starts_where_it_is_told(shell: Desk) -> None:
    run_id = (await shell.do("run", "--json", "scripted", "say one\nsay two")).lines[0]["run_id"]
    everything = (await shell.do("runs", "tail", run_id, "--json")).lines
    assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
    rest = (await shell.do("runs", "tail", run_id, "--after", "2", "--json")).lines
    assert rest == everything[2:]
    told = await shell.do("runs", "tail", run_id)
    assert len(told.out.splitlines()) == len(everything)
    assert (await shell.do("runs", "tail", run_id, "-f")).out == told.out


async def test_a_denial_has_its_reason(shell: Desk) -> None:
    run_id = await shell.asks("plan first this")
    done = await shell.do("runs", "answer", run_id, "-o", "deny", "-t", "do that first", "--json")
    assert done.json["did"] == "answered"
    told = await shell.do("runs", "tail", "-f", run_id)
    assert "plan not approved: do that first" in told.out


async def test_several_requests_are_told_apart(shell: Desk) -> None:
    run_id = await shell.asks("open ask A?\nopen ask B?\nwait\nsay done")
    done = await shell.do("runs", "answer", run_id, "--option", "x")
    assert done.code == 1
    assert "question-1, question-2" in done.err
    for request in ("question-2", "question-1"):
        done = await shell.do("runs", "answer", run_id, request, "--answers", '{"answer": "yes"}')
        assert done.code == 0, done.err
    assert "A? yes" in (await shell.do("runs", "tail", "-f", run_id)).out


async def test_several_requests_are_answered_at_once(shell: Desk) -> None:
    run_id = await shell.asks("open ask A?\nopen ask B?\nwait")
    both = [{"request_id": f"question-{n}", "answers": {"answer": str(n)}} for n in (1, 2)]
    done = await shell.do("runs", "answer", run_id, "--answers", json.encode(both))
    assert done.code == 0, done.err
    told = (await shell.do("runs", "tail", "-f", run_id)).out
    assert "A? 1" in told
    assert "B? 2" in told


async def test_an_answer_that_does_not_fit_is_refused_in_one_line(shell: Desk) -> None:
    run_id = await shell.asks("plan this")
    for arguments in (["-o", "perhaps"], ["nothing-7", "-o", "allow"], ["--answers", "[1"]):
        done = await shell.do("runs", "answer", run_id, *arguments)
        assert done.code in (1, 2), done
        assert done.err.count("\n") == 1
    nobody = await shell.do("runs", "answer", run_id)
    assert (nobody.code, "give --option" in nobody.err) == (7, True)
    await shell.do("runs", "cancel", run_id)
    done = await shell.do("runs", "answer", run_id, "-o", "allow")
    assert (done.code, "asks nothing" in done.err) == (1, True)


async def test_an_ended_run_goes_on_as_a_new_one(shell: Desk) -> None:
    first = (await shell.do("run", "--json", "scripted", "say one")).lines[0]["run_id"]
    done = await shell.do("runs", "continue", first, "recall")
    assert done.code == 0
    assert (second := done.out.strip()) != first
    assert "agent     one" in (await shell.do("runs", "tail", "-f", second)).out


async def test_a_running_run_is_told_more(shell: Desk) -> None:
    run_id = await shell.spawn("listen")
    done = await shell.do("runs", "continue", run_id, stdin="and this")
    assert (done.code, done.out.strip()) == (0, run_id)
    assert "and this" in (await shell.do("runs", "tail", "-f", run_id)).out


async def test_what_an_event_cut_is_read_whole(shell: Desk, tmp_path: Path) -> None:
    run_id = (await shell.do("run", "--json", "scripted", "big 700000")).lines[0]["run_id"]
    events = (await shell.do("runs", "tail", run_id, "--json")).lines
    [seq] = [event["seq"] for event in events if event["type"] == "agent_message"]
    shown = await shell.do("runs", "tail", run_id)
    assert f"runs artifact {run_id[-8:]} {seq} /text)" in shown.out
    whole = await shell.do("runs", "artifact", run_id, str(seq), "/text")
    assert len(whole.out) == 700_000
    file = tmp_path / "text"
    done = await shell.do("runs", "artifact", run_id, str(seq), "/text", "-o", str(file))
    assert (done.code, done.out, file.read_text("utf-8")) == (0, "", whole.out)
    nothing = tmp_path / "nothing"
    done = await shell.do("runs", "artifact", run_id, str(seq), "/no", "-o", str(nothing))
    assert (done.code, nothing.exists()) == (1, False)


async def test_a_pipe_gets_an_answer_as_it_is_and_a_tail_without_escape_sequences(
    shell: Desk,
) -> None:
    text = "\x1b]0;owned\x07 \x9b31m"
    done = await shell.do("run", "scripted", f"say {text}")
    assert done.out == text + "\n"
    assert "\x1b" not in done.err
    run_id = (await shell.do("run", "--json", "scripted", f"say {text}")).lines[0]["run_id"]
    for arguments in (["tail", run_id], ["show", run_id], ["list"], ["tail", run_id, "--json"]):
        shown = await shell.do("runs", *arguments)
        assert "\x1b" not in shown.out
        assert "\x9b" not in shown.out


async def test_a_run_is_followed_across_a_kill_of_the_gateway(environment: dict[str, str]) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    desk = Desk(environment=environment, folder=Path(environment["HOME"]))
    async with started(environment) as gateway:
        run_id = await desk.spawn("say begun\nlisten\nsay over")
        async with desk.terminal("runs", "tail", "-f", run_id) as person:
            await person.until("begun")
            await gateway.stop(signal.SIGKILL)
            async with started(environment) as again:
                assert (await desk.do("runs", "continue", run_id, "go on")).code == 0
                await person.until("over")
                assert await person.ended() == 0
                await again.stop()
    assert person.everything.count("begun") == 1


# -- the gateway ---------------------------------------------------------------------------------


async def test_commands_start_without_the_server_and_its_libraries() -> None:
    """`--help` takes 0.13 s and `status` no more; the server alone would add 0.8 s, MCP 1.5 s."""
    code = "import sys, gateway.cli.main; print(*sys.modules)"
    process = await anyio.run_process([sys.executable, "-P", "-c", code])
    loaded = {name.partition(".")[0] for name in process.stdout.decode().split()}
    assert "typer" in loaded
    heavy = {"a2a", "httpx", "mcp", "pydantic", "questionary", "rich", "sqlalchemy", "uvicorn"}
    assert loaded & heavy == set()


async def test_a_command_starts_the_gateway_unless_it_must_not(environment: dict[str, str]) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    home = environment.pop("A2A_GATEWAY_HOME")
    desk = Desk(environment=environment, folder=Path(home))
    refused = await desk.do("runs", "list", "--no-start", "--home", home)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "a2a-gateway serve" in refused.err
    done = await desk.do("run", "scripted", "say here", "--home", home)
    assert (done.code, done.out) == (0, "here\n")
    status = await desk.do("status", "--json", "--home", home)
    assert status.json["answers"] is True
    assert (await desk.do("stop", "--home", home)).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "scripted"],
        ["run", "scripted", "x", "--file", "y"],
        ["run", "scripted", "x", "--deadline", "soon"],
        ["run", "scripted", "x", "-l", "no pair"],
        ["run", "scripted", "x", "--schema", "/does/not/exist"],
        ["runs", "show"],
        ["runs", "explode"],
        ["runs", "artifact", "x", "0", "/a"],
        ["agents", "add", "x", "http://x", "--token", "hunter2"],
    ],
)
async def test_wrong_usage_exits_with_2_and_does_nothing(
    arguments: list[str], environment: dict[str, str]
) -> None:
    desk = Desk(environment=environment, folder=Path(environment["HOME"]))
    done = await desk.do(*arguments)
    assert done.code == 2, done
    assert not (await desk.do("status")).out.startswith("a2a-gateway")


async def test_a_home_that_cannot_be_made_is_one_line(shell: Desk) -> None:
    done = await shell.do("runs", "list", "--home", "/proc/nothing")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "--home" in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
async def test_an_answer_that_cannot_be_written_is_one_line(shell: Desk) -> None:
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - a device
        process = await anyio.run_process(
            [*COMMAND, "run", "-q", "scripted", "say x"],
            stdout=full,
            env=shell.environment,
            check=False,
        )
    assert (process.returncode, process.stderr.count(b"\n")) == (1, 1)
    assert b"stdout cannot be written" in process.stderr


async def test_an_unknown_agent_is_one_line_with_the_known_ones(shell: Desk) -> None:
    done = await shell.do("run", "nobody", "say x")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "scripted" in done.err


async def test_the_exit_codes_stand_in_the_help(shell: Desk) -> None:
    for command in (["--help"], ["run", "--help"], ["runs", "--help"]):
        said = " ".join((await shell.do(*command)).out.split())
        assert "7 the run waits for an answer" in said


async def test_shells_complete_ids_names_and_agents(shell: Desk) -> None:
    run_id = await shell.spawn("say x", "--name", "completed")
    environment = {
        **shell.environment,
        "_A2A_GATEWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": "a2a-gateway runs show comp",
        "COMP_CWORD": "3",
    }
    named = await Desk(environment=environment, folder=shell.folder).do()
    assert named.out.split() == ["completed"]
    environment["COMP_WORDS"] = f"a2a-gateway runs show {run_id[-8:][:5]}"
    found = await Desk(environment=environment, folder=shell.folder).do()
    assert run_id[-8:] in found.out.split()
    environment |= {"COMP_WORDS": "a2a-gateway run co", "COMP_CWORD": "2"}
    agents = await Desk(environment=environment, folder=shell.folder).do()
    assert agents.out.split() == ["codex"]


async def test_doctor_says_of_each_thing_how_it_is(shell: Desk) -> None:
    done = await shell.do("doctor", "--json")
    found = {(one["name"], one["verdict"]) for one in done.json["findings"]}
    for name in ("home", "disk", "database", "gateway", "version", "mcp"):
        assert (name, "ok") in found
    failed = any(verdict == "fail" for _, verdict in found)
    assert (done.code, done.json["ok"]) == (int(failed), not failed)
    told = await shell.do("doctor")
    assert {line.split()[0] for line in told.out.splitlines()[:-2]} <= {"ok", "warn", "fail"}
