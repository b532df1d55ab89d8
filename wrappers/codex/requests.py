"""What Codex asks its client -> pending requests, and their answers -> Codex's replies, by tables.

Pure. A method that is not in the table is refused; Codex then fails closed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    PERMISSION_OPTIONS,
    Answer,
    Option,
    PendingRequest,
    Question,
    QuestionOption,
)
from gateway.core.json import JsonObject, as_object, merge_null
from wrappers.codex.terms import ASK_TOOL, QUESTION_ID

DECISIONS: Final[Mapping[str, str]] = {
    ALLOW: "accept",
    ALLOW_SESSION: "acceptForSession",
    DENY: "decline",
    ABORT: "cancel",
}
# An elicitation knows no session-wide answer of its own: `persist` says it (see `_elicited`).
ACTIONS: Final[Mapping[str, str]] = {
    ALLOW: "accept",
    ALLOW_SESSION: "accept",
    DENY: "decline",
    ABORT: "cancel",
}
_NO_ABORT: Final = PERMISSION_OPTIONS[:3]
_YES_NO: Final = (Option(id=ALLOW, label="Done"), Option(id=DENY, label="Decline"))

ToPending: TypeAlias = Callable[[str, JsonObject, list[JsonObject]], "PendingRequest | None"]
ToReply: TypeAlias = Callable[[JsonObject, Answer], JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An open request of Codex: what the caller sees, and what makes a reply of an answer."""

    pending: PendingRequest
    rpc_id: int | str
    method: str
    params: JsonObject
    author: str | None = None
    item_id: str | None = None  # what it is about, where that is known

    def reply(self, answer: Answer) -> JsonObject:
        return METHODS[self.method][1](self.params, answer)

    def reason(self, answer: Answer) -> str | None:
        """What a denial says beyond no: Codex's decision has no room for it."""
        if self.pending.kind == "permission" and answer.choice == DENY:
            return answer.message
        return None


def ask(
    method: str,
    params: JsonObject,
    rpc_id: int | str,
    *,
    changes: list[JsonObject],
    author: str | None = None,
    item_id: str | None = None,
) -> Asked | None:
    """The open request a server request is; None when it is none that a caller can answer.

    `changes` are those of the patch under review: its request does not repeat them. `author` is
    the sub-agent that asks.
    """
    if method not in METHODS:
        return None
    # JSON-RPC ids start anew with every process; the turn's id makes ours one of a kind.
    turn = str(params.get("turnId") or params.get("threadId"))
    pending = METHODS[method][0](f"{turn[-12:]}-{rpc_id}", params, changes)
    if pending is None:
        return None
    return Asked(
        pending=pending.model_copy(update={"agent": author}),
        rpc_id=rpc_id,
        method=method,
        params=params,
        author=author,
        item_id=item_id,
    )


# -- permissions -------------------------------------------------------------------------------


def _command(request_id: str, params: JsonObject, _: list[JsonObject]) -> PendingRequest:
    command, reason = str(params.get("command") or ""), params.get("reason")
    asked = {
        "command": command or None,
        "cwd": params.get("cwd"),
        "reason": reason,
        "network": params.get("networkApprovalContext"),
        "permissions": params.get("additionalPermissions"),
    }
    return PendingRequest(
        request_id=request_id,
        kind="permission",
        title="Run a command",
        text=f"Run {command}?" + (f" ({reason})" if reason else ""),
        tool="shell",
        input=merge_null(asked),
        options=PERMISSION_OPTIONS,
    )


def _patch(request_id: str, params: JsonObject, changes: list[JsonObject]) -> PendingRequest:
    reason = params.get("reason")
    paths = ", ".join(str(change.get("path")) for change in changes) or "files"
    return PendingRequest(
        request_id=request_id,
        kind="permission",
        title="Change files",
        text=f"Change {paths}?" + (f" ({reason})" if reason else ""),
        tool="apply_patch",
        input=merge_null({"changes": changes, "grant_root": params.get("grantRoot")}),
        options=PERMISSION_OPTIONS,
    )


def _decided(params: JsonObject, answer: Answer) -> JsonObject:
    return {"decision": DECISIONS.get(answer.choice or DENY, "decline")}


def _permissions(request_id: str, params: JsonObject, _: list[JsonObject]) -> PendingRequest:
    return PendingRequest(
        request_id=request_id,
        kind="permission",
        title="Grant permissions",
        text=str(params.get("reason") or "Grant more permissions?"),
        tool="request_permissions",
        input=merge_null({"permissions": params.get("permissions"), "cwd": params.get("cwd")}),
        options=_NO_ABORT,
    )


