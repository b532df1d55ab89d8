"""Argument models into the JSON Schema that models read, and their mistakes into one line.

Knows no tool. Schemas are the caller's context: titles, nulls and indirections are left out, and
limits stand in the descriptions, because some clients strip everything else.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeVar, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from gateway.core import json
from gateway.core.json import JsonObject
from mcp_bridge.errors import RefusedError
from mcp_bridge.values import INTEGER_MAX, check_structure, sayable

RESULT_BYTES: Final = 8192  # clients cut or hide what is longer than about 12,000 characters
RESULT_BYTES_MIN: Final = 1024
RESULT_BYTES_MAX: Final = 262_144

# Left out of what is published; the models check all of it.
_NOISE: Final = frozenset({"title", "default", "additionalProperties", "minLength", "maxLength"})

# What pydantic calls by its own classes, in words of JSON.
_TAKES: Final[Mapping[str, str]] = {
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "string_type": "a text",
}

A = TypeVar("A", bound="Arguments")


class Arguments(BaseModel):
    """A tool's arguments: flat, and nothing is taken that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, about: ValidationInfo) -> object:
        """Models send "5" and 5.0 for 5, which is clear enough; true is not."""
        if isinstance(value, bool) and not cls._takes_bool(str(about.field_name)):
            raise ValueError(f"takes no {str(value).lower()}")
        return value

    @classmethod
    def _takes_bool(cls, name: str) -> bool:
        annotation = cls.model_fields[name].annotation
        return annotation is bool or bool in get_args(annotation)

    @field_validator("*", mode="after")
    @classmethod
    def _of_32_bits(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > INTEGER_MAX:
            raise ValueError(f"a number of at most {INTEGER_MAX}")
        return value


def parse_text(value: object, about: ValidationInfo) -> object:
    """Some clients send objects as JSON text; what is no JSON is refused as what it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            read = json.decode(value)
        except ValueError:
            return value
        check_structure(about.field_name or "JSON in a text", read)
        return read
    return value


# An object of any members.
AnyObject = Annotated[dict[str, Any], BeforeValidator(parse_text)]
FromText: Final = BeforeValidator(parse_text)


def read_arguments(model: type[A], tool: str, values: Mapping[str, Any]) -> A:
    """The arguments of a call. Raises: RefusedError, one line that names the argument."""
    try:
        return model.model_validate(sayable(values))
    except ValidationError as exc:
        raise RefusedError(f"{tool}: {_describe(model, exc)}") from exc


def _describe(model: type[BaseModel], error: ValidationError) -> str:
    """The mistake to mend first: an unknown name explains a missing one, not the other way round."""
    found = error.errors(include_url=False, include_input=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    path = [str(part) for part in first["loc"]]
    where = ".".join(path)
    match first["type"]:
        case "extra_forbidden":
            *path, name = path
            known = _fields_at(model, path)
            meant = get_close_matches(_snake(name), known, 1)
            inside = f" in {'.'.join(path)}" if path else ""
            hint = f"; did you mean {meant[0]}?" if meant else f"; known: {', '.join(known)}"
            return f"unknown argument {name[:64]!r}{inside}{hint}"
        case "missing":
            missing = [".".join(map(str, one["loc"])) for one in found if one["type"] == "missing"]
            if len(missing) == 1:
                return f"argument {where!r} is missing"
            return f"arguments are missing: {', '.join(missing)}"
        case kind if kind in _TAKES:
            return f"{where} takes {_TAKES[kind]}{_members_said(model, path)}"
        case _:
            text = first["msg"].removeprefix("Value error, ")
            return f"{where}: {text}" if where else text


def _snake(name: str) -> str:
    """camelCase as the arguments are written."""
    return re.sub("(?<=[a-z0-9])([A-Z])", r"_\1", name[:64]).lower()


def _members_said(model: type[BaseModel], path: list[str]) -> str:
    """The members of the object that was meant, for who gave something else."""
    known = _fields_at(model, path)
    return f" {{{', '.join(known)}}}" if known else ""


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The field names of the (nested) object at `path`; not all of them are published."""
    for name in path:
        if name.isdecimal():
            continue  # an item of the list before it
        field = model.model_fields.get(name)
        inside = None if field is None else _model_in(field.annotation)
        if inside is None:
            return []
        model = inside
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field's type names, in a list or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def input_schema(model: type[BaseModel]) -> JsonObject:
    """The published schema of a tool's arguments: no references, closed."""
    schema = _compact(model.model_json_schema(), strict=True)
    schema.pop("description", None)
    return {**schema, "additionalProperties": False}


def output_schema(result: Any) -> JsonObject:
    """The published schema of a result (a TypedDict); further keys may come."""
    return _compact(TypeAdapter(result).json_schema(mode="serialization"), strict=False)


def _compact(schema: JsonObject, *, strict: bool) -> JsonObject:
    definitions = json.as_object(schema.get("$defs"))
    return cast("JsonObject", _plain(schema, definitions, strict=strict))


def _plain(node: Any, definitions: JsonObject, *, strict: bool) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions, strict=strict) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("JsonObject", node)
    if reference := fields.get("$ref"):
        target = {**json.as_object(definitions[str(reference).rpartition("/")[2]])}
        beside = {key: value for key, value in fields.items() if key != "$ref"}
        # What a nested model says of itself is for its readers here, not for every caller.
        target.pop("description", None)
        return _plain({**target, **beside}, definitions, strict=strict)
    if strict and (only := _not_null(fields)) is not None:
        return _plain(only, definitions, strict=strict)
    return {
        key: _members(value, definitions, strict=strict)
        if key == "properties"
        else _plain(value, definitions, strict=strict)
        for key, value in fields.items()
        if key not in _NOISE and key != "$defs"
    }


def _members(properties: Any, definitions: JsonObject, *, strict: bool) -> JsonObject:
    """Properties by name: a field called `title` is no noise."""
    return {
        name: _plain(value, definitions, strict=strict)
        for name, value in json.as_object(properties).items()
    }


def _not_null(fields: JsonObject) -> JsonObject | None:
    """`X | None` as `X`: null is taken for absent, and nobody has to say it."""
    options = fields.get("anyOf")
    if not isinstance(options, list):
        return None
    real = [json.as_object(o) for o in cast("list[Any]", options) if o != {"type": "null"}]
    if len(real) != 1:
        return None
    return {**real[0], **{key: value for key, value in fields.items() if key != "anyOf"}}
