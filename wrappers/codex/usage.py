"""The tokens of a run whose agent may have had sub-agents: the sum of what each of them used.

Pure.
"""

from collections import Counter
from collections.abc import Iterable

from gateway.core.json import JsonObject
from wrappers.codex.outcome import Usage


def summed(usages: Iterable[Usage]) -> JsonObject | None:
    """None while nothing is known of any.

    The total is ours: Codex sets its own to the window's size when a conversation has outgrown it.
    """
    counts: Counter[str] = Counter()
    known = False
    for usage in usages:
        if (used := usage.to_json()) is not None:
            known = True
            counts.update(used)
    if not known:
        return None
    return {**counts, "total_tokens": counts["input_tokens"] + counts["output_tokens"]}
