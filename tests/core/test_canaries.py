"""A secret in every place it can come from is nowhere afterwards: not on disk, in no log, no answer."""

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.core.characters import CHUNK_BYTES
from gateway.core.errors import SecretLostError
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    CommandStarted,
    RunCompleted,
    RunFailed,
    ToolStarted,
)
from gateway.core.extension import CodingRequest, Profile
from gateway.core.logs import mask_logs
from gateway.core.messages import Message, TextPart
from gateway.core.record import Run
from gateway.core.secrets import MASKED, Mask
from gateway.core.store.listing import RunQuery
from tests.core.faces import headers, params, puppet_theatre
from tests.core.puppet import ME, Puppet, Stage, stage

REGISTERED = "zQ7-a-token-of-this-process-only"
TELLING = "sk-proj-Canary0123456789abcdef"


def _asked(canary: str) -> dict[str, Any]:
    """A first message with the canary in its text, its metadata, its profile, the run's metadata."""
    return {
        "message": Message(
            message_id="m1",
            role="user",
            parts=(TextPart(text=f"deploy with {canary} please"),),
            metadata={"headers": {"Authorization": f"Bearer {canary}"}},
        ),
        "request": CodingRequest(profile=Profile(source="p.md", text=f"Your key is {canary}.")),
        "metadata": {"backend_config": {"auth_token": canary, "url": f"https://h/?k={canary}"}},
    }


async def _say_it_everywhere(puppet: Puppet, canary: str) -> None:
    await puppet.say(
        AgentMessage(text=f"you said: deploy with {canary} please"),
        ToolStarted(tool="fetch", extra={"input": {"url": f"https://h/x?token={canary}&page=2"}}),
        CommandStarted(command=f"curl -H 'X-Api-Key: {canary}' https://u:{canary}@h"),
        CommandFinished(command="env", output=f"PATH=/bin\nMY_TOKEN={canary}\nHOME=/x\n"),
        ArtifactAdded(artifact_id="a", parts=[{"text": canary}, {"data": {canary: [canary]}}]),
    )


async def _said(on: Stage, run: Run) -> str:
    """Everything a caller can be told of a run: its record, its list, its events, their payloads."""
    run = await on.get(run)
    told = [repr(run), repr(await on.tasks.list_runs(ME, RunQuery()))]
    page = await on.tasks.events(ME, run.id, limit=1000)
    for event in page.events:
        told += [event.data, repr(await on.tasks.whole(run, event))]
    return "\n".join(told)


