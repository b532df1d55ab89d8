"""Whether a foreign agent's answer is what the run's output_schema asks for. Pure.

Our own agents answer for that themselves; these were only told so in words, and may wrap the JSON
in some. Knows no run.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.core import json
from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject

_FENCE: Final = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
FAULT_MAX: Final = 500  # characters; a fault may quote the whole output


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """Why no part of the answer fits."""

    fault: str


def checked(end: RunCompleted, schema: JsonObject, texts: Sequence[str]) -> RunCompleted | Misfit:
    """The end with the output that fits, wherever in the answer it stands; `texts` are those of it
    beside the final response."""
    # Inline: JSON Schema takes 20 ms to import, and few runs of such agents ask for it.
    from gateway.core.structured import fault_of_output  # noqa: PLC0415

    fault: str | None = None
    for output in _outputs(end, texts):
        wrong = fault_of_output(output, schema)
        if wrong is None:
            return replace(end, structured_output=output)
        fault = fault or wrong
    return Misfit(fault=(fault or "it holds no JSON")[:FAULT_MAX])


def _outputs(end: RunCompleted, texts: Sequence[str]) -> Iterator[Any]:
    if end.structured_output is not None:
        yield end.structured_output
    for text in dict.fromkeys([(end.final_response or ""), *texts]):
        for candidate in (text, *reversed(_FENCE.findall(text))):
            try:
                yield json.decode(candidate)
            except ValueError:
                continue
