"""Messages from agent to agent, as rows of the session they are for, and `Mail` over an engine.

Knows no run and no name's meaning. A mailbox numbers its messages 1..n in the order of their
commits and keeps its last KEPT_MAX, or as many as KEPT_CHARS hold: nobody takes messages out, so one that
refused more when it is full would be of no use for ever. Who reads is told how many it missed.
"""

import asyncio
import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from gateway.core import json
from gateway.core.errors import InvalidInputError, RequestConflictError
from gateway.core.json import JsonObject
from gateway.core.store.dialect import insert
from gateway.core.store.engine import Engine
from gateway.core.store.schema import mail, mailboxes, sessions

LETTER_BYTES: Final = 65_536  # of a message and its metadata, as JSON
KEPT_MAX: Final = 1000  # messages of a session
KEPT_CHARS: Final = 1024 * 1024  # of them all
SAFETY_POLL_S: Final = 1.0  # what another process says may be lost
HINT: Final = "mail-"  # what is said of a mailbox begins so; what is said of runs is their id


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message to a session; `seq` is its mailbox's, 0 until it is stored.

    `body` is a message in the contract's JSON. `key` makes the same message of the same sender one.
    """

    id: str
    to_session_id: str
    from_session_id: str | None = None
    from_name: str | None = None
    created_at: int
    body: JsonObject
    metadata: JsonObject = field(default_factory=dict[str, Any])
    key: str | None = None
    seq: int = 0

    def content(self) -> str:
        return json.encode({"body": self.body, "metadata": self.metadata})


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage:
    """Letters behind a cursor; `missed` that were behind it too are no longer kept."""

    letters: list[Letter]
    has_more: bool = False
    missed: int = 0


def put_letter(connection: sa.Connection, letter: Letter) -> Letter:
    """The letter as it is stored now, or was before under its key.

    Raises: InvalidInputError (its session is gone), RequestConflictError.
    """
    there = sa.select(sessions.c.id).where(sessions.c.id == letter.to_session_id)
    # Locked against whoever deletes it; SQLite has one writer.
    if connection.scalar(there.with_for_update(read=True, key_share=True)) is None:
        raise InvalidInputError(
            f"session {letter.to_session_id} is no longer kept; list_agents shows who is there"
        )
    data = letter.content()
    key, digest = _key_of(letter), None
    if key is not None:
        digest = hashlib.sha256(data.encode()).hexdigest()
        if (before := _under_key(connection, letter, key, digest)) is not None:
            return before
    box = _numbered(connection, letter.to_session_id, len(data))
    connection.execute(
        sa.insert(mail).values(
            session_id=letter.to_session_id,
            seq=box.last_seq,
            id=letter.id,
            created_at=letter.created_at,
            from_session_id=letter.from_session_id,
            from_name=letter.from_name,
            request_key=key,
            digest=digest,
            data=data,
        )
    )
    if box.last_seq - box.first_seq >= KEPT_MAX or box.chars > KEPT_CHARS:
        _make_room(connection, letter.to_session_id, box)
    return replace(letter, seq=box.last_seq)


def read_letters(
    connection: sa.Connection, session_id: str, after: int, limit: int
) -> LetterPage | None:
    """The letters behind `after`, `limit` at most; None when there are none."""
    found = connection.execute(
        sa.select(mail)
        .where(mail.c.session_id == session_id, mail.c.seq > after)
        .order_by(mail.c.seq)
        .limit(limit + 1)
    ).all()
    if not found:
        return None
    letters = [_letter_of(row) for row in found[:limit]]
    return LetterPage(
        letters=letters, has_more=len(found) > limit, missed=letters[0].seq - after - 1
    )


def kept_letters(connection: sa.Connection, of: sa.Select[Any]) -> dict[str, int]:
    """How many letters the mailboxes of these sessions keep."""
    number = (mailboxes.c.last_seq - mailboxes.c.first_seq + 1).label("number")
    found = connection.execute(
        sa.select(mailboxes.c.session_id, number).where(mailboxes.c.session_id.in_(of))
    )
    return {row.session_id: row.number for row in found}


def drop_oldest(connection: sa.Connection, session_id: str, number: int) -> None:
    """Let go of the `number` oldest letters of a session."""
    first = sa.select(mailboxes.c.first_seq).where(mailboxes.c.session_id == session_id)
    seq = connection.scalar(first)
    if seq is not None:
        _drop_before(connection, session_id, seq + number)


def _drop_before(connection: sa.Connection, session_id: str, first: int) -> None:
    gone = sa.and_(mail.c.session_id == session_id, mail.c.seq < first)
    size = connection.scalar(sa.select(sa.func.sum(sa.func.length(mail.c.data))).where(gone)) or 0
    connection.execute(sa.delete(mail).where(gone))
    connection.execute(
        sa.update(mailboxes)
        .where(mailboxes.c.session_id == session_id)
        .values(first_seq=first, chars=mailboxes.c.chars - size)
    )


def _numbered(connection: sa.Connection, session_id: str, size: int) -> Any:
    """The mailbox with one more number given. Its row is locked until the commit, so numbers are
    given in the order of commits."""
    more = {"last_seq": mailboxes.c.last_seq + 1, "chars": mailboxes.c.chars + size}
    return connection.execute(
        insert(connection, mailboxes)
        .values(session_id=session_id, first_seq=1, last_seq=1, chars=size)
        .on_conflict_do_update(index_elements=["session_id"], set_=more)
        .returning(mailboxes.c.first_seq, mailboxes.c.last_seq, mailboxes.c.chars)
    ).one()


def _make_room(connection: sa.Connection, session_id: str, box: Any) -> None:
    """Down to what is kept; the newest stays, however large it is."""
    mine = mail.c.session_id == session_id
    oldest = sa.select(mail.c.seq, sa.func.length(mail.c.data)).where(mine).order_by(mail.c.seq)
    first, chars = box.first_seq, box.chars
    for seq, size in connection.execute(oldest):
        if seq == box.last_seq or (box.last_seq - seq < KEPT_MAX and chars <= KEPT_CHARS):
            break
        first, chars = seq + 1, chars - size
    _drop_before(connection, session_id, first)


def _key_of(letter: Letter) -> str | None:
    """Keys are their sender's own: two may use the same."""
    if letter.key is None:
        return None
    said = json.encode([letter.from_session_id, letter.key])
    return hashlib.sha256(said.encode()).hexdigest()


