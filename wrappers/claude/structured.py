"""Structured output: is the schema one, does the output fit it, what is the model told if not.

Pure. The CLI checks too, but lets a model end without any output after one reminder.
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

_REPAIR: Final = (
    "Your structured output cannot be used: {fault}. Call the StructuredOutput tool once more, now "
    "with an object that fits the schema, and do nothing else."
)


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
    # A registry of its own: the default one would fetch a `$ref` from wherever it points.
    registry: Registry[Any] = EMPTY_REGISTRY
    errors: Iterator[exceptions.ValidationError]
    errors = _kind(schema)(schema, registry=registry).iter_errors(output)
    try:
        error = next(errors, None)
    except (Unresolvable, RecursionError) as exc:
        return f"the schema cannot be applied ({type(exc).__name__}: a $ref leads nowhere)"
    return None if error is None else f"at {error.json_path} {error.message}"


def _kind(schema: JsonObject) -> Any:
    return validators.validator_for(schema, default=Draft202012Validator)


def repair(fault: str) -> list[JsonObject]:
    """The message that asks for another output."""
    return [{"type": "text", "text": _REPAIR.format(fault=fault)}]


def artifact(output: object) -> ArtifactAdded:
    return ArtifactAdded(
        artifact_id="structured-output",
        name="structured-output",
        parts=[{"data": output, "mediaType": "application/json"}],
        text=json.encode(output),
    )
