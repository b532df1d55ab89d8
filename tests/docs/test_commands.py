"""The commands that the README shows can be typed: each is there, with these options and arguments."""

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli.main import app

README = Path(__file__).parent.parent.parent / "README.md"
# A line of an example, without what feeds it, takes its output or is said of it.
SHOWN = re.compile(r"(?m)^(?:\w+=\$\(|.*\| )?(a2a-gateway [a-z][^\n]*?)\)?(?: *#.*)?$")


def commands() -> list[str]:
    fences: list[str] = re.findall(r"(?ms)^```sh\n(.*?)^```", README.read_text("utf-8"))
    return [line for fence in fences for line in SHOWN.findall(fence)]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_is_one(line: str) -> None:
    name, *words = takewhile(lambda word: word not in ("|", ">"), shlex.split(line))
    command: Any = get_command(app)
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, words)
        left = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, left)
    command.make_context(name, words)
