"""What the seven tools promise a caller: id -> sentence. Tests name the id they prove.

Knows no code of the product. `@pytest.mark.promise("poll.order")` on a test refers to an id here;
`tests/docs/test_requirements.py` compares both ways.
"""

from collections.abc import Mapping
from typing import Final

PROMISES: Final[Mapping[str, str]] = {
    "spawn.handle": "spawn_run answers at once with run_id, session_id and status queued.",
    "spawn.once": "Repeating a call under its request_key starts nothing a second time.",
    "spawn.folder": "A folder that is relative, missing or a file is refused in one line.",
    "spawn.unknown": "An argument nobody knows is refused by its name.",
    "spawn.unreachable": "An agent that cannot be reached fails its run, and only that.",
    "poll.order": "Events are numbered from 1 without gaps or repeats, whatever the page size.",
    "poll.end": "The final status and the last event become visible in the same page.",
    "poll.prompt": "Polling a run that waits or has ended answers at once.",
    "poll.wait": "A poll that waits is answered by the next event, not by the end of its time.",
    "poll.progress": "A poll that waits tells its caller so every few seconds.",
    "poll.cancel": "Cancelling a poll ends the wait and nothing else.",
    "poll.several": "One poll waits for any of several runs, each read from its own cursor.",
    "poll.types": "A poll for chosen types shows those alone and passes the others.",
    "continue.answer": "An answer goes to the run that asked, and the same run completes.",
    "continue.kinds": "Questions, permissions and plans are answered by their request_id.",
    "continue.refused": "An answer to a request that is not pending is refused and changes nothing.",
    "continue.resume": "Continuing a run that ended is a new run of the same session.",
    "get.result": "get_run shows the final response of a run, or why it has none.",
    "get.liveness": "get_run says how alive a run is, and its place while it is queued.",
    "list.order": "list_runs shows the newest first, page by page, and filters.",
    "list.filters": "Runs are found again by labels, time, role, and whether they are over.",
    "cancel.stop": "cancel_run stops a run and its processes, and the run says cancelled.",
    "cancel.ended": "Cancelling a run that completed is refused and changes nothing.",
    "artifact.whole": "A value too long for its event can be read whole, page by page.",
    "artifact.lines": "A long text is read by lines too, from its start and from its end.",
    "answer.size": "An answer stays within max_bytes (8 KB unless raised) and says what it cut.",
    "reference.name": "An agent_name means the run of its session that is under way.",
    "mail.order": "An agent's messages are numbered from 1 without gaps or repeats, whoever sends.",
    "mail.kept": "A message that was acknowledged is there after a kill and a restart.",
    "mail.bounded": "A full mailbox lets its oldest messages go, and says how many were missed.",
    "mail.sender": "A message sent from within a run names the run's agent as its sender.",
    "mail.folder": "Agents write to agents of their own folder alone.",
    "mail.wait": "A fetch that waits is answered by the next message.",
    "agents.list": "list_agents shows each agent once, with the status of its current run.",
    "catalog.size": "Names, descriptions and input schemas of the tools stay below 8 KB.",
    "resource.run": "run://{run_id} is what get_run shows, run://{run_id}/result what came out.",
    "resource.size": "A resource stays within 32 KB and says where the rest can be read.",
    "resource.absent": "What is not there, or another's, is not found by the code of the era.",
    "endpoint.line": "What is no message is refused at /mcp in one line, in both eras.",
    "endpoint.stream": "Nothing at /mcp can be listened to; no open stream holds the gateway.",
    "toolsets.asked": "A client sees the seven, and of the other toolsets those it asks for.",
    "catalog.portable": "Every schema is one that strict clients and other dialects can take.",
    "catalog.unknown": "An unknown tool is an error of the protocol that names the tools.",
    "relay.one": "Of any number of relays that find no gateway, one starts it.",
    "relay.again": "A relay goes on when the gateway restarts between two calls.",
    "argument.forms": "5 may be given as 5.0 or \"5\", an object as its JSON text; true is no number.",
    "error.any": "Whatever a caller sends is answered: by a result that fits, or by a refusal.",
    "caller.stdio": "Claude Code and Codex that know the relay alone see the tools in their first request "
    "and have agents of both kinds work, asked back, stopped and read.",
    "caller.http": "They do the same with the gateway's URL and token.",
    "caller.gone": "What a killed client has begun goes on, and another client finds it.",
    "error.line": "A refusal is text of one line that says what to do.",
}