def _granted(params: JsonObject, answer: Answer) -> JsonObject:
    allowed = answer.choice in (ALLOW, ALLOW_SESSION)
    return {
        "permissions": merge_null(as_object(params.get("permissions"))) if allowed else {},
        "scope": "session" if answer.choice == ALLOW_SESSION else "turn",
    }


# -- questions ---------------------------------------------------------------------------------


def _questions(request_id: str, params: JsonObject, _: list[JsonObject]) -> PendingRequest:
    questions = tuple(map(_question, map(as_object, params.get("questions") or ())))
    return PendingRequest(
        request_id=request_id,
        kind="question",
        title=questions[0].header if questions else None,
        text="\n".join(question.question for question in questions) or "Codex asks",
        tool="request_user_input",
        questions=questions,
    )


def _question(raw: JsonObject) -> Question:
    options = map(as_object, raw.get("options") or ())
    return Question(
        id=str(raw.get("id")),
        question=str(raw.get("question") or ""),
        header=raw.get("header") or None,
        options=tuple(
            QuestionOption(
                label=str(option.get("label")), description=option.get("description") or None
            )
            for option in options
        ),
    )


def _answered(params: JsonObject, answer: Answer) -> JsonObject:
    given = dict(answer.answers or {})
    if not given and (said := answer.message or answer.choice):
        given = {str(as_object(raw).get("id")): said for raw in params.get("questions") or ()}
    return {"answers": {key: {"answers": _texts(value)} for key, value in given.items()}}


def _texts(value: object) -> list[str]:
    return list(map(str, cast("list[object]", value))) if isinstance(value, list) else [str(value)]


def _tool_call(request_id: str, params: JsonObject, _: list[JsonObject]) -> PendingRequest | None:
    if params.get("tool") != ASK_TOOL:
        return None
    arguments = as_object(params.get("arguments"))
    question = str(arguments.get("question") or "Codex asks")
    options = tuple(QuestionOption(label=str(label)) for label in arguments.get("options") or ())
    return PendingRequest(
        request_id=request_id,
        kind="question",
        title="Question",
        text=question,
        tool=ASK_TOOL,
        questions=(Question(id=QUESTION_ID, question=question, options=options),),
    )


def _tool_answered(params: JsonObject, answer: Answer) -> JsonObject:
    given = dict(answer.answers or {})
    values = [text for value in given.values() for text in _texts(value)]
    text = "\n".join(values) or answer.message or answer.choice or ""
    return {"success": True, "contentItems": [{"type": "inputText", "text": text}]}


# -- MCP servers that ask ----------------------------------------------------------------------


def _elicitation(request_id: str, params: JsonObject, _: list[JsonObject]) -> PendingRequest | None:
    text = str(params.get("message") or "An MCP server asks")
    server, meta = str(params.get("serverName")), as_object(params.get("_meta"))
    if meta.get("codex_approval_kind") == "mcp_tool_call":
        return PendingRequest(
            request_id=request_id,
            kind="permission",
            title="Use a tool",
            text=text,
            tool=".".join((server, str(meta.get("tool_name") or "tool"))),
            input=as_object(meta.get("tool_params")),
            options=PERMISSION_OPTIONS,
        )
    match params.get("mode"):
        case "url":
            where: JsonObject = {"url": params.get("url"), "server": server}
            return PendingRequest(
                request_id=request_id, kind="url", text=text, input=where, options=_YES_NO
            )
        case "form" | "openai/form" | "openaiForm":
            form: JsonObject = {"schema": params.get("requestedSchema"), "server": server}
            return PendingRequest(request_id=request_id, kind="form", text=text, input=form)
        case _:
            return None


def _elicited(params: JsonObject, answer: Answer) -> JsonObject:
    default = ALLOW if answer.answers is not None else DENY
    action = ACTIONS.get(answer.choice or default, "decline")
    content: Any = (answer.answers or {}) if action == "accept" else None
    meta = {"persist": "session"} if answer.choice == ALLOW_SESSION else None
    return {"action": action, "content": content, "_meta": meta}


METHODS: Final[Mapping[str, tuple[ToPending, ToReply]]] = {
    "item/commandExecution/requestApproval": (_command, _decided),
    "item/fileChange/requestApproval": (_patch, _decided),
    "item/permissions/requestApproval": (_permissions, _granted),
    "item/tool/requestUserInput": (_questions, _answered),
    "item/tool/call": (_tool_call, _tool_answered),
    "mcpServer/elicitation/request": (_elicitation, _elicited),
}
# Requests that only a client with other capabilities than ours has to serve.
REFUSED: Final = frozenset(
    {
        "account/chatgptAuthTokens/refresh",
        "applyPatchApproval",
        "attestation/generate",
        "currentTime/read",
        "execCommandApproval",
    }
)
