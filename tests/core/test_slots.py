"""Turns and slots, by run id alone; a naive model says what the heaps have to come to."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.life.slots import RESERVE_PER_PARENT, Queued, Slots


def test_runs_start_in_order_up_to_the_capacity() -> None:
    slots = Slots(2)
    for run in ("a", "b", "c", "d"):
        slots.enter(run, run)
    assert slots.take() == ["a", "b"]
    assert [slots.state(run) for run in ("a", "c", "d")] == [None, Queued(place=1), Queued(place=2)]
    slots.leave("a")
    assert (slots.take(), slots.state("d")) == (["c"], Queued(place=1))


def test_those_behind_their_contexts_turn_say_who_has_it() -> None:
    slots = Slots(None)
    for run in ("first", "second", "third"):
        slots.enter(run, "context")
    assert slots.take() == ["first"]
    slots.waits("first")
    assert slots.take() == []
    assert slots.state("third") == Queued(place=2, blocked_by="first")
    slots.leave("second")  # cancelled while it was queued
    slots.leave("first")
    assert slots.take() == ["third"]


def test_a_waiting_run_holds_no_slot_and_takes_it_back_before_a_new_run() -> None:
    slots = Slots(1)
    for run in ("waiter", "next", "last"):
        slots.enter(run, run)
    assert slots.take() == ["waiter"]
    slots.waits("waiter")
    assert slots.take() == ["next"]
    slots.goes_on("waiter")
    slots.leave("next")
    assert slots.take() == []  # the waiter's slot, not the last one's
    slots.leave("waiter")
    assert slots.take() == ["last"]


def test_a_child_needs_no_slot_while_its_parent_works() -> None:
    slots = Slots(1)
    slots.enter("parent", "p")
    assert slots.take() == ["parent"]
    slots.enter("stranger", "s")
    children = [f"child {n}" for n in range(RESERVE_PER_PARENT + 1)]
    for child in children:
        slots.enter(child, child, "parent")
    assert slots.take() == children[:RESERVE_PER_PARENT]
    slots.enter("grandchild", "g", children[0])
    assert slots.take() == ["grandchild"]
    slots.leave("grandchild")
    slots.leave(children[0])
    assert slots.take() == [children[RESERVE_PER_PARENT]]
    slots.leave("parent")
    assert slots.take() == []  # the child counts as any other now
    slots.leave(children[RESERVE_PER_PARENT])
    assert slots.take() == ["stranger"]


def test_a_waiting_parent_lends_nothing_and_one_that_goes_on_does() -> None:
    slots = Slots(1)
    slots.enter("parent", "p")
    slots.take()
    slots.waits("parent")
    slots.enter("other", "o")
    assert slots.take() == ["other"]
    slots.enter("child", "c", "parent")
    assert slots.take() == []
    slots.goes_on("parent")
    assert slots.take() == ["child"]


def test_a_resumed_child_takes_its_parents_reserve() -> None:
    slots = Slots(1)
    slots.enter("parent", "p")
    slots.take()
    slots.enter("child", "c", "parent")
    assert slots.take() == ["child"]
    slots.waits("child")
    slots.goes_on("child")
    slots.leave("parent")
    slots.leave("child")
    slots.enter("next", "n")
    assert slots.take() == ["next"]


def test_runs_that_had_started_before_need_no_slot_to_go_on() -> None:
    slots = Slots(1)
    for run in ("working", "waiting", "new"):
        slots.enter(run, run)
    assert slots.seize("working", running=True)
    assert slots.seize("waiting", running=False)
    assert slots.take() == []
    slots.leave("working")
    assert slots.take() == ["new"]
    slots.enter("behind", "waiting")
    assert not slots.seize("behind", running=True)


@dataclass
class Model:
    """The same rules without children, by looking at everybody every time."""

    capacity: int
    runs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    def take(self) -> list[str]:
        started: list[str] = []
        for run, (context, state) in self.runs.items():
            used = sum(state == "running" for _, state in self.runs.values())
            ahead = next(r for r, (c, _) in self.runs.items() if c == context)
            if state == "queued" and ahead == run and used < self.capacity:
                self.runs[run] = (context, "running")
                started.append(run)
        return started

    def place(self, run: str) -> int | None:
        queued = [r for r, (_, state) in self.runs.items() if state == "queued"]
        return queued.index(run) + 1 if run in queued else None


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "waits", "goes_on"]), st.integers(0, 9))),
)
def test_the_heaps_come_to_what_looking_at_everybody_would(
    capacity: int, steps: list[tuple[str, int]]
) -> None:
    slots, model = Slots(capacity), Model(capacity)
    for number, (verb, pick) in enumerate(steps):
        run = f"run {number}"
        if verb == "enter":
            slots.enter(run, f"context {pick % 4}")
            model.runs[run] = (f"context {pick % 4}", "queued")
        elif model.runs:
            run = list(model.runs)[pick % len(model.runs)]
            context, state = model.runs[run]
            if verb == "leave":
                slots.leave(run)
                del model.runs[run]
            elif verb == "waits" and state == "running":
                slots.waits(run)
                model.runs[run] = (context, "waiting")
            elif verb == "goes_on" and state == "waiting":
                slots.goes_on(run)
                model.runs[run] = (context, "running")
        assert slots.take() == model.take()
        assert [s and s.place for s in map(slots.state, model.runs)] == [
            model.place(r) for r in model.runs
        ]
