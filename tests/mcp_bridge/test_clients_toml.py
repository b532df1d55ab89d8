"""Editing one table of a TOML file in place: all else stays byte for byte."""

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_bridge.clients.errors import ClientError
from mcp_bridge.clients.toml import edited, read, replaced, table_text, value_text

# Other work on the machine says nothing about what is tested.
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PATH = ("mcp_servers", "a2a-gateway")
WANTED = {"command": '/opt/my "tools"/ü\\', "args": ["--x", "a]#b"], "required": True}
HEADER = "[mcp_servers.a2a-gateway]"
# Whole statements that may stand anywhere at the top; their keys are numbered apart.
ROOT = [
    "model{n} = 'x' # a # b\n",
    "# [mcp_servers.a2a-gateway]\n",
    "\n",
    'text{n} = """\n[mcp_servers.a2a-gateway]\ncommand = "no" \\""" """"\n',
    "raw{n} = '''\n# ]\n[mcp_servers.a2a-gateway]\n'''\n",
    "list{n} = [ # one\n  1, # [\n  [2, 'a]'],\n]\n",
    'dotted{n}."quo=ted".x = {{ a = 1, b = "}}" }}\n',
    "when{n} = 2026-11-23T01:02:03Z\n",
    "  indented{n} = 1_000.5   \n",
]
TABLES = [
    "[table{n}] # [x]\na = 1\n",
    '[mcp_servers."o.t{n}"]\ncommand = "o"\nenv = {{ A = "b" }}\n',
    "[ mcp_servers . other{n} ]\ncommand='o'\n[mcp_servers.other{n}.env]\nX = '1'\n",
    "[[array{n}]]\na = [\n 1,\n]\n[[array{n}]]\n",
    "# a comment\n\n",
    "[projects.'/home/é{n}/[x]']\ntrust_level = 'trusted'\n",
]
OURS = [
    '[mcp_servers.a2a-gateway]\ncommand = "old" # keep\nargs = [\n "a", # why\n]\n',
    "[mcp_servers.'a2a-gateway']\nrequired = false\n\n# about the next\ncommand = 'x'\n",
    '[ "mcp_servers" . "a2a-gateway" ]\n',
]


@st.composite
def surroundings(draw: st.DrawFn) -> tuple[str, str]:
    """What stands before and behind a table of ours."""
    root = draw(st.lists(st.sampled_from(ROOT), max_size=5))
    ahead = draw(st.lists(st.sampled_from(TABLES), max_size=3))
    behind = draw(st.lists(st.sampled_from(TABLES[:3] + TABLES[3:4]), max_size=3))
    first = [part.format(n=n) for n, part in enumerate([*root, *ahead])]
    last = [part.format(n=n + 100) for n, part in enumerate(behind)]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "".join(first).replace("\n", newline), "".join(last).replace("\n", newline)


def _with(text: str, wanted: dict[str, Any]) -> dict[str, Any]:
    document = tomllib.loads(text)
    servers = {**document.get("mcp_servers", {}), "a2a-gateway": wanted}
    return {**document, "mcp_servers": servers}


@calmly
@given(surroundings(), st.booleans())
def test_a_new_table_is_put_behind_all_that_is_there(around: tuple[str, str], ended: bool) -> None:
    text = "".join(around)
    text = text if ended else text.rstrip("\r\n")
    result = edited(text, PATH, WANTED)
    assert tomllib.loads(result) == _with(text, WANTED)
    assert result.startswith(text)
    assert edited(result, PATH, WANTED) == result


@calmly
@given(surroundings(), st.sampled_from(OURS))
def test_a_table_that_is_changed_leaves_all_around_it(around: tuple[str, str], ours: str) -> None:
    ahead, behind = around
    text = ahead + ours.replace("\n", "\r\n" if "\r\n" in ahead else "\n") + behind
    result = edited(text, PATH, WANTED)
    assert tomllib.loads(result) == _with(text, WANTED)
    assert result.startswith(ahead)
    assert result.endswith(behind)
    for comment in ("# keep", "# about the next"):
        assert (comment in result) == (comment in text)


