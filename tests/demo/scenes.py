"""What each backend is asked to do in the demo: work, ask, be stopped.

The prompts for Codex and Claude Code are scripts for the model endpoints of `tests.models`: the
programs, their sandboxes, commands and questions are the real ones, only the model is scripted.
"""

from typing import Final

from tests.demo.flows import Scene, allow, first_choice, words

CODEX: Final = (
    Scene(
        title="Codex works",
        backend="codex",
        prompt="@reason Look around first.\n@sh ls\n@patch hello.txt Hello from Codex\n"
        "@todo look|write|report 2\n@say I listed the folder and wrote hello.txt.",
        shows=frozenset({"command_started", "command_finished", "file_changed", "run_completed"}),
    ),
    Scene(
        title="Codex asks for permission",
        backend="codex",
        prompt="@sh touch asked-first.txt\n@say Done, with your permission.",
        config={"permission_mode": "ask"},
        shows=frozenset({"input_required", "run_completed"}),
        answer=allow,
    ),
    Scene(
        title="Codex is stopped in the middle of a command",
        backend="codex",
        prompt="@sh sleep 300\n@say never said",
        ends="cancelled",
        cancel_at="command_started",
    ),
)
CLAUDE: Final = (
    Scene(
        title="Claude Code works",
        backend="claude_code",
        prompt="@reason Look around first.\n@sh ls\n@write notes.txt Hello from Claude\n"
        "@todo look|write|report 2\n@say I listed the folder and wrote notes.txt.",
        shows=frozenset({"command_started", "command_finished", "file_changed", "run_completed"}),
    ),
    Scene(
        title="Claude Code asks a question",
        backend="claude_code",
        prompt="@question Which colour should it be?|blue|green\n@results\n@say Thank you.",
        shows=frozenset({"input_required", "run_completed"}),
        answer=first_choice,
    ),
    Scene(
        title="Claude Code is stopped in the middle of a command",
        backend="claude_code",
        prompt="@sh sleep 300\n@say never said",
        ends="cancelled",
        cancel_at="command_started",
    ),
)
REMOTE: Final = (
    Scene(
        title="An agent registered by its URL works",
        backend="remote_a2a",
        prompt="reason Look around first.\ncommand ls => README.md\nfile src/app.py\n"
        "todo look|write|report 2\nsay I am the scripted agent: my prompt is my script.",
        shows=frozenset({"command_finished", "file_changed", "todo_updated", "run_completed"}),
    ),
    Scene(
        title="It asks, too",
        backend="remote_a2a",
        prompt="ask Which colour should it be? [blue|green]\nsay Thank you.",
        shows=frozenset({"input_required", "run_completed"}),
        answer=words("blue"),
    ),
    Scene(
        title="It is stopped, too",
        backend="remote_a2a",
        prompt="say I could sit here for hours.\nhang",
        ends="cancelled",
        cancel_at="agent_message",
    ),
)
# For --real: plain words, and only the flow whose end does not depend on the model's mood.
ASKED: Final = "Create the file hello.txt with one friendly line in it, then say what you did."
REAL: Final = tuple(
    Scene(title=f"{backend}, with its real model", backend=backend, prompt=ASKED)
    for backend in ("codex", "claude_code")
)
