"""How long each phase of a call may take. Constants alone; all in seconds.

A connection may take 10 s and its TLS as long again; the other phases are deadlines of the whole
phase, so an agent that drips bytes does not get longer than one that is silent.
"""

from typing import Final

CONNECT_S: Final = 10.0  # to connect, and again for TLS: three lost SYNs take 7 s
WRITE_S: Final = 30.0  # between two writes of a request; ours are small
UNARY_S: Final = 30.0  # our own CancelTask answers within 5 s; foreign agents take longer
BODY_S: Final = 60.0  # a whole body once its head is there: 64 MiB at about 1 MB/s
# An agent without streams that overlooks returnImmediately answers when its work is done, and one
# that streams may send its head with its first event. What they do is lost when we hang up.
WORK_S: Final = 600.0
SILENCE_S: Final = 60.0  # servers ping every 15 s: four missed pings are a dead link
# Servers close idle connections themselves, after 5 s or so. Some agents (Gemini CLI's) abort what
# a request brought about when its client does, also long after the response.
IDLE_S: Final = 60.0
RETRY_AFTER_MAX_S: Final = 3600.0  # what an agent may ask for; a run's patience ends sooner
