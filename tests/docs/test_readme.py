"""The README against the code it speaks of."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import CoreError
from mcp_bridge.catalog import TOOLSETS
from mcp_bridge.runs.request import BackendConfig
from mcp_bridge.schemas import read_arguments
from tests.docs.readme import PARTS, README, rendered

TEXT = README.read_text("utf-8")


def test_the_printed_parts_are_what_the_code_prints_now() -> None:
    """If not: python -m tests.docs.readme."""
    assert rendered(TEXT) == TEXT
    assert set(re.findall(r"<!-- begin: (\S+) -->", TEXT)) == set(PARTS)


def test_it_opens_with_the_two_commands() -> None:
    assert re.findall(r"^make \w+", TEXT, re.MULTILINE)[:2] == ["make demo", "make test"]
    assert TEXT.index("make test") < TEXT.index("## ")


def test_every_make_target_it_names_exists() -> None:
    makefile = (README.parent / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert set(re.findall(r"make (\w+)  ", TEXT)) - targets == set()


def test_every_flag_it_names_is_one_of_start_a2a_agent() -> None:
    command = Path(sys.executable).with_name("start-a2a-agent")
    done = subprocess.run([command, "--help"], capture_output=True, check=True)
    about = [_section("### What a run may do", "\n## "), _section("## Wrap an agent", "\n### ")]
    flags = set(re.findall(r"(--[a-z][a-z-]+)", "".join(about)))
    assert {flag for flag in flags if flag not in done.stdout.decode()} == set()


def _section(heading: str, end: str) -> str:
    begun = TEXT.partition(heading)
    assert begun[1]
    return begun[2].partition(end)[0]


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert [link for link in links if not (README.parent / link).exists()] == []


# -- tools -------------------------------------------------------------------------------------

MODELS = {tool.name: tool.arguments for tools in TOOLSETS.values() for tool in tools}
EXAMPLES = re.findall(r"```json (\w+)\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("tool", "text"), EXAMPLES)
def test_an_example_is_a_call_that_the_tool_takes(tool: str, text: str) -> None:
    read_arguments(MODELS[tool], tool, json.loads(text))


def test_each_of_the_seven_tools_has_a_row_and_an_example() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT.partition("## The seven")[2], re.MULTILINE)[:7]
    assert len(set(rows)) == 7
    assert set(rows) == {tool for tool, _ in EXAMPLES}


def test_every_field_it_explains_is_one_of_backend_config() -> None:
    table = TEXT.partition("### What a run may do")[2].partition("##")[0]
    named = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", table, re.MULTILINE)
    fields = {field.strip("` ") for names in named for field in names.split(",")}
    assert {"permission_mode", "sandbox", "limits"} <= fields <= set(BackendConfig.model_fields)


# -- errors ------------------------------------------------------------------------------------


def _tree(cls: type[CoreError]) -> Iterator[type[CoreError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _tree(child)


def _listed(module: str) -> set[str]:
    """The codes in the tree that a module of errors draws in its docstring."""
    doc = importlib.import_module(module).__doc__ or ""
    rows = re.findall(r"^ +\w+Error +([a-z_]+(?: \| [a-z_]+)*)", doc, re.MULTILINE)
    return {code for row in rows for code in row.split(" | ")}


def test_every_error_code_has_a_row_and_every_row_a_code() -> None:
    documented = re.findall(
        r"^\| `(\w+)` \| [^|]+ \|$", TEXT.partition("## Errors")[2], re.MULTILINE
    )
    listed = _listed("gateway.core.errors") | _listed("gateway.errors")
    assert set(documented) == listed
    assert len(documented) == len(listed)


def test_every_error_class_has_a_code_of_its_own() -> None:
    classes = [cls for cls in _tree(CoreError) if cls.__module__.startswith("gateway.")]
    own = [cls.code for cls in classes if "code" in vars(cls)]
    assert len(own) == len(set(own))
    roots = {"internal", "gateway"}
    assert set(own) - roots <= _listed("gateway.core.errors") | _listed("gateway.errors")
