"""What the gateway refuses or cannot do, each with a stable code.

    core.errors.CoreError
      GatewayError
        UnknownAgentError       unknown_agent
        AgentDisabledError      agent_disabled
        EmptyPoolError          empty_pool
        AgentInUseError         agent_in_use         (it was to be removed)
        NotYoursError           not_changeable       (an agent that a file or the gateway keeps)
        NameTakenError          name_taken           (of an agent that registers itself)
        AgentUnreachableError   agent_unreachable    (no connection, a time-out, a link that broke)
        AgentAddressError       agent_address        (its name leads where nobody may connect to)
        AgentUnauthorizedError  agent_unauthorized   (401, 403)
        AgentProtocolError      agent_protocol       (it answers, but not as A2A says)
        AgentCardError          agent_card           (no card, or one that cannot be used)
        AgentRefusedError       agent_refused        (a JSON-RPC error; `rpc_code` is the agent's)
        AgentLostError          agent_lost           (it had the run and can no longer be asked)
        StartUnknownError       start_unknown        (it may have the run, and cannot tell)
        AgentFloodError         agent_flood          (it sends without end)
        SchemaMismatchError     schema_mismatch      (its answer does not fit output_schema)
        LaunchError             launch_failed        (a local wrapper did not start)
        ExposureError           exposed              (an address or folder that others could use)
        HomeInUseError          gateway_running
        BridgeError             bridge_missing       (another package answers to `mcp_bridge`)

They share the task server's tree, so both faces turn them into their own errors by code. As the
end of a run the code is the reason of `run_failed`.
"""

from gateway.core.errors import CoreError
from gateway.core.json import JsonObject, as_object


class GatewayError(CoreError):
    """Something the gateway cannot do; the text says what to do next."""

    code = "gateway"


class UnknownAgentError(GatewayError):
    code = "unknown_agent"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no agent {name!r} is registered; known: {', '.join(known) or 'none'}")


class AgentDisabledError(GatewayError):
    code = "agent_disabled"

    def __init__(self, name: str, usable: list[str]) -> None:
        super().__init__(
            f"agent {name!r} is disabled; enable it (a2a-gateway agents enable {name}), or take "
            f"one of: {', '.join(usable) or 'none is enabled'}"
        )


class EmptyPoolError(GatewayError):
    code = "empty_pool"

    def __init__(self, name: str, usable: list[str]) -> None:
        super().__init__(
            f"no agent of pool {name!r} takes runs now: all are disabled or have stopped; "
            f"take one of: {', '.join(usable) or 'none is enabled'}"
        )


class AgentInUseError(GatewayError):
    code = "agent_in_use"

    def __init__(self, name: str, runs: int) -> None:
        super().__init__(
            f"agent {name!r} has {runs} active run(s), which would fail; cancel them, disable the "
            "agent and wait, or remove it with force=true"
        )


class NotYoursError(GatewayError):
    """What was asked of an agent is decided elsewhere."""

    code = "not_changeable"


class NameTakenError(GatewayError):
    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"another agent is registered as {name!r} here; start this one with another --name"
        )


class AgentUnreachableError(GatewayError):
    """`sent` tells whether the request may have reached the agent before the link failed,
    `silent` that nothing came on a link that stands, `retry_after_s` how long the agent itself asks
    to wait; `noted`: the agent's health knows."""

    code = "agent_unreachable"

    def __init__(
        self,
        agent: str,
        url: str,
        why: str,
        *,
        sent: bool = False,
        silent: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            f"agent {agent!r} did not answer at {url} ({why}); "
            "check that it runs there, then start a new run"
        )
        self.sent = sent
        self.silent = silent
        self.retry_after_s = retry_after_s
        self.noted = False
        self._said = (agent, url, why)

    def again(self) -> "AgentUnreachableError":
        """The same, for somebody who did not even try; nothing of theirs was sent."""
        copy = AgentUnreachableError(*self._said, retry_after_s=self.retry_after_s)
        copy.noted = True
        return copy