def _under_key(connection: sa.Connection, letter: Letter, key: str, digest: str) -> Letter | None:
    found = connection.execute(
        sa.select(mail).where(mail.c.session_id == letter.to_session_id, mail.c.request_key == key)
    ).first()
    if found is None:
        return None
    if found.digest != digest:
        raise RequestConflictError(letter.key or "", found.id, made="message")
    return _letter_of(found)


def _letter_of(row: Any) -> Letter:
    data = json.decode_object(row.data)
    return Letter(
        id=row.id,
        to_session_id=row.session_id,
        from_session_id=row.from_session_id,
        from_name=row.from_name,
        created_at=row.created_at,
        body=json.as_object(data["body"]),
        metadata=json.as_object(data["metadata"]),
        seq=row.seq,
    )


class Mail:
    """The mailboxes of a log, and who waits at one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._over = False

    async def send(self, letter: Letter) -> Letter:
        """Store a letter; returns when it is durable. Cancelled after that was begun, it is stored
        all the same. Raises: what `put_letter` does, StorageError."""
        size = len(letter.content())
        storing = self._engine.submit(
            lambda connection: put_letter(connection, letter), weight=lambda: 3 + size // 16384
        )
        storing.add_done_callback(self._arrived)
        return await asyncio.shield(storing)

    def _arrived(self, stored: asyncio.Future[Letter]) -> None:
        if not stored.cancelled() and stored.exception() is None:
            hint = _hint_of(stored.result().to_session_id)
            self.hear(hint)
            self._engine.announce({hint})

    async def fetch(
        self, session_id: str, after: int, limit: int, wait_s: float = 0.0
    ) -> LetterPage:
        """The letters behind `after`; waits up to `wait_s` for the first of them."""
        until = self._loop.time() + wait_s
        with self._at(_hint_of(session_id)) as rung:
            while True:
                rung.clear()  # before the look: what comes during it rings again
                page = await self._engine.read(
                    lambda connection: read_letters(connection, session_id, after, limit)
                )
                left = until - self._loop.time()
                if page is not None or left <= 0 or self._over:
                    return page or LetterPage(letters=[])
                if self._engine.shared:
                    left = min(left, SAFETY_POLL_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(rung.wait(), left)

    def besides(self, others: Callable[[str], None]) -> Callable[[str], None]:
        """Takes what another process says: of mailboxes it is for us, the rest is for `others`."""
        return lambda hint: (self.hear if hint.startswith(HINT) else others)(hint)

    @property
    def listening(self) -> int:
        """How many mailboxes somebody waits at."""
        return len(self._waiting)

    def hear(self, hint: str) -> None:
        """Something came into a mailbox, here or in another process."""
        for rung in self._waiting.get(hint, ()):
            rung.set()

    def end(self) -> None:
        """Let everybody who waits go."""
        self._over = True
        for hint in self._waiting:
            self.hear(hint)

    @contextmanager
    def _at(self, hint: str) -> Generator[asyncio.Event]:
        rung = asyncio.Event()
        waiting = self._waiting.setdefault(hint, set())
        waiting.add(rung)
        try:
            yield rung
        finally:
            waiting.discard(rung)
            if not waiting:
                self._waiting.pop(hint, None)


def _hint_of(session_id: str) -> str:
    """Callers may choose a session's id; a hint has neither spaces nor more than 40 characters."""
    return (
        HINT
        + hashlib.blake2s(session_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    )
