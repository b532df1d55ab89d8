"""How a Codex turn ended -> the run's last event; Codex's error kinds in our reason codes.

Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from jsonschema import exceptions, validators

from gateway.core import json
from gateway.core.events import AuthRequired, Event, Rejected, RunCompleted, RunFailed
from gateway.core.json import JsonObject, as_object

# codexErrorInfo -> reason code of run_failed.
REASONS: Final[Mapping[str, str]] = {
    "activeTurnNotSteerable": "agent_error",
    "badRequest": "bad_request",
    "contextWindowExceeded": "context_window_exceeded",
    "cyberPolicy": "policy",
    "flexUnavailable": "overloaded",
    "httpConnectionFailed": "model_unreachable",
    "internalServerError": "model_error",
    "misalignmentPolicyViolation": "policy",
    "modelNotFound": "model_not_found",
    "other": "agent_error",
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
REFUSALS: Final = frozenset({"cyberPolicy", "misalignmentPolicyViolation"})
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

_LOGIN: Final = (
    "run `codex login` as the user of this wrapper, or start it with OPENAI_API_KEY set; "
    "then send any message to try again"
)


class Usage:
    """One run's tokens: the thread's totals less what they were before the run's first answer."""

    def __init__(self) -> None:
        self._before: JsonObject | None = None
        self._total: JsonObject = {}

    def take(self, usage: JsonObject) -> None:
        """`thread/tokenUsage/updated`: the thread's total, and the last answer's share of it."""
        self._total, last = as_object(usage.get("total")), as_object(usage.get("last"))
        if self._before is None:
            self._before = {key: self._total.get(key, 0) - last.get(key, 0) for key in USAGE}

    def to_json(self) -> JsonObject | None:
        if self._before is None:
            return None
        return {name: self._total.get(key, 0) - self._before[key] for key, name in USAGE.items()}


def error_kind(error: Mapping[str, Any]) -> tuple[str, int | None]:
    """The kind of a turn's error and the HTTP status behind it, where there is one."""
    info: object = error.get("codexErrorInfo")
    if isinstance(info, dict) and info:
        kind, detail = next(iter(cast("dict[str, object]", info).items()))
        status = as_object(detail).get("httpStatusCode")
        return kind, status if isinstance(status, int) else None
    return (info if isinstance(info, str) else "other"), None


def not_logged_in(why: str = "codex is not logged in") -> AuthRequired:
    return AuthRequired(text=f"{why}: {_LOGIN}")


def failed(error: JsonObject, usage: JsonObject | None) -> Event:
    """The event of a turn that failed: auth_required, rejected or run_failed."""
    kind, status = error_kind(error)
    message = str(error.get("message") or "codex gave no reason")
    if kind == "unauthorized" or status in UNAUTHORIZED:
        return not_logged_in(f"codex's credentials were refused ({message})")
    if kind in REFUSALS:
        return Rejected(message=message, reason=REASONS[kind])
    reason = REASONS.get(kind, "agent_error")
    extra: JsonObject = {"error_kind": kind, "retryable": reason in RETRYABLE}
    if status is not None:
        extra["http_status"] = status
    return RunFailed(message=message, reason=reason, usage=usage, extra=extra)


def completed(final: str | None, schema: JsonObject | None, usage: JsonObject | None) -> Event:
    """run_completed with the final answer, parsed where it is JSON; checked against `schema`."""
    value, text = _parsed(final)
    if schema is not None and (mismatch := text or _mismatch(value, schema)):
        return RunFailed(
            message=f"the final answer does not fit output_schema: {mismatch}",
            reason="schema_mismatch",
            usage=usage,
            extra={"final_response": final},
        )
    return RunCompleted(final_response=final, structured_output=value, usage=usage)


def check_schema(schema: JsonObject) -> str | None:
    """What is wrong with a JSON Schema; None when nothing is."""
    try:
        validators.validator_for(schema).check_schema(schema)
    except exceptions.SchemaError as exc:
        return exc.message
    return None


def _parsed(final: str | None) -> tuple[Any, str | None]:
    if not final:
        return None, "there is none"
    try:
        return json.decode(final), None
    except ValueError:
        return None, "it is not JSON"


def _mismatch(value: Any, schema: JsonObject) -> str | None:
    errors: Iterator[exceptions.ValidationError] = validators.validator_for(schema)(
        schema
    ).iter_errors(value)
    error = next(errors, None)
    return None if error is None else f"{error.json_path}: {error.message}"
