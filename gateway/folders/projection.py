"""One run's folder, brought up to what the log says, a bounded step at a time.

Knows the log's records and the files; no thread and no other run. The order of the files: an
event's payloads before its line, session and result before the `run.json` that shows the end.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from gateway.core import json, redact
from gateway.core.record import Run, Session
from gateway.core.redact import Payload
from gateway.core.status import RunStatus
from gateway.core.store.entry import Entry
from gateway.folders import payload_files
from gateway.folders.directory import Directory
from gateway.folders.documents import (
    HAS_REFS,
    EventLines,
    result_document,
    run_document,
    session_document,
)
from gateway.folders.journal import Journal, Position
from gateway.folders.project import Project
from gateway.folders.source import Source

STEP_EVENTS: Final = 500  # events of one step that come from the log
STEP_BYTES: Final = 4 * 1024 * 1024  # of payloads, after which a step ends
# `run.json` of a run that goes on is written when its status changes, and else once in this time;
# the whole prompt is in it, so a larger one is written less often.
RENEW_S: Final = 1.0
RENEW_BYTES: Final = 64 * 1024  # of run.json per RENEW_S
KNOWN_MAX: Final = 4096  # runs whose files need no look; others are looked at again
_SAFE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


class Piece(NamedTuple):
    """Events `first` to `last` as lines; `split` are those of them that have payloads."""

    first: int
    last: int
    lines: bytes
    split: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A run as it is now, the events that brought it there as far as they are at hand, and whether
    its session learned something."""

    run: Run
    pieces: tuple[Piece, ...] = ()
    session: bool = False


