"""The parts of the README that are printed from the code.

python -m tests.docs.readme      writes them into README.md
"""

import json
import re
import textwrap
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from gateway.core.push import webhook
from gateway.core.status import lifecycle_diagram
from gateway.settings import Settings
from mcp_bridge.clients.client import Entry
from mcp_bridge.clients.configuration import CLIENTS, printed
from wrappers.scripted import script
from wrappers.settings import WrapperSettings

README: Final = Path(__file__).parent.parent.parent / "README.md"
_ENTRY: Final = Entry("/path/to/.venv/bin/a2a-mcp-bridge", [], {})
# A default that is made at run time, in words.
_MADE: Final = {"home": "the user's state folder"}


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def settings_table(settings: type[BaseSettings]) -> str:
    """One row a field: its variable, its default, its description."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"{prefix}{name}".upper()
        default = _MADE.get(name) or _plain(field.default)
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(rows)


def _plain(value: object) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return "unset"
    if isinstance(value, timedelta):
        return f"`P{value.days}D`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def script_verbs() -> str:
    """The verbs as the scripted agent's own documentation lists them."""
    paragraphs = (script.__doc__ or "").split("\n\n")
    return _fence("text", textwrap.dedent(next(p for p in paragraphs if p.startswith("    "))))


def webhook_headers() -> str:
    """The headers of a delivery as their module's own documentation lists them."""
    _, headers, signed = (webhook.__doc__ or "").split("\n\n", 2)
    return f"{_fence('text', textwrap.dedent(headers))}\n\n{signed.rstrip()}"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle": lambda: _fence("mermaid", lifecycle_diagram()),
    "claude": lambda: _fence("json", printed(CLIENTS["claude"], _ENTRY)),
    "codex": lambda: _fence("toml", printed(CLIENTS["codex"], _ENTRY)),
    "verbs": script_verbs,
    "webhooks": webhook_headers,
    "gateway-settings": lambda: settings_table(Settings),
    "wrapper-settings": lambda: settings_table(WrapperSettings),
}


def rendered(text: str) -> str:
    """`text` with every marked part printed anew. Raises: KeyError for a mark nobody prints."""

    def part(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- begin: {name} -->\n{PARTS[name]()}\n<!-- end: {name} -->"

    return re.sub(r"<!-- begin: (\S+) -->\n.*?<!-- end: \1 -->", part, text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(rendered(README.read_text("utf-8")), "utf-8")
