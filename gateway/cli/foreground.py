"""One run followed in the foreground: progress on stderr, questions at the terminal, its end.

Knows no arguments of commands; whoever starts or finds the run hands it over.
"""

from typing import Literal

from gateway.cli import asking, plain, portrait, screen
from gateway.cli.asking import LaterError
from gateway.cli.errors import DETACHED, ENDS, NEEDS_INPUT, CommandError
from gateway.cli.following import Following
from gateway.cli.link import Link
from gateway.cli.plain import objects, string
from gateway.cli.progress import Progress
from gateway.core import json
from gateway.core.json import JsonObject, as_object

Shown = Literal["json", "structured", "answer"]  # on stdout


class Foreground:
    """One run at a terminal or in a script, from its start to an exit code."""

    def __init__(
        self, link: Link, run: JsonObject, shown: Shown, *, quiet: bool, after: int = 0
    ) -> None:
        """`run`: what a tool said of it; `after`: the event whose successors are told."""
        self._link = link
        self._id = string(run["run_id"])
        self._name = plain.line(string(run["agent_name"]))
        self._shown: Shown = shown
        self._quiet = quiet or shown == "json"
        self._progress = Progress(screen.err(), quiet=self._quiet)
        self._following = Following(
            link, self._id, self._tell, after=after, queued=self._progress.queued
        )
        self._leaving = False

    def code(self) -> int:
        if not self._quiet:
            self._progress.say(f"run {self._id} ({self._name})")
        while True:
            try:
                self._progress.start()
                status = self._following.until_still()
                self._progress.stop()
                if status in ENDS:
                    return self._end(status)
                if not screen.person_there():
                    return self._left_waiting()
                self._ask()
            except KeyboardInterrupt:
                self._progress.stop()
                if not self._goes_on():
                    return self._detached()
            except LaterError:
                return self._left_waiting()
            finally:
                self._progress.stop()

    def _ask(self) -> None:
        """What is refused is said and asked again, unless it was settled elsewhere meanwhile."""
        try:
            self._following.ask(self._progress.say)
        except CommandError as exc:
            self._progress.say(f"not taken: {plain.line(str(exc))}")

    def _tell(self, event: JsonObject) -> None:
        if self._shown == "json":
            screen.out().json(event)
        self._progress.tell(event)

    def _goes_on(self) -> bool:
        """What the person wants after Ctrl+C; a second one leaves at once."""
        if self._leaving or not screen.person_there():
            return False
        try:
            wish = asking.with_run()
            if wish == "cancel":
                self._leaving = True  # whoever presses it again does not want to wait
                self._link.tool("cancel_run", run_id=self._id)
        except (KeyboardInterrupt, LaterError):
            return False
        return wish != "detach"

    def _end(self, status: str) -> int:
        whole = self._following.whole()
        if self._shown == "json":
            screen.out().json(whole)
        elif status == "completed":
            _print_answer(as_object(whole.get("result")), self._shown)
        else:
            # Told already, unless quiet; a script that reads stderr finds it in the last line.
            error = as_object(whole.get("error"))
            why = plain.line(string(error.get("message")) or string(whole.get("summary")), 400)
            reason = f" ({plain.line(string(error['reason']))})" if error.get("reason") else ""
            self._progress.say(f"a2a-gateway: run {self._id} {status}: {why}{reason}")
        return ENDS[status]

    def _left_waiting(self) -> int:
        whole = self._following.whole()
        if self._shown == "json":
            screen.out().json(whole)
        for request in objects(whole.get("pending")):
            for one in portrait.pending(whole, request):
                self._progress.say(one)
        if not whole.get("pending"):
            self._progress.say(f"log in, then: a2a-gateway runs answer {self._id} --text done")
        self._progress.say(f"a2a-gateway: run {self._id} waits for an answer")
        return NEEDS_INPUT

    def _detached(self) -> int:
        self._progress.say(
            f"run {self._id} goes on: a2a-gateway runs attach {self._id} follows it again, "
            f"a2a-gateway runs cancel {self._id} stops it"
        )
        return DETACHED


def _print_answer(result: JsonObject, shown: Shown) -> None:
    """The whole answer; in the form of the schema where one was given."""
    if "structured_output" in result and (
        shown == "structured" or not result.get("final_response")
    ):
        screen.out().raw((json.encode(result["structured_output"]) + "\n").encode())
        return
    text = string(result.get("final_response"))
    screen.out().raw(json.utf8(text if text.endswith("\n") else text + "\n"))