def piece_of(lines: EventLines, entries: Sequence[Entry]) -> Piece:
    """Some events of a run, at least one."""
    events = [entry.recorded for entry in entries]
    text, any_split = lines.lines(events)
    split: tuple[Entry, ...] = ()
    if any_split:
        split = tuple([entry for entry in entries if HAS_REFS in entry.recorded.data])
    return Piece(events[0].seq, events[-1].seq, text, split)


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was written of a run: where its events end, and what its run.json shows."""

    position: Position
    status: RunStatus | None = None
    shown_seq: int = -1
    renew_at: float = 0.0  # monotonic seconds
    session_due: bool = True


class Projection:
    """Writes the folders. `steps` raises SourceError, `step` OSError too; then it is called again."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._project = Project()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._sessions: dict[str, Session] = {}

    @contextmanager
    def steps(self, coming: Sequence[Moved]) -> Generator[None]:
        """Make the steps of these runs in the block, those of one project behind each other: then
        its folders are opened once, and what is known of their sessions is asked for at once."""
        wanted = {m.run.context_id for m in coming if m.session or m.run.id not in self._known}
        try:
            if wanted:
                self._sessions = self._source.sessions(wanted)
            yield
        finally:
            self._sessions = {}
            self._project.close()

    def step(self, moved: Moved, *, now: bool = False) -> float | None:
        """Write some of what is new. None: all is written; else seconds until there is more to do.

        `now`: run.json is written whenever it is behind.
        """
        run = moved.run
        known = self._known.get(run.id)
        cwd = run.request.cwd or ""
        with self._project.folder(cwd, "runs").inside(run.id, new=known is None) as folder:
            position = None if known is None else known.position
            with Journal.of(folder, run.id, position) as journal:
                if known is None:
                    self._check(run, journal)
                    known = _Known(position=journal.position)
                    self._known[run.id] = known
                known.session_due = known.session_due or moved.session
                wrote = self._write_events(moved, folder, journal)
                known.position = journal.position
            if wrote and known.position.seq < run.last_seq:
                return 0.0
            left = self._write_documents(run, folder, known, now=now)
        if run.terminal:
            self._known.pop(run.id, None)
        elif len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return left

    def forget(self, run_id: str) -> None:
        """Look at the files again before the next step."""
        self._known.pop(run_id, None)

    def _check(self, run: Run, journal: Journal) -> None:
        """A file that says more than the log is of another log (a database that was restored)."""
        if journal.seq > run.last_seq:
            current = self._source.run(run.id)
            if current is not None and journal.seq > current.last_seq:
                journal.begin_anew()

    # -- events ----------------------------------------------------------------------------------

    def _write_events(self, moved: Moved, folder: Directory, journal: Journal) -> bool:
        """False when there was nothing to write: the rest, if any, is no longer kept."""
        written: list[bytes] = []
        seq, spent = journal.seq, 0
        for piece in self._next(moved, seq):
            for entry in piece.split:
                payloads = entry.payloads or self._source.payloads(moved.run.id, entry.recorded.seq)
                spent += _write_payloads(folder, entry, payloads)
            written.append(piece.lines)
            seq = piece.last
            if spent > STEP_BYTES:
                break
        if written:
            journal.append(b"".join(written), seq)
        return bool(written)

    def _next(self, moved: Moved, seq: int) -> Iterable[Piece]:
        """The events behind `seq`: those at hand when none is missing, else some from the log."""
        if seq >= moved.run.last_seq:
            return ()
        fresh = [piece for piece in moved.pieces if piece.last > seq]
        if fresh and fresh[0].first == seq + 1 and _joined(fresh):
            return fresh
        found = self._source.events(moved.run.id, seq, STEP_EVENTS)
        lines = EventLines(moved.run)
        return (piece_of(lines, [Entry(recorded=event)]) for event in found)

    # -- documents -------------------------------------------------------------------------------

    def _write_documents(
        self, run: Run, folder: Directory, known: _Known, *, now: bool
    ) -> float | None:
        at = time.monotonic()
        if known.session_due:
            self._write_session(run)
            known.session_due = False
        if run.last_seq == known.shown_seq:
            return None
        if run.status is known.status and not now and at < known.renew_at:
            return known.renew_at - at
        result = None
        if run.terminal:
            result = result_document(run, self._made(run))
            folder.replace("result.json", json.pretty(result))
        content = json.pretty(run_document(run, result))
        folder.replace("run.json", content)
        known.status, known.shown_seq = run.status, run.last_seq
        known.renew_at = at + RENEW_S * (1 + len(content) // RENEW_BYTES)
        return None

    def _write_session(self, run: Run) -> None:
        name = run.context_id
        session = self._sessions.get(name) or self._source.sessions({name}).get(name)
        if session is None:
            return
        if not _SAFE.fullmatch(name):  # an A2A caller may name its context as it likes
            name = hashlib.sha256(name.encode()).hexdigest()[:32]
        sessions = self._project.folder(run.request.cwd or "", "sessions")
        sessions.replace(f"{name}.json", json.pretty(session_document(session)))

    def _made(self, run: Run) -> dict[int, json.JsonObject]:
        """The data of the events that hold the run's artifacts."""
        made: dict[int, json.JsonObject] = {}
        for item in run.result.artifacts if run.result is not None else ():
            seq = item.get("seq", 0)
            for event in self._source.events(run.id, seq - 1, 1):
                if event.seq == seq:
                    made[seq] = json.decode_object(event.data)
        return made


def _write_payloads(folder: Directory, entry: Entry, payloads: Sequence[Payload]) -> int:
    """The files of what was split off an event; how many bytes they have."""
    event, spent = entry.recorded, 0
    refs = redact.refs_of(json.decode_object(event.data))
    payloads = [payload for payload in payloads if payload.pointer in refs]
    bases = payload_files.file_bases([payload.pointer for payload in payloads])
    chunks: dict[str, list[tuple[str, int]]] = {}
    name = payload_files.folder_of(event.seq, event.type)
    with folder.inside("artifacts") as artifacts, artifacts.inside(name) as here:
        for payload in payloads:
            written = chunks.setdefault(payload.pointer, [])
            for file, piece in payload_files.chunk_files(bases[payload.pointer], payload):
                here.replace(file, piece)
                written.append((file, len(piece)))
                spent += len(piece)
        listed = payload_files.manifest(event.seq, event.type, refs, chunks)
        here.replace(payload_files.MANIFEST, json.pretty(listed))
    return spent


def _joined(pieces: Sequence[Piece]) -> bool:
    """True when no event is missing between them."""
    return all(one.last + 1 == other.first for one, other in pairwise(pieces))


def merged(earlier: Moved, later: Moved) -> Moved:
    """Both as one."""
    return replace(
        later,
        pieces=earlier.pieces + later.pieces,
        session=earlier.session or later.session,
    )