@calmly
@given(surroundings(), st.sampled_from(OURS))
def test_a_table_of_another_kind_is_replaced_where_it_is(
    around: tuple[str, str], ours: str
) -> None:
    ahead, behind = around
    text = ahead + ours + behind
    result = replaced(text, PATH, WANTED)
    assert tomllib.loads(result) == _with(text, WANTED)
    assert result.startswith(ahead)
    assert result.endswith(behind)


def test_keys_are_changed_added_and_taken_out_one_by_one() -> None:
    text = f"{HEADER}\nurl = 'x' # mine\nenabled = true\n\n# next\n[other]\na = 1\n"
    result = edited(text, PATH, {"enabled": False, "command": "c"})
    assert result == (f'{HEADER}\nenabled = false\ncommand = "c"\n\n# next\n[other]\na = 1\n')


def test_a_table_below_ours_is_edited_where_it_is() -> None:
    text = f"{HEADER}\ncommand = 'c'\n[mcp_servers.a2a-gateway.env]\nA = '1' # mine\nB = '2'"
    result = edited(text, PATH, {"command": "c", "env": {"A": "1", "C": "3"}})
    assert result == (
        f"{HEADER}\ncommand = 'c'\n[mcp_servers.a2a-gateway.env]\nA = '1' # mine\nC = \"3\"\n"
    )


def test_tables_below_one_without_a_statement_are_edited_and_joined_by_others() -> None:
    text = f"{HEADER}\ncommand = 'c'\n[mcp_servers.a2a-gateway.tools.a]\nn = 1 # mine\n"
    wanted = {"command": "c", "tools": {"a": {"n": 1, "m": 2}, "b": {"n": 3}}}
    assert edited(text, PATH, wanted) == (
        f"{HEADER}\ncommand = 'c'\n[mcp_servers.a2a-gateway.tools.a]\nn = 1 # mine\nm = 2\n"
        "\n[mcp_servers.a2a-gateway.tools.b]\nn = 3\n"
    )


def test_an_inline_table_is_written_anew_in_its_place() -> None:
    text = "[mcp_servers]\na2a-gateway = { command = 'old' } # here\nother = { command = 'o' }\n"
    result = edited(text, PATH, {"command": "new"})
    assert result == (
        "[mcp_servers]\na2a-gateway = { command = \"new\" } # here\nother = { command = 'o' }\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "mcp_servers = { a2a-gateway = { command = 'x' } }\n",
        "mcp_servers = { other = { command = 'x' } }\n",
        "mcp_servers.a2a-gateway.command = 'x'\n",
        "[mcp_servers.a2a-gateway.env]\nA = '1'\n",
        f"{HEADER}\nenv.B = '1'\n",
    ],
)
def test_a_table_that_has_no_room_is_left_alone_and_said(text: str) -> None:
    with pytest.raises(ClientError, match="written in a way that cannot be edited"):
        edited(text, PATH, {"command": "y", "env": {"A": "2"}})


@pytest.mark.parametrize("text", ["mcp_servers = 1\n", "[mcp_servers]\na2a-gateway = 'x'\n"])
def test_something_else_under_our_name_is_no_table(text: str) -> None:
    with pytest.raises(ClientError, match="is no table there"):
        edited(text, PATH, WANTED)


def test_a_broken_file_is_refused_with_its_line() -> None:
    with pytest.raises(ClientError, match="at line 2"):
        read("a = 1\nb = \n")


values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@calmly
@given(st.dictionaries(st.text(), values, max_size=4), st.text(min_size=1))
def test_what_is_written_is_what_is_read(table: dict[str, Any], name: str) -> None:
    assert tomllib.loads(table_text(("servers", name), table)) == {"servers": {name: table}}
    assert tomllib.loads(f"a = {value_text(table)}") == {"a": table}
