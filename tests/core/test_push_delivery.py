"""Deliveries to webhooks over real sockets: order, repetition, restart, giving up."""

import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
import sqlalchemy as sa
from starlette.responses import Response

from gateway.core.addresses import Screen
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.push.delivery import Patience
from gateway.core.push.lanes import ALL, ONE_HOST
from gateway.core.record import Run
from gateway.core.store.outbox import PushConfig
from gateway.core.store.schema import events, runs
from tests.core.puppet import Puppet, Stage, stage
from tests.core.receiver import receiver

QUICK = Patience(first_s=0.001, longest_s=0.002)
DONE = "TASK_STATE_COMPLETED"


@asynccontextmanager
async def posting(folder: Path, patience: Patience = QUICK) -> AsyncGenerator[Stage]:
    async with stage(folder, screen=Screen(loopback=True), patience=patience) as on:
        yield on


async def watch(on: Stage, run: Run, url: str, **more: Any) -> PushConfig:
    """A config that is told everything from the first event on."""
    config = PushConfig(
        run_id=run.id, id="hook", url=url, created_at=run.created_at, next_at=run.created_at, **more
    )
    return await on.tasks.log.outbox.put(config)


async def due(on: Stage) -> list[PushConfig]:
    return await on.tasks.log.outbox.due("", ("", ""), 100)


async def none_due(on: Stage, run: Run) -> PushConfig:
    """The config, once nothing is left to be sent to it."""
    with anyio.fail_after(5):
        while await due(on):
            await anyio.lowlevel.checkpoint()
    found = await on.tasks.log.outbox.get(run.id, "hook")
    assert found is not None
    return found


async def say(puppet: Puppet, *texts: str) -> None:
    for text in texts:
        await puppet.say(AgentMessage(text=text))


