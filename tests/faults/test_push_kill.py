"""A gateway is killed while a webhook thinks: the next one goes on, and leaves nothing out."""

import signal
from pathlib import Path

import anyio

from tests.core.receiver import receiver
from tests.gateway.process import started
from tests.gateway.test_process import message


async def test_events_reach_their_webhook_although_the_gateway_is_killed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with receiver() as hook:
        hook.open = anyio.Event()  # it takes the first event, and does not say so
        async with started(environment) as gateway:
            asked = message("say one\nsay two", tmp_path)
            asked["configuration"] = {"taskPushNotificationConfig": {"url": hook.url}}
            sent = await gateway.rpc("scripted", "SendMessage", asked)
            assert sent["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            await hook.count(1)
            assert await gateway.stop(signal.SIGKILL) == -signal.SIGKILL
        hook.open.set()
        async with started(environment) as gateway:
            got = await hook.until("TASK_STATE_COMPLETED")
            await gateway.stop()  # and with it the wrapper that the killed one had started
        ids = [one.headers["webhook-id"] for one in got]
        assert ids[0] == ids[1]
        assert len(set(ids[1:])) == len(ids) - 1
        said = [one.text for one in got if "statusUpdate" in one.item]
        assert [text for text in said if text in ("one", "two")] == ["one", "two"]
