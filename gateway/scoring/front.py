"""An agent's front door: its card, who it lets in, which versions it speaks.

Knows one exam; nothing here starts a task.
"""

import uuid
from collections.abc import AsyncGenerator
from typing import Final

from gateway.agents.card import CARD_PATH, OLD_CARD_PATH, read_card
from gateway.agents.finding import endpoint_for
from gateway.core.json import objects
from gateway.errors import AgentCardError, AgentRefusedError, AgentUnauthorizedError
from gateway.link.client import Link, origin_of, origin_text
from gateway.scoring.exam import Exam, Reply
from gateway.scoring.findings import Finding, failed, listed, one_line, passed, skipped

VERSION_NOT_SUPPORTED: Final = -32009  # specification 5.4
TASK_NOT_FOUND: Final = -32001
_UNKNOWN_VERSION: Final = "9.9"
# Specification 4.4.1, without `skills`, which protobuf's JSON leaves out when there are none.
_REQUIRED: Final = (
    "name",
    "description",
    "version",
    "capabilities",
    "defaultInputModes",
    "defaultOutputModes",
)


async def card(exam: Exam) -> AsyncGenerator[Finding, None]:
    """Is there a card that a client can use. Without one nothing else is looked at."""
    reply = await exam.http("GET", exam.card_url)
    if reply.status == 404 and exam.card_url.endswith(CARD_PATH):
        exam.card_url = exam.card_url.removesuffix(CARD_PATH) + OLD_CARD_PATH
        reply = await exam.http("GET", exam.card_url)
    if reply.status != 200:
        todo = f"serve the card at {CARD_PATH} to everybody, without a login"
        yield failed("card", f"HTTP {reply.status} at {exam.card_url}", todo)
        return
    try:
        exam.card = read_card("agent", exam.url, reply.body)
    except AgentCardError as exc:
        yield failed("card", one_line(exc), "mend the card: clients cannot call this agent")
        return
    exam.raw_card = reply.json
    spoken = exam.card.interface
    missing = [name for name in _REQUIRED if name not in exam.raw_card]
    if missing:
        yield failed("card", f"it lacks {listed(missing)}", "add what A2A requires of every card")
    else:
        reason = f"{one_line(exam.card.name, 60)}, {spoken.binding} {spoken.version}"
        yield passed("card", reason)
    yield _interfaces(exam)
    yield await _caching(exam, reply)


def _interfaces(exam: Exam) -> Finding:
    card = exam.raw_card
    offered = [
        *objects(card.get("supportedInterfaces")),
        *objects(card.get("additionalInterfaces")),
    ]
    urls = [str(one.get("url")) for one in (*offered, card) if one.get("url")]
    away = sorted({origin_text(url) for url in urls if not _same_origin(url, exam.url)})
    if away:
        todo = "advertise the address clients reach: credentials are sent to no other origin"
        return failed("interfaces", f"it sends callers to {listed(away)}", todo)
    return passed("interfaces", f"{len(urls)} on the card's own origin")


def _same_origin(url: str, base_url: str) -> bool:
    try:
        return "://" not in url or origin_of(url) == origin_of(base_url)
    except ValueError:
        return False


async def _caching(exam: Exam, reply: Reply) -> Finding:
    etag = reply.headers.get("etag")
    if etag is None:
        todo = "send an ETag and Cache-Control with the card, so clients need not fetch it anew"
        return failed("card_cache", "the card comes without an ETag", todo)
    again = await exam.http("GET", exam.card_url, headers={"If-None-Match": etag})
    if again.status != 304:
        reason = f"If-None-Match with its own ETag is answered with HTTP {again.status}"
        return failed("card_cache", reason, "answer 304 when the ETag still is the card's")
    lasting = reply.headers.get("cache-control")
    return passed("card_cache", f"ETag, 304, Cache-Control: {one_line(lasting or 'none', 60)}")


# -- who is let in -------------------------------------------------------------------------------


async def login(exam: Exam) -> AsyncGenerator[Finding, None]:
    """Strangers are turned away where the card asks for a login, and only there."""
    asks = bool(exam.raw_card.get("securityRequirements") or exam.raw_card.get("security"))
    stranger = await _refused_as(exam, {})
    if stranger is None and not asks:
        open_ = "its card asks for no login and it needs none"
        todo = "fine on this machine; elsewhere anybody could run it"
        yield skipped("login_missing", open_, todo)
        yield skipped("login_wrong", open_)
    else:
        todo = "answer 401 to a call without credentials, before anything else is looked at"
        yield _turned_away("login_missing", "without a token", stranger, (401,), todo)
        wrong = await _refused_as(exam, {"Authorization": f"Bearer wrong-{uuid.uuid4().hex}"})
        todo = "answer 401 (or 403) to a token that is not valid"
        yield _turned_away("login_wrong", "with a wrong token", wrong, (401, 403), todo)
        if stranger is not None and not asks:
            todo = "name the scheme in securitySchemes and securityRequirements"
            yield failed("login_card", "it asks for a login that its card does not tell of", todo)
    own = await _refused_as(exam, None)
    if own is not None:
        todo = "give its token with --token env:NAME or --token file:/path"
        exam.card = None if own in (401, 403) else exam.card
        yield failed("login", f"HTTP {own} with the credentials given", todo)