async def test_a_webhook_gets_every_event_that_a_plain_client_gets_in_order(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        texts = [f"line {number}" for number in range(50)]
        await say(puppet, *texts)
        await puppet.end(RunCompleted(final_response="all"))
        got = await hook.until(DONE)
        assert [one.text for one in got[1:-2]] == texts
        assert got[0].state == "TASK_STATE_WORKING"
        assert got[-2].item["artifactUpdate"]["artifact"]["parts"] == [{"text": "all"}]
        assert {one.headers["content-type"] for one in got} == {"application/a2a+json"}
        assert "metadata" not in got[0].item["statusUpdate"]
        assert (await none_due(on, run)).sent_seq == (await on.get(run)).last_seq


async def test_an_event_is_repeated_until_it_is_taken_and_none_goes_before_it(
    tmp_path: Path,
) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        hook.answer_with(500, 503, 404, 302, 408)
        hook.answers.append(Response(status_code=429, headers={"Retry-After": "0"}))
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        await say(puppet, "one", "two")
        await puppet.end(RunCompleted())
        got = await hook.until(DONE)
        assert [one.text for one in got] == [""] * 7 + ["one", "two", ""]
        assert len({one.headers["webhook-id"] for one in got[:7]}) == 1
        assert len({one.headers["webhook-id"] for one in got}) == 4
        config = await none_due(on, run)
        assert (config.attempts, config.last_error) == (0, None)


async def test_a_delivery_goes_on_after_a_restart_where_it_ended(tmp_path: Path) -> None:
    async with receiver() as hook:
        async with posting(tmp_path) as on:
            run, puppet = await on.begin()
            await watch(on, run, hook.url)
            await say(puppet, "one")
            await hook.count(2)
            with anyio.fail_after(5):
                while (await due(on))[0].sent_seq < 2:
                    await anyio.lowlevel.checkpoint()
            hook.answers += [Response(status_code=503)] * 1000
            await say(puppet, "two")
            await puppet.end(RunCompleted())
            await hook.count(3)
        first = len(hook.got)
        hook.answers.clear()
        async with posting(tmp_path) as on:
            got = (await hook.until(DONE))[first:]
            assert [one.text for one in got] == ["two", ""]
            await none_due(on, run)


async def test_a_webhook_that_does_not_answer_delays_no_event(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook, receiver() as other:
        hook.open = anyio.Event()
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        await hook.count(1)
        second, partner = await on.begin()
        await watch(on, second, other.url)
        await say(puppet, *(f"line {number}" for number in range(100)))
        await puppet.end(RunCompleted())
        assert (await on.get(run)).terminal
        await partner.end(RunCompleted())
        await other.until(DONE)
        assert len(hook.got) == 1
        hook.open.set()
        assert len(await hook.until(DONE)) == 102


async def test_a_host_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook, receiver() as other:
        hook.open = anyio.Event()
        for _ in range(ALL + 1):
            run, _puppet = await on.begin()
            await watch(on, run, hook.url)
        await hook.count(ONE_HOST)
        run, puppet = await on.begin()
        await watch(on, run, other.url)
        await puppet.end(RunCompleted())
        await other.until(DONE)
        assert len(hook.got) == ONE_HOST
        hook.open.set()
        await hook.count(ALL + 1)


async def test_a_deleted_config_is_sent_nothing_more(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook, receiver() as other:
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        await hook.count(1)
        await on.tasks.log.outbox.drop(run.id, "hook")
        await watch(on, run, other.url)
        await puppet.end(RunCompleted())
        await other.until(DONE)
        assert len(hook.got) == 1


async def test_a_replaced_config_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    async with posting(tmp_path, Patience(first_s=3600)) as on, receiver() as hook:
        hook.answer_with(200, 500)
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        await hook.count(1)
        await say(puppet, "one")
        await hook.count(2)
        config = PushConfig(
            run_id=run.id, id="hook", url=f"{hook.base_url}/new", created_at=7, next_at=7
        )
        await on.tasks.log.outbox.put(config)
        await puppet.end(RunCompleted())
        got = await hook.until(DONE)
        assert [one.path for one in got] == ["/hook", "/hook", "/new", "/new"]
        assert [one.text for one in got[1:]] == ["one", "one", ""]


async def test_a_webhook_that_fails_for_too_long_is_given_up(tmp_path: Path) -> None:
    async with posting(tmp_path, Patience(first_s=0.001, attempts=3)) as on, receiver() as hook:
        hook.answer_with(*[500] * 9)
        run, puppet = await on.begin()
        await watch(on, run, hook.url)
        config = await none_due(on, run)
        assert config.last_error == "given up after 3 attempts: it answered 500"
        await puppet.end(RunCompleted())
        assert len(hook.got) == 3


async def test_a_webhook_that_is_gone_loses_its_config(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        hook.answer_with(410)
        run, _puppet = await on.begin()
        await watch(on, run, hook.url)
        await hook.count(1)
        with anyio.fail_after(5):
            while await on.tasks.log.outbox.get(run.id, "hook") is not None:
                await anyio.lowlevel.checkpoint()
        assert await due(on) == []


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with (
        posting(tmp_path, Patience(attempts=1)) as on,
        receiver() as hook,
        receiver() as lair,
    ):
        hook.answers.append(Response(status_code=307, headers={"Location": lair.url}))
        run, _puppet = await on.begin()
        await watch(on, run, hook.url)
        assert (await none_due(on, run)).last_error is not None
        assert lair.got == []


async def test_a_config_carries_a_bearer_and_a_token(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        run, _puppet = await on.begin()
        await watch(on, run, hook.url, token="mine", scheme="Bearer", credentials="tell-nobody")
        headers = (await hook.count(1))[0].headers
        assert headers["authorization"] == "Bearer tell-nobody"
        assert headers["x-a2a-notification-token"] == "mine"
        assert headers["a2a-notification-token"] == "mine"
        assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("credentials", "key"),
    [
        ("a secret of mine", b"a secret of mine"),
        ("whsec_" + base64.b64encode(b"\x00\xff bytes").decode(), b"\x00\xff bytes"),
    ],
)
async def test_a_signing_config_signs_each_body_and_never_sends_its_key(
    tmp_path: Path, credentials: str, key: bytes
) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        run, _puppet = await on.begin()
        await watch(on, run, hook.url, scheme="HMAC-SHA256", credentials=credentials)
        (got,) = await hook.count(1)
        about = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode()
        digest = hmac.new(key, about + got.body, hashlib.sha256).digest()
        assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert "authorization" not in got.headers
        assert credentials not in str(got.headers)


async def test_no_secret_and_no_url_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {"token": "canary-token", "scheme": "Bearer", "credentials": "canary-credentials"}
    async with posting(tmp_path, Patience(first_s=0.001, attempts=2)) as on, receiver() as hook:
        hook.answer_with(500, 500)
        run, _puppet = await on.begin()
        config = await watch(on, run, f"{hook.url}?key=canary-key", **secrets)
        await none_due(on, run)
        assert "given up" in caplog.text
        assert "canary" not in caplog.text
        assert "canary-c" not in repr(config)
        assert "canary-token" not in repr(config)


async def test_a_name_that_changes_its_address_is_never_connected_to(tmp_path: Path) -> None:
    """DNS rebinding: public when the config is checked, this machine when it is used."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]

    async def flipping(host: str, port: int) -> list[str]:
        del host, port
        return answers.pop(0)

    screen = Screen(loopback=True, resolver=flipping)
    async with stage(tmp_path, screen=screen, patience=QUICK) as on, receiver() as hook:
        url = hook.url.replace("127.0.0.1", "rebound.example")
        await on.tasks.screen.check(url)
        run, _puppet = await on.begin()
        await watch(on, run, url)
        assert "not public" in str((await none_due(on, run)).last_error)
        assert hook.got == []
        assert answers == []


async def test_the_next_address_is_tried_when_one_does_not_answer(tmp_path: Path) -> None:
    """`localhost` means ::1 first on many machines, and the receiver listens on 127.0.0.1 alone."""

    async def both(host: str, port: int) -> list[str]:
        del host, port
        return ["::1", "127.0.0.1"]

    screen = Screen(loopback=True, resolver=both)
    async with stage(tmp_path, screen=screen, patience=QUICK) as on, receiver() as hook:
        run, _puppet = await on.begin()
        await watch(on, run, hook.url.replace("127.0.0.1", "localhost"))
        (got,) = await hook.count(1)
        assert got.headers["host"].startswith("localhost:")


async def test_an_answer_that_breaks_off_behind_its_status_is_an_answer(tmp_path: Path) -> None:
    """A receiver that answered 200 and closed too early was sent every event twice."""
    posts: list[bytes] = []
    two = anyio.Event()

    async def careless(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            posts.append(head)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            if len(posts) == 2:
                two.set()

    async with (
        posting(tmp_path) as on,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, careless)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        run, puppet = await on.begin()
        await watch(on, run, f"http://127.0.0.1:{port}/")
        await puppet.end(RunCompleted())
        with anyio.fail_after(5):
            await two.wait()
        await none_due(on, run)
        group.cancel_scope.cancel()
        assert len(posts) == 2


async def test_an_ended_run_that_was_delivered_leaves_nothing_due(tmp_path: Path) -> None:
    async with posting(tmp_path) as on, receiver() as hook:
        run, puppet = await on.begin()
        await puppet.end(RunCompleted())
        last = (await on.get(run)).last_seq
        await watch(on, run, hook.url, sent_seq=last)
        assert (await none_due(on, run)).sent_seq == last
        assert hook.got == []


@pytest.mark.parametrize(("sent", "told"), [(2, ["two", ""]), (1, [])])
async def test_events_that_are_no_longer_kept_are_not_passed_over(
    tmp_path: Path, sent: int, told: list[str]
) -> None:
    """The first of them that a webhook lacks ends its delivery; one it had already does not."""
    async with posting(tmp_path) as on:
        run, puppet = await on.begin()
        await say(puppet, "one", "two")
        await puppet.end(RunCompleted())

    def forget_two(connection: sa.Connection) -> None:
        connection.execute(sa.delete(events).where(events.c.seq <= 2))
        connection.execute(sa.update(runs).values(first_seq=3))

    async with posting(tmp_path) as on, receiver() as hook:
        await on.tasks.log._engine.write(forget_two)  # pyright: ignore[reportPrivateUsage]
        await watch(on, run, hook.url, sent_seq=sent)
        config = await none_due(on, run)
        assert [one.text for one in hook.got] == told
        assert (config.last_error is None) == bool(told)


def test_delays_double_to_a_ceiling_and_end_after_about_a_day() -> None:
    patience = Patience()
    delays = [patience.delay_s(attempt, None, 0.5) for attempt in range(1, 154)]
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert delays[-2:] == [600.0, None]
    assert 23 * 3600 < sum(delay or 0 for delay in delays) < 25 * 3600
    assert patience.delay_s(1, 120.0, 0.5) == 120.0
    assert patience.delay_s(1, 1e9, 0.5) == 3600.0
    assert {patience.delay_s(1, None, jitter) for jitter in (0.0, 1.0)} == {0.75, 1.25}
