from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.link.sse import EventReader, EventTooLargeError, ServerSentEvent

STREAM = (
    b": keep-alive\n\n"
    b'id: 1\ndata: {"a":1}\n\n'
    b"event: error\r\ndata: one\r\ndata: two\r\n\r\n"
    b"data:no blank\n\n"
    b"id: 9\n\n"
    b"data: last\n\n"
    b"data: never finished\n"
)
EVENTS = [
    ServerSentEvent(data=b'{"a":1}', id="1"),
    ServerSentEvent(data=b"one\ntwo"),
    ServerSentEvent(data=b"no blank"),
    ServerSentEvent(data=b"last"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_wherever_the_chunks_are_cut(cuts: list[int]) -> None:
    reader, found, edges = EventReader(), list[ServerSentEvent](), [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        found += reader.feed(STREAM[start:end])
    assert found == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 40, b"data: x\n"], ids=["a line", "many lines"])
def test_an_event_without_end_does_not_become_our_memory(piece: bytes) -> None:
    reader = EventReader(limit=1000)

    def endless() -> None:
        for _ in range(1000):
            reader.feed(piece)

    with pytest.raises(EventTooLargeError):
        endless()


def test_many_small_events_are_no_large_one() -> None:
    reader = EventReader(limit=100)
    assert sum(len(reader.feed(b"data: 0123456789\n\n")) for _ in range(1000)) == 1000
