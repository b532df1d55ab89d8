"""Agents as their peers see them: pages, names, folders, principals; on both engines."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gateway.core.errors import InvalidInputError, RequestConflictError
from gateway.core.events import InputRequired, RunStarted
from gateway.core.extension import CodingRequest
from gateway.core.messages import user_text
from gateway.core.peers import Note, Peers
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store import agents as agents_module
from gateway.core.store.agents import Agent, AgentQuery
from gateway.core.store.listing import RunQuery
from gateway.core.store.log import RunLog
from tests.bench.bigstore import PRINCIPAL, fill
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import DONE, RUN, a_session, a_writer

ME = RUN.principal


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


class Village:
    """A log, its peers, and agents to be made in it."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.peers = Peers(log, self._find, clock=lambda: 7)
        self._clock = count(1)

    async def _find(self, principal: str, run_id: str) -> Run | None:
        run = await self.log.get(run_id)
        return run if run is not None and run.principal == principal else None

    async def run(
        self, session: str, *, cwd: str = "/w", name: str | None = None, principal: str = ME
    ) -> Run:
        """A queued run of this session."""
        at = next(self._clock)
        made = replace(
            RUN,
            id=f"r{at}",
            context_id=session,
            principal=principal,
            nickname=name,
            request=CodingRequest(cwd=cwd, role="worker"),
            created_at=at,
            updated_at=at,
        )
        home = a_session(session, cwd=cwd, nickname=name, principal=principal)
        return await self.log.create(made, home, None, name=name is not None)

    async def go(self, run: Run, *, to: RunStatus) -> None:
        writer = a_writer(self.log, run)
        asks = InputRequired(
            text="?", pending=[{"request_id": "q", "kind": "question", "text": "?"}]
        )
        said = {RunStatus.RUNNING: (), RunStatus.COMPLETED: (DONE,)}.get(to, (asks,))
        await writer.emit(RunStarted(), *said)
        await writer.flush()

    async def listed(self, principal: str = ME, **query: object) -> list[Agent]:
        """All pages, and no agent twice."""
        asked = AgentQuery(**query)  # pyright: ignore[reportArgumentType]
        found: list[Agent] = []
        while True:
            page = await self.peers.page(principal, asked)
            assert len(page.agents) <= asked.limit
            found += page.agents
            if page.next_cursor is None:
                assert len({agent.session_id for agent in found}) == len(found)
                return found
            asked = replace(asked, cursor=page.next_cursor)

    async def names(self, principal: str = ME, **query: object) -> list[str]:
        return [agent.name for agent in await self.listed(principal, **query)]

    async def write(self, to: str, text: str = "hello", **more: object) -> tuple[int, str, str]:
        note = Note(to=to, message=user_text("", text))
        changes: dict[str, object] = {**more}
        note = replace(note, **changes)  # pyright: ignore[reportArgumentType]
        letter, session = await self.peers.send(ME, note)
        return letter.seq, session.id, letter.from_name or "-"


@asynccontextmanager
async def village(database: Database) -> AsyncGenerator[Village]:
    log = await database.log()
    try:
        yield Village(log)
    finally:
        await log.close()


# -- the list --------------------------------------------------------------------------------------


@pytest.mark.promise("agents.list")
async def test_an_agent_is_listed_once_with_its_current_run(database: Database) -> None:
    async with village(database) as made:
        first = await made.run("s", name="ann")
        await made.go(first, to=RunStatus.COMPLETED)
        second = await made.run("s", name="ann")
        await made.go(second, to=RunStatus.INPUT_REQUIRED)
        await made.run("s", name="ann")  # waits for its turn
        await made.go(await made.run("t"), to=RunStatus.COMPLETED)
        nameless, ann = await made.listed()
        assert (ann.name, ann.session_id, ann.status) == ("ann", "s", "input_required")
        assert (ann.last_run_id, ann.role, ann.cwd) == (second.id, "worker", "/w")
        assert (nameless.name, nameless.status) == ("t", "completed")
        third = await made.run("t")
        assert (await made.listed())[0].last_run_id == third.id


