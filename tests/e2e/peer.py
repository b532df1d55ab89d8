"""An agent's helper that writes to another agent and waits for its answer, or answers one itself.

Run as a command of a run, by path: `peer.py ask NAME TEXT` or `peer.py answer TEXT`. Prints what it
was told, and by whom. Standard library only, so that it starts at once.
"""

import sys
from typing import Any

from tests.e2e.delegate import Bridge, say

WAITS = 3  # of 30 s, until the other agent is there


def main(what: str, *words: str) -> None:
    bridge = Bridge("--toolsets", "agents")
    if what == "ask":
        name, text = words
        bridge.ask("send_agent_message", to_agent_name=name, text=text)
        heard = next_message(bridge)
    else:
        heard = next_message(bridge)
        answer = f"{words[0]} to {heard['from_agent_name']}"
        bridge.ask("send_agent_message", to_agent_name=heard["from_agent_name"], text=answer)
    say(f"{heard['from_agent_name']} said {heard['body']['parts'][0]['text']}")
    bridge.close()


def next_message(bridge: Bridge) -> dict[str, Any]:
    for _ in range(WAITS):
        page = bridge.ask("fetch_agent_messages", wait_ms=30_000)
        if page["messages"]:
            return page["messages"][0]
    sys.exit("nobody wrote")


if __name__ == "__main__":
    main(*sys.argv[1:])
