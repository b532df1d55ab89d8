"""The tools by which agents find each other and write to each other, for those who ask for them.

Names, descriptions and input schemas of the three stay below 2.5 KB together.
"""

from typing import Any, Final

from mcp_bridge.agents.fetch_agent_messages import FETCH_AGENT_MESSAGES
from mcp_bridge.agents.list_agents import LIST_AGENTS
from mcp_bridge.agents.send_agent_message import SEND_AGENT_MESSAGE
from mcp_bridge.tool import Tool

AGENTS_TOOLSET: Final[tuple[Tool[Any], ...]] = (
    LIST_AGENTS,
    SEND_AGENT_MESSAGE,
    FETCH_AGENT_MESSAGES,
)