async def test_filters_look_at_the_current_run(database: Database) -> None:
    async with village(database) as made:
        for name, status in (("ann", RunStatus.COMPLETED), ("bob", RunStatus.RUNNING)):
            await made.go(await made.run(name, name=name), to=RunStatus.COMPLETED)
            await made.go(await made.run(name, name=name), to=status)
        await made.run("cy", name="cy", cwd="/x")
        await made.run("eve", name="eve", principal="other")
        assert await made.names() == ["cy", "bob", "ann"]
        assert await made.names(status=RunStatus.COMPLETED) == ["ann"]
        assert await made.names(status=RunStatus.RUNNING) == ["bob"]
        assert await made.names(status=RunStatus.FAILED) == []
        assert await made.names(idle=True) == ["ann"]
        assert await made.names(cwd="/x") == ["cy"]
        assert await made.names(cwd="/w", status=RunStatus.QUEUED) == []
        assert await made.names(backend="a", limit=1) == ["cy", "bob", "ann"]
        assert await made.names(backend="b") == []
        assert await made.names("other") == ["eve"]


@pytest.mark.parametrize("step", [1, 3, 250])
async def test_pages_show_each_agent_once_however_many_runs_they_have(
    database: Database, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(agents_module, "STEP", step)
    async with village(database) as made:
        for n in range(30):
            await made.run(f"s{n % 7}", name=f"n{n % 7}")
        expected = [f"n{n % 7}" for n in range(29, 22, -1)]
        for limit in (1, 2, 7, 50):
            assert await made.names(limit=limit) == expected


async def test_a_session_of_very_many_runs_holds_a_page_up_but_hides_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents_module, "STEP", 2)
    monkeypatch.setattr(agents_module, "ROUNDS", 3)
    async with village(database) as made:
        await made.run("old", name="old")
        for _ in range(20):
            await made.run("busy", name="busy")
        page = await made.peers.page(ME, AgentQuery())
        assert [agent.name for agent in page.agents] == ["busy"]
        assert page.next_cursor is not None
        assert await made.names() == ["busy", "old"]


async def test_a_cursor_of_another_list_is_refused(database: Database) -> None:
    async with village(database) as made:
        for n in range(3):
            await made.run(f"s{n}")
        cursor = (await made.peers.page(ME, AgentQuery(limit=1))).next_cursor
        for query in (
            AgentQuery(cwd="/w", cursor=cursor),
            AgentQuery(idle=True, cursor=cursor),
            AgentQuery(cursor="!"),
            AgentQuery(cursor="\0"),
        ):
            with pytest.raises(InvalidInputError, match="cursor"):
                await made.peers.page(ME, query)
        with pytest.raises(InvalidInputError, match="cwd holds a NUL"):
            await made.peers.page(ME, AgentQuery(cwd="\0"))


async def test_the_list_agrees_with_that_of_runs_in_a_store_of_many(database: Database) -> None:
    await fill(database.place, runs=700, events=2000, active=10)
    async with village(database) as made:
        runs: list[Run] = []
        query = RunQuery(limit=200)
        while True:
            page = await made.log.list_runs(PRINCIPAL, query)
            runs += page.runs
            if page.next_cursor is None:
                break
            query = replace(query, cursor=page.next_cursor)
        listed = await made.listed(PRINCIPAL, limit=200)
        assert [agent.last_run_id for agent in listed] == [run.id for run in runs]
        idle = await made.listed(PRINCIPAL, limit=200, idle=True)
        assert [agent.last_run_id for agent in idle] == [run.id for run in runs if run.terminal]


# -- names and folders -----------------------------------------------------------------------------


