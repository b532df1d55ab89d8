"""How a request of a run went away, as its log tells it long after: answered, expired, withdrawn."""

from typing import Final

from gateway.core import json
from gateway.core.events import StatusChanged
from gateway.core.store.log import RunLog

LOOK_BACK: Final = 200  # events of a page; only a refusal looks


async def how_resolved(log: RunLog, run_id: str, request_id: str) -> str | None:
    """None when the run never had such a request, or has it still."""
    after = 0
    while found := await log.read(run_id, after, LOOK_BACK, (StatusChanged.type,)):
        for event in found:
            data = json.decode_object(event.data)
            if data.get("resolved") == request_id:
                return data.get("how")
        after = found[-1].seq
    return None
