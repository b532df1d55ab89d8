"""The flows the demo plays, and the one way all of them are played: through the seven tools.

A scene states how it must end and what must be seen on the way; `play` checks it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from tests.demo.stage import Stage
from tests.demo.transcript import Transcript

Json = dict[str, Any]
SCENE_S: Final = 120.0
ENDS: Final = frozenset({"completed", "failed", "cancelled", "rejected"})
WAITS: Final = frozenset({"input_required", "auth_required"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One run: what is asked, what must come, how it must end.

    `answer` makes continue_run's arguments from the pending requests; `cancel_at` names the event type
    after which the run is cancelled.
    """

    title: str
    backend: str
    prompt: str
    config: Json = field(default_factory=dict[str, Any])
    ends: str = "completed"
    shows: frozenset[str] = frozenset()
    answer: Callable[[list[Json]], Json] | None = None
    cancel_at: str | None = None


class WrongEndError(Exception):
    """The scene did not go as it must."""


async def play(scene: Scene, stage: Stage, transcript: Transcript) -> None:
    """spawn_run, poll_events until terminal (answering or cancelling on the way), get_run.

    Raises: WrongEndError, stage.ToolRefusedError, TimeoutError.
    """
    transcript.scene(scene.title)
    config = {**scene.config}
    if scene.backend == "remote_a2a":
        config["agent_url"] = stage.agent_url
    asked: Json = {
        "backend": scene.backend, "role": "worker", "prompt": scene.prompt,
        "cwd": str(stage.project), "session_mode": "new",
    }  # fmt: skip
    if config:
        asked["backend_config"] = config
    with anyio.fail_after(SCENE_S):
        spawned = await stage.call("spawn_run", asked)
        shown = {key: value for key, value in asked.items() if key not in ("role", "session_mode")}
        transcript.call("spawn_run", shown, spawned)
        seen = await _follow(scene, spawned["run_id"], stage, transcript)
        run = await stage.call("get_run", {"run_id": spawned["run_id"]})
        facts = {key: run.get(key) for key in ("status", "last_seq", "summary")}
        transcript.call("get_run", {"run_id": spawned["run_id"]}, facts)
    judge(scene, run, seen)
    transcript.verdict(True, f"{scene.backend}: {run['status']} after {run['last_seq']} events")


async def _follow(scene: Scene, run_id: str, stage: Stage, transcript: Transcript) -> list[Json]:
    """Every event of the run, printed as it comes."""
    after, seen, cancelled = 0, list[Json](), False
    while True:
        page = await stage.call(
            "poll_events", {"run_id": run_id, "after_seq": after, "wait_ms": 20_000}
        )
        for event in page["events"]:
            transcript.event(event)
        seen += page["events"]
        after = page["next_after_seq"]
        if page["status"] in ENDS and not page.get("has_more"):
            return seen
        if page["status"] in WAITS and not page.get("has_more"):
            await _answer(scene, run_id, page["pending"], stage, transcript)
        if not cancelled and any(event["type"] == scene.cancel_at for event in page["events"]):
            cancelled = True
            answer = await stage.call("cancel_run", {"run_id": run_id})
            transcript.call("cancel_run", {"run_id": run_id}, answer)


async def _answer(
    scene: Scene, run_id: str, pending: list[Json], stage: Stage, transcript: Transcript
) -> None:
    if scene.answer is None or not pending:
        await stage.call("cancel_run", {"run_id": run_id})
        raise WrongEndError("the run asks, and nobody expected it to")
    arguments = {"run_id": run_id, **scene.answer(pending)}
    transcript.call("continue_run", arguments, await stage.call("continue_run", arguments))


def judge(scene: Scene, run: Json, seen: list[Json]) -> None:
    """Compare a run with what the scene promised. Raises: WrongEndError."""
    if run["status"] != scene.ends:
        raise WrongEndError(f"ended {run['status']}, not {scene.ends}")
    if missing := scene.shows - {event["type"] for event in seen}:
        raise WrongEndError(f"no {', '.join(sorted(missing))} was seen")
    if [event["seq"] for event in seen] != list(range(1, run["last_seq"] + 1)):
        raise WrongEndError("events are missing, doubled or out of order")


# -- answers: the arguments of continue_run beside run_id ----------------------------------------


def allow(pending: list[Json]) -> Json:
    """Allow the first permission that is asked for."""
    return {"answer": {"request_id": pending[0]["request_id"], "option": "allow"}}


def first_choice(pending: list[Json]) -> Json:
    """The first option of every question."""
    questions = pending[0]["questions"]
    answers = {question["id"]: question["options"][0]["label"] for question in questions}
    return {"answer": {"request_id": pending[0]["request_id"], "answers": answers}}


def words(text: str) -> Callable[[list[Json]], Json]:
    """Plain text: enough when one request is pending."""
    return lambda _pending: {"text": text}
