"""Labels as rows: what callers call their runs, to find them again by. Pure."""

from typing import Any

from gateway.core.record import Run


def label_rows(run: Run) -> list[dict[str, Any]]:
    """The rows of a run's labels."""
    return [
        {
            "principal": run.principal,
            "key": key,
            "value": value,
            "created_at": run.created_at,
            "run_id": run.id,
        }
        for key, value in (run.request.labels or {}).items()
    ]
