"""Recorded runs on disk: what an agent's mapping was told, and beside it the steps it made.

Knows no vendor. Two files of JSON lines per scenario, in the folder of their vendor:

    <scenario>.log.jsonl     what was heard, in order; its first line says of which program
    <scenario>.steps.jsonl   the steps that became of it
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core import json
from gateway.core.events import Event, encode
from gateway.core.json import JsonObject
from wrappers.adapter import Ask, Bound, Step, Withdraw

FOLDER = Path(__file__).parent
LOG, STEPS = ".log.jsonl", ".steps.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """`program` is the version that spoke; `log` and `steps` hold nothing that differs each time."""

    program: str
    log: list[JsonObject]
    steps: list[JsonObject]


def step_json(step: Step) -> JsonObject:
    """A step as it stands in the file."""
    match step:
        case Ask(request=request):
            return {"ask": request.to_json()}
        case Withdraw(request_id=request_id, how=how):
            return {"withdraw": request_id, "how": how}
        case Bound(vendor_session=session):
            return {"bound": session}
        case _:
            return _event_json(step)


def _event_json(event: Event) -> JsonObject:
    return {"type": event.type, "data": json.decode(json.encode(encode(event)))}


def names(vendor: str) -> list[str]:
    """The scenarios that are recorded of a vendor."""
    return sorted(path.name.removesuffix(LOG) for path in (FOLDER / vendor).glob(f"*{LOG}"))


def save(vendor: str, name: str, recording: Recording) -> None:
    folder = FOLDER / vendor
    _write(folder / f"{name}{LOG}", [{"program": recording.program}, *recording.log])
    _write(folder / f"{name}{STEPS}", recording.steps)


def load(vendor: str, name: str) -> Recording:
    folder = FOLDER / vendor
    first, *log = _read(folder / f"{name}{LOG}")
    return Recording(program=first["program"], log=log, steps=_read(folder / f"{name}{STEPS}"))


def _write(path: Path, lines: Iterable[JsonObject]) -> None:
    path.write_text("".join(f"{json.encode(line)}\n" for line in lines), "utf-8")


def _read(path: Path) -> list[JsonObject]:
    # Not splitlines(): an agent's text may hold other line separators, which JSON does not escape.
    return [json.decode_object(line) for line in path.read_text("utf-8").split("\n") if line]
