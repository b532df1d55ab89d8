"""Codex's items that are a tool's call -> run events: MCP, dynamic and built-in tools, sub-agents.

Pure. An MCP tool's call keeps the contract's keys: server, tool, arguments, result, error, status.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.events import ArtifactAdded, Event, ToolFinished, ToolStarted
from gateway.core.json import JsonObject, merge_null

# Items that are a tool's call: type -> (server, tool) where the item does not say it itself.
TOOLS: Final[Mapping[str, tuple[str, str]]] = {
    "mcpToolCall": ("", ""),
    "dynamicToolCall": ("codex", ""),
    "functionCallOutput": ("codex", ""),
    "webSearch": ("codex", "web_search"),
    "imageView": ("codex", "view_image"),
    "imageGeneration": ("codex", "image_generation"),
    "sleep": ("codex", "sleep"),
    "collabAgentToolCall": ("codex", "agent"),
    "subAgentActivity": ("codex", "agent"),
    "contextCompaction": ("codex", "compaction"),
    "enteredReviewMode": ("codex", "review"),
    "exitedReviewMode": ("codex", "review"),
}
# Members that make `arguments` where an item has none, those that are carried on under their own
# names, and those that make `result`: the first that says something.
_ASKED: Final = ("query", "path", "action", "durationMs", "revisedPrompt")
_SHOWN: Final = (
    "prompt",
    "model",
    "reasoningEffort",
    "agentThreadId",
    "agentPath",
    "receiverThreadIds",
    "kind",
    "success",
)
_RESULTS: Final = ("result", "contentItems", "results", "output", "agentsStates", "review")
_MAGIC: Final[Mapping[str, str]] = {  # how a picture's Base64 begins -> its media type
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "UklGR": "image/webp",
    "R0lGOD": "image/gif",
}


def started(item: JsonObject, who: JsonObject) -> list[Event]:
    """`who` is the member that names the sub-agent, empty for the agent itself."""
    name, extra = _call(item)
    return [ToolStarted(tool=name, tool_use_id=item.get("id"), extra={**who, **extra})]


def finished(item: JsonObject, who: JsonObject, status: str) -> list[Event]:
    name, extra = _call(item)
    picture = _picture(item, who)
    result = _first(item, _RESULTS)
    if item.get("type") == "imageGeneration":
        where = {"saved_path": item.get("savedPath"), "file_id": item.get("fileId")}
        where["artifact_id"] = picture[0].artifact_id if picture else None
        result = merge_null(where) or None
    extra = {**who, **extra, **merge_null({"result": result, "error": item.get("error")})}
    end = ToolFinished(tool=name, status=status, tool_use_id=item.get("id"), extra=extra)
    return [end, *picture]


def _call(item: JsonObject) -> tuple[str, JsonObject]:
    server, tool = TOOLS[str(item["type"])]
    arguments = item.get("arguments")
    if arguments is None:
        arguments = _said(item, _ASKED) or None
    more = {_snake(key): value for key, value in _said(item, _SHOWN).items()}
    about = {"server": item.get("server") or server, "arguments": arguments, **more}
    return str(item.get("tool") or item.get("name") or tool), merge_null(about)


def _picture(item: JsonObject, who: JsonObject) -> list[ArtifactAdded]:
    """The picture that was made, where the item has it."""
    raw = item.get("result")
    if item.get("type") != "imageGeneration" or not isinstance(raw, str) or not raw:
        return []
    media = next((media for start, media in _MAGIC.items() if raw.startswith(start)), None)
    part = {"raw": raw, "mediaType": media or "application/octet-stream"}
    return [
        ArtifactAdded(
            artifact_id=f"image-{item.get('id')}",
            name="image",
            description=item.get("revisedPrompt"),
            parts=[part],
            extra=who,
        )
    ]


def _said(item: JsonObject, names: tuple[str, ...]) -> JsonObject:
    """The members that say something: Codex sends empty ones for what is not known yet."""
    return {key: item[key] for key in names if item.get(key) not in (None, "", [], {})}


def _first(item: JsonObject, names: tuple[str, ...]) -> Any:
    return next((item[key] for key in names if item.get(key) not in (None, {})), None)


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
