"""The commands that the README shows can be typed: each is there, with these options and arguments."""

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli.main import app
from mcp_bridge.stdio import main

README = Path(__file__).parent.parent.parent / "README.md"
# A line of an example, without what feeds it, takes its output or is said of it.
SHOWN = re.compile(r"(?m)^(?:\w+=\$\(|.*\| )?(a2a-gateway [a-z][^\n]*?)\)?(?: *#.*)?$")
CONFIGURED = re.compile(r"(?m)^(a2a-mcp-bridge [^#\n]*)")


def commands() -> list[str]:
    fences: list[str] = re.findall(r"(?ms)^```sh\n(.*?)^```", README.read_text("utf-8"))
    return [line for fence in fences for line in SHOWN.findall(fence)]


def test_what_the_readme_has_the_bridge_do_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    fences: list[str] = re.findall(r"(?ms)^```sh\n(.*?)^```", README.read_text("utf-8"))
    for line in [line for fence in fences for line in CONFIGURED.findall(fence)]:
        words = [word for word in shlex.split(line)[1:] if word != "--write"]
        assert main([*words, "--gateway", "http://127.0.0.1:8420"]) == 0, line
        assert "8420" in capsys.readouterr().out


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_is_one(line: str) -> None:
    name, *words = takewhile(lambda word: word not in ("|", ">"), shlex.split(line))
    command: Any = get_command(app)
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, words)
        left = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, left)
    command.make_context(name, words)