def _stored(folder: Path) -> bytes:
    """The database and its write-ahead log."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("canary", [REGISTERED, TELLING])
async def test_a_secret_is_stored_and_told_nowhere(
    tmp_path: Path, canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    mask = Mask([REGISTERED])
    async with stage(tmp_path, mask=mask) as on:
        sent = await on.tasks.send(principal=ME, agent="puppet", **_asked(canary))
        puppet = on.puppets[sent.run.id]
        await puppet.started.wait()
        await _say_it_everywhere(puppet, canary)
        await puppet.ask(f"r-{canary}")
        await on.send(f"not with {canary}", run_id=sent.run.id)
        await on.send(f"and then {canary}", run_id=sent.run.id)
        told = [repr(sent), await _said(on, sent.run)]
        assert puppet.heard[-1] == ("steer", f"and then {canary}")  # the agent hears all of it
        await puppet.end(RunFailed(message=f"401 from https://h/?key={canary}: {canary}"))
        told.append(await _said(on, sent.run))
        assert canary.encode() not in _stored(tmp_path)
    assert MASKED in told[0]
    assert not any(canary in text for text in told)
    assert canary.encode() not in _stored(tmp_path)
    assert canary not in caplog.text


@pytest.mark.parametrize("canary", [REGISTERED, TELLING])
async def test_a_secret_across_the_edge_of_a_chunk_is_masked_at_every_offset(
    tmp_path: Path, canary: str
) -> None:
    async with stage(tmp_path, mask=Mask([REGISTERED])) as on:
        run, puppet = await on.begin()
        for offset in range(len(canary) + 1):
            before = "x" * (CHUNK_BYTES - offset - 1) + " "
            await puppet.say(CommandFinished(command="c", output=f"{before}{canary} {before}"))
        await puppet.end(RunCompleted(final_response="done"))
        assert canary not in await _said(on, run)
    assert canary.encode() not in _stored(tmp_path)


async def test_a_driver_that_fails_with_a_secret_logs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(lines)])
    mask_logs(Mask([REGISTERED]))
    async with stage(tmp_path, mask=Mask([REGISTERED])) as on:
        run, puppet = await on.begin()
        puppet.fail(RuntimeError(f"refused at https://me:{REGISTERED}@h/"))
        ended = await on.tasks.settled(ME, run.id)
        assert ended.error is not None
        assert ended.error.reason == "driver_error"
        assert REGISTERED not in await _said(on, run)
    assert "RuntimeError" in lines.getvalue()
    assert REGISTERED not in lines.getvalue()


async def test_the_agent_gets_what_the_caller_wrote(tmp_path: Path) -> None:
    async with stage(tmp_path, mask=Mask([REGISTERED])) as on:
        asked = _asked(REGISTERED)
        sent = await on.tasks.send(principal=ME, agent="puppet", **asked)
        puppet = on.puppets[sent.run.id]
        await puppet.started.wait()
        assert puppet.writer.given.message == asked["message"]
        assert puppet.writer.given.request.profile == asked["request"].profile
        assert MASKED in puppet.writer.run.message.text


async def test_after_a_restart_no_agent_gets_a_prompt_with_holes(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True, mask=Mask([REGISTERED])) as on:
        secret = await on.tasks.send(principal=ME, agent="puppet", **_asked(REGISTERED))
        plain = await on.send(f"what does {MASKED} mean?")
    async with stage(tmp_path, upstream=True, mask=Mask([REGISTERED])) as on:
        for sent in (secret, plain):
            await on.puppets[sent.run.id].started.wait()
        with pytest.raises(SecretLostError, match=secret.run.id):
            _ = on.puppets[secret.run.id].writer.given
        given = on.puppets[plain.run.id].writer.given
        assert given.message.text == f"what does {MASKED} mean?"


async def test_what_a_run_was_given_is_forgotten_with_its_end(tmp_path: Path) -> None:
    async with stage(tmp_path, mask=Mask([REGISTERED])) as on:
        sent = await on.send(REGISTERED)
        puppet = on.puppets[sent.run.id]
        await puppet.started.wait()
        await puppet.end(RunCompleted(final_response="done"))
        with pytest.raises(SecretLostError):
            on.tasks.log.masking.given(await on.get(sent.run))


async def test_a_summary_and_a_result_are_masked_as_their_event_is(tmp_path: Path) -> None:
    async with stage(tmp_path, mask=Mask([REGISTERED])) as on:
        run, puppet = await on.begin()
        await puppet.end(RunCompleted(final_response=f"set {REGISTERED}"))
        ended = await on.get(run)
        assert ended.summary == f"set {MASKED}"
        assert ended.result is not None
        assert ended.result.final_response == f"set {MASKED}"


async def test_no_reader_of_the_face_is_told_a_secret(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage"}
        body |= {"params": params(f"deploy with {TELLING}")}
        request = on.http.build_request(
            "POST", "/a2a/jsonrpc", json=body, headers=headers(extended=True)
        )
        response = await on.http.send(request, stream=True)
        puppet = await puppets.next()
        await _say_it_everywhere(puppet, TELLING)
        await puppet.end(RunCompleted(final_response=f"deployed with {TELLING}"))
        told = (await response.aread()).decode()
        task = await on.rpc("GetTask", {"id": puppet.run.id, "historyLength": 50})
        listed = await on.rpc("ListTasks", {"includeArtifacts": True})
    assert "deployed with" in told
    for answer in (told, repr(task), repr(listed)):
        assert MASKED in answer
        assert TELLING not in answer
