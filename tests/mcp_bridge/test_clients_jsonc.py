"""Editing JSON in place: whatever a person wrote around the bridge's entry stays byte for byte."""

import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_bridge.clients.errors import ClientError
from mcp_bridge.clients.jsonc import Dialect, dumped, edited, read

# Other work on the machine says nothing about what is tested.
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLAIN = Dialect()
FREE = Dialect(comments=True, trailing_commas=True)
ENTRY = {"command": "/opt/my tools/ü", "args": ["--x", 'a"b//c,}'], "alwaysLoad": True}
MARK = "the entry stands here"

texts = st.text(max_size=8) | st.sampled_from(["//", "/*", "*/", ",}", '"', "\\", "{", "a\nb"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def written(draw: st.DrawFn, value: Any, dialect: Dialect, newline: str) -> str:
    """`value` as some person might have written it."""
    gaps = ["", "", " ", newline, f"{newline}  ", f"{newline}\t\t"]
    if dialect.comments:
        gaps += [f' // it\'s "so",{newline}', "/* [1, {\n */", f"{newline}  /**/ "]
    gap = st.sampled_from(gaps)

    def comma(last: int, at: int) -> str:
        if at < last:
            return ","
        return "," if dialect.trailing_commas and draw(st.booleans()) else ""

    def write(one: Any) -> str:
        pairs: list[tuple[str, Any]]
        if isinstance(one, dict):
            named = cast("dict[str, Any]", one).items()
            pairs = [(f"{json.dumps(key)}{draw(gap)}:{draw(gap)}", inner) for key, inner in named]
        elif isinstance(one, list):
            pairs = [("", inner) for inner in cast("list[Any]", one)]
        else:
            return json.dumps(one, ensure_ascii=draw(st.booleans()))
        parts = [
            f"{draw(gap)}{name}{write(inner)}{draw(gap)}{comma(len(pairs) - 1, at)}"
            for at, (name, inner) in enumerate(pairs)
        ]
        ends = "{}" if isinstance(one, dict) else "[]"
        return ends[0] + "".join(parts) + draw(gap) + ends[1]

    return draw(gap) + write(value) + draw(gap)


def _within(small: str, large: str) -> bool:
    """Whether `large` is `small` with nothing but insertions."""
    rest = iter(large)
    return all(character in rest for character in small)


documents = st.dictionaries(texts.filter(lambda key: key != "mcpServers"), values, max_size=4)
servers = st.dictionaries(texts.filter(lambda key: key != "a2a-gateway"), values, max_size=3)
dialects = st.sampled_from([PLAIN, Dialect(comments=True), FREE])
newlines = st.sampled_from(["\n", "\r\n"])


@calmly
@given(st.data(), documents, servers | st.none(), dialects, newlines)
def test_a_new_entry_is_nothing_but_an_insertion(
    data: st.DataObject,
    document: dict[str, Any],
    others: dict[str, Any] | None,
    dialect: Dialect,
    newline: str,
) -> None:
    if others is not None:
        place = data.draw(st.integers(0, len(document)))
        pairs = list(document.items())
        document = dict([*pairs[:place], ("mcpServers", others), *pairs[place:]])
    text = data.draw(written(document, dialect, newline))
    wanted = {**document, "mcpServers": {**(others or {}), "a2a-gateway": ENTRY}}
    result = edited(text, dialect, wanted)
    assert read(result, dialect) == wanted
    assert _within(text, result)
    assert edited(result, dialect, wanted) == result


@calmly
@given(st.data(), documents, servers, values, dialects, newlines)
def test_an_entry_that_is_replaced_leaves_all_around_it(
    data: st.DataObject,
    document: dict[str, Any],
    others: dict[str, Any],
    before: Any,
    dialect: Dialect,
    newline: str,
) -> None:
    document = {**document, "mcpServers": {**others, "a2a-gateway": MARK}}
    ahead, mark, behind = data.draw(written(document, dialect, newline)).partition(json.dumps(MARK))
    if not mark:  # written otherwise
        return
    text = ahead + json.dumps(before) + behind
    wanted = {**document, "mcpServers": {**others, "a2a-gateway": ENTRY}}
    result = edited(text, dialect, wanted)
    assert read(result, dialect) == wanted
    assert result.startswith(ahead)
    assert result.endswith(behind)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n  "a": 1\n}'),
        ("{\n}\n", '{\n  "a": 1\n}\n'),
        ('{"b": 2}', '{"b": 2, "a": 1}'),
        ('{\n    "b": 2\n}', '{\n    "b": 2,\n    "a": 1\n}'),
        ('{\n\t"b": 2 // two\n}', '{\n\t"b": 2, // two\n\t"a": 1\n}'),
        ('{\n  "b": 2, // two\n  // end\n}', '{\n  "b": 2, // two\n  "a": 1\n  // end\n}'),
        ("{ /* none */ }", '{ /* none */\n  "a": 1\n }'),
        ("{\n  // none\n}", '{\n  // none\n  "a": 1\n}'),
        ('{\r\n  "b": 2\r\n}', '{\r\n  "b": 2,\r\n  "a": 1\r\n}'),
        ('{\n  "b": 2 }', '{\n  "b": 2, \n  "a": 1\n}'),
    ],
)
def test_what_is_added_looks_like_what_is_there(before: str, after: str) -> None:
    wanted = {**read(before, FREE), "a": 1}
    assert edited(before, FREE, wanted) == after


def test_of_a_key_that_is_said_twice_the_one_that_counts_is_changed() -> None:
    assert edited('{"a": 1, "a": 2}', PLAIN, {"a": 3}) == '{"a": 1, "a": 3}'


def test_a_comment_in_what_would_have_to_go_is_not_lost() -> None:
    text = '{"a": {"old": 1 /* mine */}}'
    with pytest.raises(ClientError, match="line 1: what has to be replaced there holds a comment"):
        edited(text, FREE, {"a": {"new": 1}})


@pytest.mark.parametrize(
    ("text", "dialect", "says"),
    [
        ('{\n"a": 1,\n}', PLAIN, "line 3"),
        ('{\n"a": 1,\n}', Dialect(comments=True), "line 3"),
        ('{\n// c\n"a": 1}', PLAIN, "line 2"),
        ('{\n"a": 1 "b": 2}', FREE, "line 2"),
        ('{"a": [,]}', FREE, "line 1"),
        ('{"a": 1,,}', FREE, "line 1"),
        ('{"a": NaN}', FREE, "cannot be read"),
        ("[" * 100_000, PLAIN, "cannot be read"),
        ('{"a": /* open', FREE, "line 1"),
    ],
)
def test_what_the_client_would_not_read_is_refused_with_its_line(
    text: str, dialect: Dialect, says: str
) -> None:
    with pytest.raises(ClientError, match=says):
        read(text, dialect)


def test_a_text_keeps_its_own_indentation_within_a_value() -> None:
    assert dumped({"a": [1]}, "    ") == '{\n      "a": [\n        1\n      ]\n    }'
