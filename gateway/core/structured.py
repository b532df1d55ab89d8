"""Structured output: is the schema one, does an output fit it, and the artifact that it becomes.

Pure; knows no vendor and no run. What the wrappers hold their agents to, and the gateway foreign ones.
"""

from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator, exceptions, validators
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from gateway.core import json
from gateway.core.events import ArtifactAdded
from gateway.core.json import JsonObject

# One of our own: the default registry would fetch a `$ref` from wherever it points.
_REGISTRY: Final[Registry[Any]] = EMPTY_REGISTRY
ARTIFACT: Final = "structured-output"


def fault_of_schema(schema: JsonObject) -> str | None:
    """What is wrong with a JSON Schema; None when nothing is."""
    try:
        _kind(schema).check_schema(schema)
    except exceptions.SchemaError as exc:
        return f"no JSON Schema: at {exc.json_path} {exc.message}"
    return None


def fault_of_output(output: object, schema: JsonObject) -> str | None:
    """Why `output` is not what was asked for; None when it is."""
    if output is None:
        return "there is none"
    found: Iterator[exceptions.ValidationError]
    found = _kind(schema)(schema, registry=_REGISTRY).iter_errors(output)
    try:
        error = next(found, None)
    except (Unresolvable, RecursionError) as exc:
        return f"the schema cannot be applied ({type(exc).__name__}: a $ref leads nowhere)"
    return None if error is None else f"at {error.json_path} {error.message}"


def artifact(output: object) -> ArtifactAdded:
    """The event before the run_completed that has `output` too."""
    return ArtifactAdded(
        artifact_id=ARTIFACT,
        name=ARTIFACT,
        parts=[{"data": output, "mediaType": "application/json"}],
        text=json.encode(output),
    )


def _kind(schema: JsonObject) -> Any:
    return validators.validator_for(schema, default=Draft202012Validator)
