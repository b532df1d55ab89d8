"""A fold that writes down what it is told, and the way back: the same steps from what is written.

Knows no process. A line of a log is one call of the fold, in order:

    {"fold": THREAD, "permits": …}   a new run                {"begin": TURN}
    {"heard": METHOD, "thread": …, "params": …, "id": …}      a message (`at`: seconds, of output)
    {"flush": SECONDS}               gathered pieces were due
    {"answered": ANSWER}             {"end": ARGUMENTS}       {"close": STATUS}
    {"run": STEP, "index": …}        a step that the run made beside the fold (a plan to approve)
                                     and its place among all steps
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from gateway.core.extension import Answer
from gateway.core.json import JsonObject, merge_null
from tests.wrappers.recorded.logs import step_json
from wrappers.adapter import Step
from wrappers.codex.events import OUTPUT_DELTA, TurnFold
from wrappers.codex.requests import Asked
from wrappers.codex.wire import Incoming

# A flush happens when its time has come: rounded down it would come too early in the replay.
ROUNDING_S = 0.001


class Tape:
    """What all folds of a recording were told, and the steps of its runs."""

    def __init__(self) -> None:
        self.log: list[JsonObject] = []
        self.steps: list[JsonObject] = []
        self._made: list[Step] = []
        self._inside = False
        self._start: float | None = None

    def yielded(self, step: Step) -> None:
        """A step that came out of the run: one that no fold made is kept as it is."""
        if not any(step is made for made in self._made):
            self.log.append({"run": step_json(step), "index": len(self.steps)})
        self.steps.append(step_json(step))

    def since(self, now: float) -> float:
        if self._start is None:
            self._start = now
        return round(now - self._start, 3)

    @contextmanager
    def call(self, line: JsonObject) -> Generator[list[Step]]:
        """One call from outside; those that the fold makes of itself are a part of it."""
        outermost, self._inside = not self._inside, True
        made: list[Step] = []
        try:
            yield made
        finally:
            if outermost:
                self._inside = False
                self.log.append(line)
                self._made += made


class RecordingFold(TurnFold):
    """A TurnFold that does everything on tape."""

    tape: Tape

    def __init__(self, thread: str, *, permits: bool = True) -> None:
        super().__init__(thread, permits=permits)
        self.tape.log.append({"fold": thread, "permits": permits})

    def begin(self, turn: str) -> None:
        with self.tape.call({"begin": turn}):
            super().begin(turn)

    def take(self, message: Incoming, now: float) -> list[Step]:
        with self.tape.call(_line(message, self.tape.since(now))) as made:
            made.extend(super().take(message, now))
        return made

    def flush(self, now: float) -> list[Step]:
        with self.tape.call({"flush": self.tape.since(now) + ROUNDING_S}) as made:
            made.extend(super().flush(now))
        return made

    def answered(self, answer: Answer) -> Asked | None:
        with self.tape.call({"answered": answer.model_dump(mode="json", exclude_none=True)}):
            return super().answered(answer)

    def end(self, **given: Any) -> list[Step]:
        with self.tape.call({"end": given}) as made:
            made.extend(super().end(**given))
        return made

    def close(self, left: str) -> list[Step]:
        with self.tape.call({"close": left}) as made:
            made.extend(super().close(left))
        return made


def _line(message: Incoming, at: float) -> JsonObject:
    line: JsonObject = {"heard": message.method, "thread": message.thread}
    line |= {"params": message.params, "id": message.request_id}
    return merge_null({**line, "at": at if message.method == OUTPUT_DELTA else None})


def replay(log: list[JsonObject]) -> list[JsonObject]:
    """The steps that become of a log."""
    steps: list[JsonObject] = []
    fold = TurnFold("")
    for line in log:
        match line:
            case {"fold": thread, "permits": permits}:
                fold = TurnFold(thread, permits=permits)
            case {"run": _}:
                continue
            case _:
                steps += map(step_json, _again(fold, line))
    for line in log:
        if "run" in line:
            steps.insert(line["index"], line["run"])
    return steps


def _again(fold: TurnFold, line: JsonObject) -> list[Step]:
    match line:
        case {"heard": method, "thread": thread, "params": params}:
            number = line.get("id")
            said = Incoming(method=method, params=params, thread=thread, request_id=number)
            return fold.take(said, line.get("at", 0.0))
        case {"flush": now}:
            return fold.flush(now)
        case {"end": given}:
            return fold.end(**given)
        case {"close": left}:
            return fold.close(left)
        case {"begin": turn}:
            fold.begin(turn)
        case {"answered": answer}:
            fold.answered(Answer.model_validate(answer))
        case _:
            raise ValueError(f"no line of a log: {line}")
    return []
