"""Arguments as a published schema describes them, and values that no argument expects.

Knows JSON Schema as far as the tools use it; knows no tool.
"""

from typing import Any, Final

from hypothesis import strategies as st

from gateway.core.json import JsonObject, as_object

DEEP: Final = 60
WORDS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "\u202egnp.exe",  # turns the direction of writing
    "e\u0301\u0300\u0302" * 20,
    "\x1b[2J\x1b]0;x\x07",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2f",
    "~root",
    "__proto__",
    "constructor",
    "{}",
    "[]",
    '{"a": 1}',
    "[" * DEEP + "]" * DEEP,
    '{"a":' * 400 + "1" + "}" * 400,
    "null",
    "true",
    "5",
    "5.0",
    "-1",
    "1e3",
    "NaN",
    "'; drop table runs; --",
    "%s%n",
    "${jndi:ldap://x}",
    "x" * 3000,
    "🏴" * 300,
    "a\nb\r\nc\u2028d",
)


def _nested(depth: int) -> JsonObject:
    value: JsonObject = {"end": 1}
    for _ in range(depth):
        value = {"a": [value]}
    return value


VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    -(2**70),
    10**400,
    0.0,
    -0.5,
    5.0,
    1e308,
    float("inf"),
    float("nan"),
    [],
    [[]],
    [None],
    {},
    {"": ""},
    {"__proto__": {"x": 1}},
    {"type": "text"},
    {"n": 2**70},
    {"f": float("inf")},
    _nested(5),
    _nested(20),
    _nested(60),  # 120 levels
    {str(n): n for n in range(300)},
    ["x"] * 10_000,
    [{"type": "text", "text": "x"}] * 10_000,
)

words = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=12)
values = words | st.sampled_from(VALUES) | st.integers() | st.floats()


def fitting(schema: JsonObject) -> st.SearchStrategy[Any]:
    """Values that a schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            return st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
        case "integer":
            low = schema.get("minimum", 0)
            return st.integers(low, min(schema.get("maximum", 1000), low + 2000))
        case "array":
            return st.lists(fitting(schema.get("items", {})), min_size=1, max_size=3)
        case "object":
            return _object(schema)
        case kind:
            return _SIMPLE.get(kind or "", st.none() | st.text("abc"))


_SIMPLE: Final[dict[str, st.SearchStrategy[Any]]] = {
    "number": st.floats(0.5, 100),
    "boolean": st.booleans(),
}


def _object(schema: JsonObject) -> st.SearchStrategy[JsonObject]:
    if "properties" not in schema:
        return st.dictionaries(st.text("abc", min_size=1), st.text("xyz"), max_size=3)
    needed = set(schema.get("required", ()))
    fields = {name: fitting(field) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in needed},
        optional={name: field for name, field in fields.items() if name not in needed},
    )


@st.composite
def spoiled(draw: st.DrawFn, schema: JsonObject, given: JsonObject) -> tuple[str, JsonObject]:
    """`given` with one thing wrong, or at least unexpected, and the argument that it is in."""
    known: JsonObject = schema["properties"]
    name = draw(st.sampled_from([*known, "foo", "__proto__", "Run_Id", ""]))
    if name in given and draw(st.integers(0, 4)) == 0:
        return name, {key: value for key, value in given.items() if key != name}
    inner = known.get(name, {}).get("properties", {})
    if inner and draw(st.booleans()):
        below = draw(st.sampled_from([*inner, "foo"]))
        return name, {**given, name: {**as_object(given.get(name)), below: draw(values)}}
    return name, {**given, name: draw(values)}
