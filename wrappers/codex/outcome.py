"""How a Codex turn ended -> the run's last event; Codex's error kinds in our reason codes.

Pure.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.events import (
    AuthRequired,
    Event,
    Rejected,
    RunCompleted,
    RunFailed,
    StatusChanged,
)
from gateway.core.json import JsonObject, as_object
from gateway.core.status import RunStatus
from gateway.core.structured import fault_of_output

# codexErrorInfo -> reason code of run_failed.
REASONS: Final[Mapping[str, str]] = {
    "activeTurnNotSteerable": "agent_error",
    "badRequest": "bad_request",
    "contextWindowExceeded": "context_window_exceeded",
    "cyberPolicy": "policy",
    "flexUnavailable": "overloaded",
    "httpConnectionFailed": "model_unreachable",
    "inferenceHookDenied": "policy",
    "internalServerError": "model_error",
    "misalignmentPolicyViolation": "policy",
    "modelNotFound": "model_not_found",
    "other": "agent_error",
    "policyCapacityUnavailable": "overloaded",
    "rateLimitExceeded": "rate_limited",
    "responseStreamConnectionFailed": "model_unreachable",
    "responseStreamDisconnected": "model_unreachable",
    "responseTooManyFailedAttempts": "model_unreachable",
    "sandboxError": "sandbox_error",
    "serverOverloaded": "overloaded",
    "sessionBudgetExceeded": "budget",
    "threadRollbackFailed": "agent_error",
    "tooManyDenials": "too_many_denials",
    "unauthorized": "unauthorized",
    "usageLimitExceeded": "usage_limit",
}
REFUSALS: Final = frozenset({"cyberPolicy", "inferenceHookDenied", "misalignmentPolicyViolation"})
RETRYABLE: Final = frozenset({"model_unreachable", "model_error", "overloaded", "rate_limited"})
UNAUTHORIZED: Final = frozenset({401, 403})

# Codex's name of a count -> ours, which is the one `codex exec` prints.
USAGE: Final[Mapping[str, str]] = {
    "inputTokens": "input_tokens",
    "cachedInputTokens": "cached_input_tokens",
    "cacheWriteInputTokens": "cache_write_input_tokens",
    "outputTokens": "output_tokens",
    "reasoningOutputTokens": "reasoning_output_tokens",
    "totalTokens": "total_tokens",
}

MISSING_VARIABLE: Final = "Missing environment variable"

_LOGIN: Final = (
    "run `codex login` as the user of this wrapper, or start it with OPENAI_API_KEY set; "
    "then send any message to try again"
)
_VARIABLE: Final = (
    "start the wrapper with {0} set and named in A2A_AGENT_PASS_ENV; "
    "then send any message to try again"
)


class Usage:
    """One run's tokens: the thread's totals less what they were before the run's first answer.

    `before` are those first totals, None until they are known; to be set where a run goes on that
    an earlier process began.
    """

    def __init__(self) -> None:
        self.before: JsonObject | None = None
        self._total: JsonObject | None = None

    def take(self, usage: JsonObject) -> None:
        """`thread/tokenUsage/updated`: the thread's total, and the last answer's share of it."""
        self._total = total = as_object(usage.get("total"))
        last = as_object(usage.get("last"))
        if self.before is None:
            self.before = {key: total.get(key, 0) - last.get(key, 0) for key in USAGE}

    def to_json(self) -> JsonObject | None:
        if self.before is None or self._total is None:
            return None
        total, before = self._total, self.before
        return {name: total.get(key, 0) - before.get(key, 0) for key, name in USAGE.items()}


def error_kind(error: Mapping[str, Any]) -> tuple[str, int | None]:
    """The kind of a turn's error and the HTTP status behind it, where there is one."""
    info: object = error.get("codexErrorInfo")
    if isinstance(info, dict) and info:
        kind, detail = next(iter(cast("dict[str, object]", info).items()))
        status = as_object(detail).get("httpStatusCode")
        return kind, status if isinstance(status, int) else None
    return (info if isinstance(info, str) else "other"), None


def not_logged_in(why: str = "codex is not logged in", variable: str | None = None) -> AuthRequired:
    """`variable` is what the model's provider takes its key from, where it has one of its own."""
    return AuthRequired(text=f"{why}: {_VARIABLE.format(variable) if variable else _LOGIN}")


def unauthorized(error: JsonObject, variable: str | None = None) -> AuthRequired | None:
    """What an error says that only other credentials can mend; None for any other error."""
    kind, status = error_kind(error)
    message = str(error.get("message") or "")
    if message.startswith(MISSING_VARIABLE):
        named = message.partition("`")[2].partition("`")[0] or variable
        return not_logged_in("codex has no credentials for its model", named)
    if kind != "unauthorized" and status not in UNAUTHORIZED:
        return None
    said = f"HTTP {status}" if status is not None else message
    return not_logged_in(f"codex's credentials were refused ({said})", variable)


def failed(error: JsonObject, usage: JsonObject | None) -> Event:
    """The event of a turn that failed: auth_required, rejected or run_failed."""
    if (refused := unauthorized(error)) is not None:
        return refused
    kind, status = error_kind(error)
    message = str(error.get("message") or "codex gave no reason")
    if kind in REFUSALS:
        return Rejected(message=message, reason=REASONS[kind])
    reason = REASONS.get(kind, "agent_error")
    extra: JsonObject = {"error_kind": kind, "retryable": reason in RETRYABLE}
    if status is not None:
        extra["http_status"] = status
    return RunFailed(message=message, reason=reason, usage=usage, extra=extra)


def completed(final: str | None, schema: JsonObject | None, usage: JsonObject | None) -> Event:
    """run_completed with the final answer, parsed where it is JSON; checked against `schema`."""
    if schema is not None and (fault := mismatch(final, schema)):
        return RunFailed(
            message=f"the final answer does not fit output_schema: {fault}",
            reason="schema_mismatch",
            usage=usage,
            extra={"final_response": final},
        )
    value, _ = _parsed(final)
    return RunCompleted(final_response=final, structured_output=value, usage=usage)


def lost(why: str, usage: JsonObject | None = None) -> RunFailed:
    """The end of a run whose process, or whose thread, was gone."""
    return RunFailed(
        message=f"{why}; send a message in the same session to go on",
        reason="interrupted",
        usage=usage,
        extra={"retryable": True},
    )


def refused(why: str) -> RunFailed:
    """The end of a run that Codex did not take."""
    if "maximum length" in why:  # 1,048,576 characters, in 0.169
        why = f"{why} Put what is longer into a file in cwd and say its path."
    return RunFailed(message=why, reason="agent_refused", extra={"retryable": False})


def cancelled(reason: str) -> StatusChanged:
    return StatusChanged(status=RunStatus.CANCELLED, reason=reason)


def mismatch(final: str | None, schema: JsonObject) -> str | None:
    """Why the final answer is not what was asked for; None when it is."""
    value, fault = _parsed(final)
    return fault or fault_of_output(value, schema)


def _parsed(final: str | None) -> tuple[Any, str | None]:
    if not final:
        return None, "there is none"
    try:
        return json.decode(final), None
    except ValueError:
        return None, "it is not JSON"
