"""How a run of Claude Code ended: its results -> the terminal event, and what it used.

Pure. The CLI counts cost and tokens by model over a whole session, across processes where it could
save them; a run's share is the difference to the totals before it.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

from claude_agent_sdk import ResultMessage

from gateway.core.events import (
    AuthRequired,
    Event,
    Rejected,
    RunCompleted,
    RunFailed,
    StatusChanged,
)
from gateway.core.json import JsonObject, as_object, merge_null
from gateway.core.status import RunStatus
from gateway.core.structured import artifact, fault_of_output
from wrappers.claude.events import AUTH_ERRORS, AUTH_STATUSES, Reading

# ResultMessage.subtype -> our reason codes; `success` with is_error is an API failure.
REASONS: Final = {
    "success": "api_error",
    "error_during_execution": "agent_error",
    "error_max_turns": "max_turns",
    "error_max_budget_usd": "budget",
    "error_max_structured_output_retries": "schema_mismatch",
}
_LOG_IN: Final = (
    "Claude Code is not logged in ({why}); run `claude auth login` as the wrapper's user, or start "
    "the wrapper with ANTHROPIC_API_KEY set, then send any message to this run to retry"
)
_PAY: Final = (
    "Anthropic refuses the account ({why}); settle that at "
    "https://console.anthropic.com/settings/billing, then send any message to this run to retry"
)
# Facts about a model beside its counters.
_LIMITS: Final = frozenset({"contextWindow", "maxOutputTokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a session has used so far, as the CLI last counted it."""

    cost_usd: float = 0.0
    api_ms: float = 0.0
    models: JsonObject | None = None

    def to_json(self) -> JsonObject:
        return {"cost_usd": self.cost_usd, "api_ms": self.api_ms, "models": self.models or {}}


def read_totals(data: JsonObject) -> Totals:
    return Totals(
        cost_usd=float(data.get("cost_usd") or 0),
        api_ms=float(data.get("api_ms") or 0),
        models=as_object(data.get("models")),
    )


def totals_after(before: Totals, results: list[ResultMessage]) -> Totals:
    """The totals that the last result states; those from before where it states none."""
    if not results:
        return before
    last = results[-1]
    return Totals(
        cost_usd=before.cost_usd if last.total_cost_usd is None else last.total_cost_usd,
        api_ms=last.duration_api_ms,
        models=cast("JsonObject", last.model_usage) or before.models,
    )


def usage_of(results: list[ResultMessage], before: Totals) -> JsonObject | None:
    """What one run used, of the results of its turns. None when it came to no result."""
    if not results:
        return None
    after, last = totals_after(before, results), results[-1]
    turns: JsonObject = {}
    for result in results:
        turns = _add(turns, result.usage or {})
    models = {
        name: _since(as_object(counts), as_object((before.models or {}).get(name)))
        for name, counts in (after.models or {}).items()
    }
    return merge_null(
        {
            "usage": turns,
            "model_usage": {name: counts for name, counts in models.items() if _used(counts)},
            "total_cost_usd": round(_grown(after.cost_usd, before.cost_usd), 9),
            "duration_ms": sum(result.duration_ms for result in results),
            "duration_api_ms": _grown(after.api_ms, before.api_ms),
            "num_turns": sum(result.num_turns for result in results),
            "stop_reason": last.stop_reason,
        }
    )


def _grown(after: float, before: float) -> float:
    """A CLI that could not restore its totals (the last turn was cut off) counts from 0 again."""
    return after - before if after >= before else after


def _since(after: JsonObject, before: JsonObject) -> JsonObject:
    return {
        key: _grown(value, before[key])
        if _is_number(value) and _is_number(before.get(key)) and key not in _LIMITS
        else value
        for key, value in after.items()
    }


def _used(counts: JsonObject) -> bool:
    return any(_is_number(value) and value for key, value in counts.items() if key not in _LIMITS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _add(left: JsonObject, right: JsonObject) -> JsonObject:
    """Counters added, all else as the right one says."""
    merged = dict(left)
    for key, value in right.items():
        if isinstance(value, dict):
            merged[key] = _add(as_object(left.get(key)), cast("JsonObject", value))
        elif _is_number(value) and _is_number(left.get(key)):
            merged[key] = left[key] + value
        else:
            merged[key] = value
    return merged


# -- the end -----------------------------------------------------------------------------------


def cancelled(usage: JsonObject | None = None) -> StatusChanged:
    extra = merge_null({"usage": usage})
    return StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller", extra=extra)


def conclude(reading: Reading, *, schema: JsonObject | None, before: Totals) -> list[Event]:
    """The last events of a run that was not cancelled; the very last is terminal, or auth_required.

    The last result speaks for the run; `schema` is what its structured output has to fit.
    """
    end = _end(reading, schema, before)
    if isinstance(end, RunCompleted) and schema is not None:
        return [artifact(end.structured_output), end]
    return [end]


def _end(reading: Reading, schema: JsonObject | None, before: Totals) -> Event:
    usage = usage_of(reading.results, before)
    succeeded = any(not result.is_error for result in reading.results[-1:])
    if reading.auth is not None and not succeeded:
        why = str(reading.auth.get("error") or reading.auth.get("error_status") or "refused")
        return AuthRequired(text=_LOG_IN.format(why=why), extra=reading.auth)
    if not reading.results:
        return RunFailed(message="Claude Code ended without a result", reason="agent_lost")
    last = reading.results[-1]
    if reading.refusal is not None or last.stop_reason == "refusal":
        extra = {**(reading.refusal or {}), **merge_null({"usage": usage})}
        message = last.result or "Claude refused the request"
        return Rejected(message=message, reason="refusal", extra=extra)
    if last.is_error:
        return _failure(reading, last, usage)
    if schema is not None and (fault := fault_of_output(last.structured_output, schema)):
        return RunFailed(
            message=f"the structured output does not fit output_schema: {fault}",
            reason="schema_mismatch",
            usage=usage,
            extra=merge_null(
                {"final_response": last.result, "structured_output": last.structured_output}
            ),
        )
    return RunCompleted(
        final_response=last.result,
        structured_output=last.structured_output,
        usage=usage,
        extra=merge_null({"permission_denials": last.permission_denials or None}),
    )


def _failure(reading: Reading, last: ResultMessage, usage: JsonObject | None) -> Event:
    text = last.result or "; ".join(last.errors or ()) or last.subtype
    if last.api_error_status in AUTH_STATUSES or reading.api_error in AUTH_ERRORS:
        extra = merge_null({"error": reading.api_error, "error_status": last.api_error_status})
        say = _PAY if reading.api_error == "billing_error" else _LOG_IN
        return AuthRequired(text=say.format(why=text), extra=extra)
    return RunFailed(
        message=text,
        reason=REASONS.get(last.subtype, "agent_error"),
        usage=usage,
        extra=merge_null(
            {
                "api_error_status": last.api_error_status,
                "assistant_error": reading.api_error,
                "terminal_reason": last.terminal_reason,
            }
        ),
    )