async def test_a_name_means_its_session_in_its_folder(database: Database) -> None:
    async with village(database) as made:
        await made.run("s", name="ann")
        await made.run("s", name="ann")
        await made.run("t", name="ann", cwd="/x")
        await made.run("u", name="bob")
        await made.run("v")
        await made.run("w", name="eve", principal="other")
        assert (await made.peers.named(ME, "ann", "/w")).id == "s"
        assert (await made.peers.named(ME, "ann", "/x")).id == "t"
        assert (await made.peers.named(ME, "bob")).id == "u"
        assert (await made.peers.named(ME, "v")).id == "v"  # nobody named it
        for name, cwd, said in (
            ("ann", None, "agent_name is ambiguous across multiple cwd values: ann; give cwd"),
            ("zoe", None, "Unknown agent_name: zoe; list_agents shows the names"),
            ("bob", "/x", "Unknown agent_name in cwd /x: bob; list_agents shows the names"),
            ("v", "/x", "Unknown agent_name in cwd /x: v; list_agents shows the names"),
            ("eve", None, "Unknown agent_name: eve; list_agents shows the names"),
            ("w", None, "Unknown agent_name: w; list_agents shows the names"),
            ("a\0", None, "agent_name holds a NUL character"),
        ):
            with pytest.raises(InvalidInputError) as refused:
                await made.peers.named(ME, name, cwd)
            assert str(refused.value) == said


@pytest.mark.promise("mail.folder")
async def test_agents_write_to_agents_of_their_own_folder_alone(database: Database) -> None:
    async with village(database) as made:
        ann = await made.run("s", name="ann")
        await made.run("t", name="bob")
        await made.run("u", name="bob", cwd="/x")
        await made.run("v", name="cy", cwd="/x")
        # The sender's folder tells the two of one name apart.
        assert await made.write("bob", sender="ann") == (1, "t", "ann")
        assert await made.write("bob", within=ann.id) == (2, "t", "ann")
        assert await made.write("bob", cwd="/x") == (1, "u", "-")
        assert await made.write("cy") == (1, "v", "-")
        across = "Cross-cwd agent messaging is not supported: /w -> /x; list_agents with your cwd"
        for more in ({"within": ann.id, "cwd": "/x"}, {"within": ann.id}, {"sender": "ann"}):
            with pytest.raises(InvalidInputError, match=across):
                await made.write("cy", **more)
        with pytest.raises(InvalidInputError, match="Unknown agent_name in cwd /x: ann"):
            await made.write("cy", sender="ann", cwd="/x")
        with pytest.raises(InvalidInputError, match="Unknown agent_name in cwd /w: zoe"):
            await made.write("zoe", sender="ann")


async def test_a_run_that_nobody_knows_sends_as_nobody(database: Database) -> None:
    async with village(database) as made:
        await made.run("s", name="ann")
        eve = await made.run("t", name="eve", principal="other")
        assert await made.write("ann", within="gone") == (1, "s", "-")
        assert await made.write("ann", within=eve.id) == (2, "s", "-")
        with pytest.raises(InvalidInputError, match="Unknown agent_name: eve"):
            await made.write("eve")
        session = await made.peers.named("other", "eve")
        with pytest.raises(InvalidInputError, match="Unknown agent_name: eve"):
            await made.peers.fetch(ME, session)


async def test_secrets_are_masked_and_large_messages_refused(database: Database) -> None:
    async with village(database) as made:
        await made.run("s", name="ann")
        made.log.masking.mask.add("sesame-open-42")
        await made.write("ann", "say sesame-open-42", metadata={"password": "p4ssw0rd!"})
        session = await made.peers.named(ME, "ann")
        [letter] = (await made.peers.fetch(ME, session)).letters
        assert "sesame" not in letter.content()
        assert "p4ssw0rd" not in letter.content()
        await made.write("ann", "x" * 65_000)
        with pytest.raises(InvalidInputError, match=r"has 66\d\d\d bytes and may have 65536; put"):
            await made.write("ann", "é" * 33_000)
        assert len((await made.peers.fetch(ME, session)).letters) == 2


async def test_a_key_is_for_one_message(database: Database) -> None:
    async with village(database) as made:
        await made.run("s", name="ann")
        assert await made.write("ann", request_key="k") == (1, "s", "-")
        assert await made.write("ann", request_key="k") == (1, "s", "-")
        with pytest.raises(RequestConflictError):
            await made.write("ann", "other", request_key="k")
