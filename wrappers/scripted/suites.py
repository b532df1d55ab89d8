"""The words by which conformance suites say what an agent is to do, as scripts.

Pure. The A2A TCK (branch 1.0-dev, scenarios/*.feature) says it by a prefix of the messageId, ACTS by
the first word of the first text part. What a task's first message asks for is the task's behaviour;
a follow-up may ask for another.
"""

from collections.abc import Mapping
from typing import Final

from gateway.core.messages import Message, TextPart

HELLO: Final = "Hello from TCK"
_FILE: Final = (
    '[{"raw": "SGVsbG8gZnJvbSBUQ0s=", "filename": "output.txt", "mediaType": "text/plain"}]'
)
_FILE_URL: Final = (
    '[{"url": "https://example.com/output.txt", "filename": "output.txt", '
    '"mediaType": "text/plain"}]'
)
_DATA: Final = '[{"data": {"key": "value", "count": 42}}]'
_CHUNKS: Final = '[{"text": "chunk-1 "}, {"text": "chunk-2"}]'

DIRECT: Final = "tck-message-response"  # answered by a message, without a task
INPUT: Final = "tck-input-required"

SCRIPTS: Final[Mapping[str, str]] = {
    "tck-complete-task": f"say {HELLO}",
    "tck-artifact-text": "artifact output Generated text content",
    "tck-artifact-file": f"parts output {_FILE}",
    "tck-artifact-file-url": f"parts output {_FILE_URL}",
    "tck-artifact-data": f"parts output {_DATA}",
    DIRECT: "say Direct message response",
    INPUT: "converse",
    "tck-multi-turn": "converse done",
    "tck-auth-required": f"auth sign in to go on\nsay {HELLO}",
    "tck-reject-task": "reject rejected",
    "tck-task-failure": "fail failed as asked",
    "tck-cancel": "hang",
    "tck-long-running": "sleep 1\nartifact output Generated text content",
    "tck-stream-001": "artifact output Stream hello from TCK",
    "tck-stream-002": "state streaming",
    "tck-stream-003": "artifact output Stream task lifecycle",
    "tck-stream-basic": "state streaming\nartifact output Streamed text content",
    "tck-stream-chunked": f"state streaming\nparts output {_CHUNKS}\nstate streamed",
    "tck-stream-ordering-001": "artifact output Ordered output",
    "tck-stream-artifact-text": "artifact output Streamed text content",
    "tck-stream-artifact-file": f"parts output {_FILE}",
    "tck-stream-artifact-chunked": f"parts output {_CHUNKS}",
    "test-resubscribe-message-id": "sleep 4",  # twice the TCK's streaming timeout
}
_BY_LENGTH: Final = sorted(SCRIPTS, key=len, reverse=True)


def behaviour_of(message: Message) -> str | None:
    """The suite's word in a message, None in one of anybody else."""
    for word in _BY_LENGTH:  # the longest first: tck-artifact-file-url is not tck-artifact-file
        if message.message_id.startswith(word):
            return word
    texts = (part.text for part in message.parts if isinstance(part, TextPart))
    word = next(iter(next(texts, "").split(maxsplit=1)), "")
    return word if word in SCRIPTS else None


def script_of(message: Message) -> str:
    """What the scripted agent does with a message: what a suite's word stands for, or its text."""
    word = behaviour_of(message)
    return message.text if word is None else SCRIPTS[word]


def goes_on(message: Message | None, last_word: str) -> bool:
    """True when a follow-up to a task that waits for input leaves it waiting.

    With a `last_word` only that text ends it, else every message that does not ask to wait.
    """
    if message is None:
        return False
    if last_word:
        return message.text.strip().lower() != last_word
    return behaviour_of(message) == INPUT
