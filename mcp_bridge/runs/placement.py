"""Where a spawned run goes: its agent, its folder, its session, under which settings.

Knows the registry of agents by its one method.
"""

from dataclasses import dataclass
from typing import Final

import anyio.to_thread
from pydantic import ValidationError

from gateway.core.extension import CodingRequest, describe
from gateway.core.record import Session
from mcp_bridge.arguments import REMOTE
from mcp_bridge.errors import RefusedError
from mcp_bridge.runs import workplace
from mcp_bridge.runs.request import BackendConfig, SpawnRun
from mcp_bridge.tool import Call

# The keys of backend_config that say how a run works; the others say which agent it is.
SETTINGS: Final = frozenset(
    {"permission_mode", "sandbox", "model", "effort", "limits", "isolation", "env_policy"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    agent: str
    context_id: str | None
    request: CodingRequest


async def place(call: Call, arguments: SpawnRun) -> Placement:
    """Where a run goes. Raises: CoreError."""
    local = arguments.backend != REMOTE
    config = arguments.backend_config or BackendConfig()
    agent_keys = config.model_dump(exclude=set(SETTINGS), exclude_none=True)
    if local and agent_keys:
        raise RefusedError(
            f"backend_config.{next(iter(agent_keys))} is for backend {REMOTE} only; "
            f"leave it out for {arguments.backend}"
        )
    request = await anyio.to_thread.run_sync(_request, arguments, config)
    session = await _session(call, arguments)
    if session is not None and not agent_keys:
        agent = session.agent
    else:
        if not local and not {"agent_url", "agent"} & agent_keys.keys():
            raise RefusedError(
                f"{REMOTE} needs backend_config.agent_url, or backend_config.agent with the "
                "name of a registered agent"
            )
        agent = await call.backends.resolve(arguments.backend, agent_keys, request.cwd or "")
    if session is not None and agent != session.agent:
        raise RefusedError(f"Session {session.id} is bound to agent {session.agent}, not {agent}")
    context_id = None if session is None else session.id
    return Placement(agent=agent, context_id=context_id, request=request)


def _request(arguments: SpawnRun, config: BackendConfig) -> CodingRequest:
    cwd = workplace.folder(arguments.cwd, local=arguments.backend != REMOTE)
    profile = arguments.profile
    try:
        return CodingRequest(
            cwd=cwd,
            role=arguments.role,
            nickname=(arguments.nickname or "").strip() or None,
            profile=None if profile is None else workplace.read_profile(profile, cwd),
            output_schema=arguments.output_schema,
            labels=arguments.labels,
            request_key=arguments.request_key,
            permission_mode=config.permission_mode,
            sandbox=config.sandbox,
            model=config.model,
            effort=config.effort,
            limits=config.limits,
            isolation=config.isolation,
            env_policy=config.env_policy,
        )
    except ValidationError as exc:
        raise RefusedError(describe(exc)) from exc


async def _session(call: Call, arguments: SpawnRun) -> Session | None:
    """The session to resume, None for a new one. Raises: RefusedError."""
    session_id = arguments.session_id
    if arguments.session_mode == "new" or session_id is None:
        return None
    session = await call.tasks.session(call.principal, session_id)
    if session is None:
        raise RefusedError(
            f"Unknown session_id: {session_id}; list_runs shows sessions, session_mode new makes one"
        )
    if session.backend != arguments.backend:
        raise RefusedError(
            f"Session {session_id} is bound to backend {session.backend}, not {arguments.backend}"
        )
    name = (arguments.nickname or "").strip()
    if name and name != session.nickname:
        raise RefusedError(f"Session {session_id} is already named {session.nickname}, not {name}")
    return session
