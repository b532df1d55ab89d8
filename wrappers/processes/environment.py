"""What of the wrapper's environment an agent's CLI gets: an allow-list, never our own secrets.

Pure: a mapping in, a new one out; `settings` alone reads the process's environment.
"""

from collections.abc import Mapping
from typing import Final

from gateway.core.extension import EnvPolicy

# What a CLI needs to run, to find its login and to reach its model; in every policy.
NEEDED: Final = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "CODEX_HOME",
        "CODEX_API_KEY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT",
        "CLAUDE_CONFIG_DIR",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
    }
)
NEEDED_PREFIXES: Final = ("LC_", "ANTHROPIC_")
# What commands expect of a person's shell.
CORE: Final = frozenset({"USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "TZ"})
# Settings and tokens of this product: no agent, under no policy, not even by `extra`.
OURS: Final = ("A2A_AGENT_", "A2A_GATEWAY_")


def child_environment(
    source: Mapping[str, str], policy: EnvPolicy, extra: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a CLI: what `policy` lets through of `source`, then `extra`.

    `none` is what the CLI itself needs, `core` (the default of callers) adds what shells set, `all`
    takes everything; nothing of ours passes.
    """
    chosen = {name: value for name, value in source.items() if _passes(name, policy)}
    merged = {**chosen, **extra}
    return {name: value for name, value in merged.items() if not name.startswith(OURS)}


def _passes(name: str, policy: EnvPolicy) -> bool:
    if policy == "all" or name.upper() in NEEDED or name.startswith(NEEDED_PREFIXES):
        return True
    return policy == "core" and name in CORE
