"""Follows a run to its end: tells its events, and has its requests answered where somebody is there.

Knows neither arguments nor exit codes.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from gateway.cli import asking, portrait
from gateway.cli.errors import ENDS, WAITING, CommandError
from gateway.cli.link import MAX_BYTES, Link, LostError
from gateway.cli.plain import objects, string
from gateway.core import json
from gateway.core.json import JsonObject, as_object

WAIT_MS: Final = 20_000
QUEUED_MS: Final = 1000  # between looks at the place in a queue, which is no event
EVENTS: Final = 1000  # a page
TRIES: Final = 10  # of a gateway that is there and does not take the call
# A run that waits for an answer is told at once, so a follower has to pause by itself.
PAUSE_S: Final = 0.5

Tell = Callable[[JsonObject], None]


class Following:
    """One run, from an event on. `tell` gets each event once, in order."""

    def __init__(
        self, link: Link, run_id: str, tell: Tell, *, after: int = 0, queued: Tell | None = None
    ) -> None:
        """`queued` gets the run again and again while it has not begun."""
        self._link = link
        self.run_id = run_id
        self._tell = tell
        self._after = after
        self._queued = queued
        link.start_no_more()
        self._answered: set[str] = set()

    def page(self, wait_ms: int = WAIT_MS) -> JsonObject:
        """The next events, told. Raises: CommandError."""
        page = self._poll(wait_ms)
        for event in objects(page["events"]):
            self._tell(event)
            self._after = int(event["seq"])
        return page

    def _poll(self, wait_ms: int) -> JsonObject:
        """Reading is repeated when the gateway was started anew meanwhile. Raises: CommandError."""
        for again in range(TRIES, -1, -1):
            try:
                return self._link.tool(
                    "poll_events",
                    run_id=self.run_id,
                    after_seq=self._after,
                    limit=EVENTS,
                    wait_ms=wait_ms,
                    max_bytes=MAX_BYTES,
                )
            except LostError as exc:
                if not (again and self._link.came_back()):
                    raise CommandError(
                        f"{exc}; run {self.run_id} is kept: a2a-gateway runs tail "
                        f"-f {self.run_id} starts the gateway and goes on"
                    ) from exc
            time.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    def until_still(self) -> str:
        """The status in which the run has ended or waits for somebody, all its events told."""
        wait_ms = QUEUED_MS
        while True:
            page = self.page(wait_ms)
            status = string(page["status"])
            wait_ms = QUEUED_MS if status == "queued" else WAIT_MS
            if status == "queued" and self._queued is not None:
                self._queued(self.whole())
            if page["has_more"] or not (status in ENDS or status in WAITING):
                continue
            if status in ENDS or self._open(page):
                return status
            time.sleep(PAUSE_S)  # everything is answered; the agent has not taken it yet

    def _open(self, page: JsonObject) -> bool:
        """Whether it waits for something that was not answered from here."""
        ids = {string(request.get("request_id")) for request in objects(page["pending"])}
        return not ids or bool(ids - self._answered)

    def until_ended(self) -> str:
        """The status of its end; what others answer meanwhile is theirs."""
        while (status := string((page := self.page())["status"])) not in ENDS or page["has_more"]:
            if status in WAITING and not page["events"]:
                time.sleep(PAUSE_S)
        return status

    def ask(self, say: Callable[[str], None]) -> None:
        """Put what is pending to the person. Raises: LaterError, KeyboardInterrupt, CommandError."""
        run = self.whole()
        requests = objects(run.get("pending"))
        if not requests:  # credentials are missing: the message said which
            asking.text("Log in as it says, then press Enter")
            self.answer(text="I have logged in; please go on.")
        for request in requests:
            if (request_id := string(request.get("request_id"))) in self._answered:
                continue
            for one in portrait.question(request):
                say(one)
            self.answer(answer=asking.answer_to(request))
            self._answered.add(request_id)

    def answer(self, **said: Any) -> None:
        self._link.tool("continue_run", run_id=self.run_id, **said)

    def whole(self) -> JsonObject:
        """The run with its result, whatever its size. Raises: CommandError."""
        return whole_run(self._link, run_id=self.run_id)


def whole_run(link: Link, **reference: Any) -> JsonObject:
    """get_run's answer, with the fields that it cut read in full. Raises: CommandError."""
    run = link.tool("get_run", max_bytes=MAX_BYTES, **reference)
    result = as_object(run.get("result"))
    cut = as_object(result.pop("truncated", None))
    seq = cut.get("seq")
    for pointer in as_object(cut.get("fields")):
        name = pointer.removeprefix("/")
        if isinstance(seq, int) and name in ("final_response", "structured_output"):
            whole = b"".join(link.payload(str(run["run_id"]), seq, pointer))
            result[name] = whole.decode() if name == "final_response" else _value(whole)
    return run


def _value(content: bytes) -> Any:
    return json.decode(content)