def _turned_away(
    check: str, how: str, status: int | None, right: tuple[int, ...], todo: str
) -> Finding:
    if status in right:
        return passed(check, f"HTTP {status} {how}")
    what = "it answers" if status is None else f"HTTP {status}"
    return failed(check, f"{what} {how}", todo)


async def _refused_as(exam: Exam, login: dict[str, str] | None) -> int | None:
    """The status with which a harmless call is turned away; None when it is answered."""
    headers = exam.link.headers if login is None else login
    link = Link(agent=exam.link.agent, client=exam.link.client, headers=headers)
    endpoint = endpoint_for(link, exam.url, exam.known)
    try:
        await endpoint.call("GetTask", {"id": str(uuid.uuid4())})
    except AgentUnauthorizedError as exc:
        return exc.status
    except AgentRefusedError:
        return None
    return None


# -- versions and refusals -----------------------------------------------------------------------


async def versions(exam: Exam) -> AsyncGenerator[Finding, None]:
    """The header A2A-Version is read."""
    if not exam.plain:
        yield skipped("version_unknown", _not_plain(exam))
        yield skipped("version_missing", _not_plain(exam))
        return
    asked = {"id": str(uuid.uuid4())}
    unknown = await exam.rpc("GetTask", asked, version=_UNKNOWN_VERSION)
    yield _coded(
        "version_unknown",
        f"A2A-Version: {_UNKNOWN_VERSION}",
        unknown,
        (VERSION_NOT_SUPPORTED,),
        "refuse versions that are not spoken with VersionNotSupportedError",
    )
    # No header means 0.3 (specification 3.6.2): it is spoken, or refused as not spoken.
    missing = await exam.rpc("GetTask", asked, version=None)
    right = (VERSION_NOT_SUPPORTED, TASK_NOT_FOUND, -32601)
    todo = "take a call without A2A-Version for 0.3, or refuse it with VersionNotSupportedError"
    yield _coded("version_missing", "no A2A-Version", missing, right, todo)


async def refusals(exam: Exam) -> AsyncGenerator[Finding, None]:
    """Errors have the codes that clients tell them by."""
    try:
        await exam.endpoint.call("GetTask", {"id": str(uuid.uuid4())})
        yield failed(
            "error_unknown_task", "a task that never was is found", "answer TaskNotFoundError"
        )
    except AgentRefusedError as exc:
        told = f"{exc.rpc_code} for a task that never was"
        if exc.rpc_code == TASK_NOT_FOUND:
            yield passed("error_unknown_task", told)
        else:
            todo = f"answer TaskNotFoundError ({TASK_NOT_FOUND})"
            yield failed("error_unknown_task", told, todo)
    names = ("error_unknown_method", "error_invalid_json", "error_invalid_params")
    if not exam.plain:
        for name in names:
            yield skipped(name, _not_plain(exam))
        return
    todo = "answer with the code of JSON-RPC 2.0, section 5.1"
    reply = await exam.rpc("NoSuchMethod", {})
    yield _coded(names[0], "an unknown method", reply, (-32601,), todo)
    reply = await exam.post(b'{"jsonrpc": "2.0", "id": 1, "method"')
    yield _coded(names[1], "half a request", reply, (-32700,), todo)
    reply = await exam.rpc("SendMessage", {"message": "no object"})
    yield _coded(names[2], "a message that is none", reply, (-32602,), todo)


def _coded(check: str, what: str, reply: Reply, right: tuple[int, ...], todo: str) -> Finding:
    code: object = reply.error.get("code")
    if code in right:
        return passed(check, f"{code} for {what}")
    if code is None:
        got = "a result" if "result" in reply.json else f"HTTP {reply.status} without an error"
        return failed(check, f"{got} for {what}", todo)
    return failed(check, f"{one_line(code, 20)} for {what}, not {right[0]}", todo)


def _not_plain(exam: Exam) -> str:
    spoken = exam.known.interface
    return f"looked at over JSON-RPC 1.x only; it is called by {spoken.binding} {spoken.version}"
