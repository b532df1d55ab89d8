"""When a wrapper counts as needed, and what it does when it does not."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from wrappers.serving.ending import Ending
from wrappers.serving.idle import IDLE, Activity, Idle, Member

PATIENCE_S = 20.0


class App:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.go_on.wait()
        await PlainTextResponse("done")(scope, receive, send)


def client(app: Callable[..., Awaitable[Any]]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://a")


async def test_an_open_request_keeps_it_and_a_public_one_does_not() -> None:
    app = App()
    activity = Activity(app)
    async with client(activity) as http, anyio.create_task_group() as group:
        for path, counts in (("/healthz", False), ("/status", True)):
            app.asked, app.go_on = anyio.Event(), anyio.Event()
            group.start_soon(http.get, path)
            await app.asked.wait()
            assert (activity.idle_s == 0.0) is counts, path
            app.go_on.set()


async def test_once_shut_nothing_reaches_the_app() -> None:
    app = App()
    activity = Activity(app)
    activity.shut()
    async with client(activity) as http:
        for path in ("/a2a/jsonrpc", "/healthz", "/.well-known/agent-card.json"):
            answer = await http.post(path)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "server_stopping"
            assert answer.headers["connection"] == "close"
    assert not app.asked.is_set()


@pytest.mark.parametrize("busy", [0, 1])
async def test_it_ends_when_every_wrapper_of_the_process_is_idle(busy: int) -> None:
    looks = [0, 0]
    left: list[int] = []

    def member(n: int) -> Member:
        def active() -> int:
            looks[n] += 1
            return 1 if n == busy and looks[n] < 5 else 0  # a run, for five looks

        return Member(activity=Activity(App()), active=active, leave=lambda: left.append(n))

    ending = Ending()
    idle = Idle(after_s=0.05, ending=ending, members=[member(0), member(1)])
    with anyio.fail_after(PATIENCE_S):
        await idle.watch()
    assert looks[busy] >= 5
    assert (ending.reason, ending.failure) == (IDLE, None)
    assert left == [0, 1]


async def test_without_a_time_it_never_ends() -> None:
    ending = Ending()
    await Idle(after_s=None, ending=ending).watch()
    assert not ending.begun.is_set()


def test_the_first_reason_of_an_end_counts() -> None:
    ending = Ending()
    ending.begin(IDLE)
    ending.begin("failure", "too late")
    assert (ending.reason, ending.failure) == (IDLE, None)