class AgentAddressError(GatewayError):
    code = "agent_address"

    def __init__(self, agent: str, url: str, why: str) -> None:
        super().__init__(f"agent {agent!r} is not called at {url}: {why}; check the host name")


class AgentUnauthorizedError(GatewayError):
    code = "agent_unauthorized"

    def __init__(self, agent: str, url: str, status: int) -> None:
        super().__init__(
            f"agent {agent!r} at {url} refused the credentials (HTTP {status}); "
            "give its token as backend_config.auth_token (env:NAME, file:/path or the token)"
        )
        self.status = status


class AgentProtocolError(GatewayError):
    """`status` is that of the HTTP answer where it alone is what was wrong."""

    code = "agent_protocol"

    def __init__(self, agent: str, url: str, what: str, *, status: int | None = None) -> None:
        super().__init__(
            f"agent {agent!r} at {url} does not speak A2A as expected: {what}; "
            "check the URL and the agent's version"
        )
        self.status = status


class AgentCardError(GatewayError):
    code = "agent_card"

    def __init__(self, agent: str, url: str, what: str) -> None:
        super().__init__(f"the agent card of {agent!r} at {url} cannot be used: {what}")


class AgentRefusedError(GatewayError):
    """The agent answered with an error; `reason` is its stable code where it is one of ours."""

    code = "agent_refused"

    def __init__(
        self, agent: str, method: str, rpc_code: int, text: str, details: list[JsonObject]
    ) -> None:
        super().__init__(f"agent {agent!r} refused {method}: {text} ({rpc_code})")
        self.method = method
        self.rpc_code = rpc_code
        self.text = text
        self.reason = next((code for item in details if (code := _code_of(item))), None)


def _code_of(detail: JsonObject) -> str | None:
    """The code our own servers put beside the typed detail of an A2A error."""
    code = as_object(detail.get("metadata")).get("code")
    return code if isinstance(code, str) else None


class AgentLostError(GatewayError):
    code = "agent_lost"

    def __init__(self, agent: str, why: str) -> None:
        super().__init__(
            f"agent {agent!r} {why}; what it did is unknown, so look before you start a new run"
        )


class StartUnknownError(GatewayError):
    code = "start_unknown"

    def __init__(self, agent: str) -> None:
        super().__init__(
            f"agent {agent!r} was sent the message and the answer was lost; it may be working, "
            "and sending it again could do the work twice: look there before you start a new run"
        )


class AgentFloodError(GatewayError):
    code = "agent_flood"

    def __init__(self, agent: str, what: str) -> None:
        super().__init__(
            f"agent {agent!r} sends without end: {what}; it was asked to stop, and may not have"
        )


class SchemaMismatchError(GatewayError):
    code = "schema_mismatch"

    def __init__(self, agent: str, fault: str) -> None:
        super().__init__(f"the answer of agent {agent!r} does not fit output_schema: {fault}")


class LaunchError(GatewayError):
    code = "launch_failed"

    def __init__(self, agent: str, why: str) -> None:
        super().__init__(
            f"agent {agent!r} could not be started: {why}; "
            f"run start-a2a-agent {agent} by hand to see more"
        )


class ExposureError(GatewayError):
    """What the gateway is told to use would let others in; `what` names it, `then` the way out."""

    code = "exposed"

    def __init__(self, what: str, then: str) -> None:
        super().__init__(f"{what}: whoever reaches it runs code through the agents here; {then}")


class HomeInUseError(GatewayError):
    code = "gateway_running"

    def __init__(self, home: str, url: str | None) -> None:
        where = f" at {url}" if url else ""
        super().__init__(
            f"a gateway is already running{where} with home {home}; "
            "use it, stop it (a2a-gateway stop), or choose another --home"
        )


class BridgeError(GatewayError):
    code = "bridge_missing"
