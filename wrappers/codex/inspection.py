"""Whether Codex can work here: its program, version, login and sandbox, asked of the program itself.

Starts no app-server and writes nothing into the folder of Codex's settings.
"""

import asyncio
import contextlib
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.json import JsonObject, as_object
from wrappers.adapter import Finding
from wrappers.codex.server import codex_home, key_of
from wrappers.processes.process import GRACE_S, spawn

OLDEST: Final = (0, 163, 0)  # that the tests drive
LOOK_S: Final = 10.0 - GRACE_S - 1.0  # an inspection takes 10 s at most, with the end of a program
UPDATE: Final = "update it (npm install -g @openai/codex, or pip install -U 'a2a-gateway[codex]')"
LOGIN: Final = "run `codex login` as the user of this wrapper, or start it with OPENAI_API_KEY set"
NAME: Final = "codex"  # it says `codex-cli 0.163.0`
FAILED: Final = 127  # what the guardian exits with when a program cannot be started


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended and what it printed; no code where it did not end in time."""

    code: int | None
    out: str
    err: str

    @property
    def why(self) -> str:
        """The last line that it wrote."""
        lines = [line for line in (self.err or self.out).splitlines() if line.strip()]
        if self.code is None:
            return f"no answer within {LOOK_S:.0f} s"
        return lines[-1].strip() if lines else f"exit status {self.code}"


async def inspect(binary: Path, env: Mapping[str, str]) -> Sequence[Finding]:
    """Four findings, or the first alone when the program cannot be run."""
    with tempfile.TemporaryDirectory(prefix="codex-inspection-") as folder:
        # For all but the login: a home of its own, so that nothing is left in the user's.
        private = {**env, "CODEX_HOME": folder, "TMPDIR": folder}
        # Codex puts links to itself into its home, unless that is a folder for temporary files.
        untouched = {**env, "TMPDIR": str(codex_home(env))}
        version, status, sandbox = await asyncio.gather(
            _ask(binary, ("--version",), private),
            _ask(binary, ("login", "status"), untouched),
            _ask(binary, ("sandbox", "--", "/bin/true"), private),
        )
    if version.code != 0 or NAME not in version.out:
        return [_program_failed(binary, version)]
    return [
        Finding(name="program", verdict="ok", text=str(binary)),
        _version(version),
        _login(env, status),
        _sandbox(sandbox),
    ]


async def _ask(binary: Path, arguments: Sequence[str], env: Mapping[str, str]) -> Said:
    out = err = b""
    code = None
    child = await spawn([binary, *arguments], cwd=Path("/"), env=env, tag="codex-inspection")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
                code = await child.wait()
    finally:
        await child.close()
    return Said(code=code, out=out.decode(errors="replace"), err=err.decode(errors="replace"))


def _program_failed(binary: Path, said: Said) -> Finding:
    what = "cannot be started" if said.code == FAILED else "does not run"
    if said.code == 0:
        what = "is not Codex"
    text = f"{binary} {what}: {said.why}; name another with --codex-bin"
    return Finding(name="program", verdict="failed", text=text)


def _version(said: Said) -> Finding:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said.out)
    if found is None:
        text = f"{said.out.strip() or 'nothing'!r} names no version; {UPDATE} if runs fail"
        return Finding(name="version", verdict="warned", text=text)
    if tuple(map(int, found.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        text = f"{found[0]} is older than {oldest}, the oldest that works with us; {UPDATE}"
        return Finding(name="version", verdict="failed", text=text)
    return Finding(name="version", verdict="ok", text=found[0])


def _login(env: Mapping[str, str], status: Said) -> Finding:
    try:
        provider = _provider(codex_home(env) / "config.toml")
    except (OSError, ValueError) as exc:
        text = f"Codex's config.toml cannot be read ({type(exc).__name__}); mend it"
        return Finding(name="login", verdict="failed", text=text)
    name, variable = provider.get("name"), provider.get("env_key")
    if variable is not None and not env.get(str(variable)):
        text = f"the model's provider {name} needs {variable}: start the wrapper with it set and "
        text += f"named in A2A_AGENT_PASS_ENV ({variable})"
        return Finding(name="login", verdict="failed", text=text)
    if variable is not None or not provider.get("requires_openai_auth"):
        text = f"the model's provider {name} takes {variable or 'no login'}"
        return Finding(name="login", verdict="ok", text=text)
    if (key := key_of(env)) is not None:
        return Finding(name="login", verdict="ok", text=f"by the key in {key}")
    if status.code == 0:
        text = (status.out.strip() or status.why).splitlines()[-1]
        return Finding(name="login", verdict="ok", text=text)
    return Finding(name="login", verdict="failed", text=f"{status.why}; {LOGIN}")


def _provider(config: Path) -> JsonObject:
    """The settings of the model's provider. Raises: OSError, ValueError."""
    try:
        settings = tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        settings = {}
    name = str(settings.get("model_provider") or "openai")
    own = as_object(as_object(settings.get("model_providers")).get(name))
    return {"requires_openai_auth": name == "openai", **own, "name": name}


def _sandbox(said: Said) -> Finding:
    if said.code == 0:
        return Finding(name="sandbox", verdict="ok", text="commands can be confined")
    text = f"commands cannot be confined here ({said.why}): install bubblewrap, allow user "
    text += "namespaces, or ask for sandbox danger-full-access"
    return Finding(name="sandbox", verdict="warned", text=text)
