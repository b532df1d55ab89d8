"""start-a2a-agent: asks or reads which agents to wrap, says when they are ready, ends on Ctrl+C.

Knows no adapter and no route; it imports the server only once the command line is understood, so
mistakes are answered at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

from pydantic import ValidationError

from gateway.core.extension import describe
from wrappers.agent import AgentMissingError
from wrappers.agents import AGENTS, agent_named
from wrappers.options import DOCTOR, FAILED, INTERRUPTED, NAME_TAKEN, USAGE_ERROR, parser
from wrappers.serving.home import NameTakenError
from wrappers.serving.init import stay_first
from wrappers.settings import RunAsError, WrapperSettings, become, process_environment

QUESTION: Final = "Choose backend to wrap (`1`/`codex` or `2`/`claude_code`):"
WRONG_CHOICE: Final = "Invalid choice. Enter `1`, `codex`, `2`, or `claude_code`."
# What belongs to one wrapper alone: flag, field, and whether a value is harmless for several.
ONE_EACH: Final = ("name", "port", "public_url")


class LaunchError(Exception):
    """The wrapper cannot start; the text says why and what to do, `status` is the exit status."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exits as `options.EXITS` says."""
    _fill_descriptors()
    stay_first()
    options = parser().parse_args(arguments)
    try:
        status = _launch(options)
    except LaunchError as exc:
        _say(f"start-a2a-agent: {exc}", sys.stderr)
        sys.exit(exc.status)
    sys.exit(status)


def _fill_descriptors() -> None:
    """Nothing that is opened later may become stdin, stdout or stderr of a closed terminal."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return


def _launch(options: argparse.Namespace) -> int:
    given = vars(options)
    asked, as_json = given.pop("agents"), given.pop("json")
    if asked[:1] == [DOCTOR]:
        return _examine(_named(asked[1:]), _settings(given), as_json=as_json)
    names = _named(asked) or [_choose()]
    settings = _settings(given)
    _check_several(names, settings)
    _log(as_json=as_json)
    _serve(names, settings, as_json=as_json)
    return 0


def _named(asked: Sequence[str]) -> list[str]:
    """The agents that are meant, each once. Raises: LaunchError."""
    names: list[str] = []
    for text in asked:
        name = agent_named(text)
        if name is None:
            raise LaunchError(f"no agent {text!r}; there are: {', '.join(AGENTS)}", USAGE_ERROR)
        if name in names:
            raise LaunchError(
                f"agent {name} is named twice; for a second wrapper of it run the command again "
                "with --name",
                USAGE_ERROR,
            )
        names.append(name)
    return names


def _check_several(names: Sequence[str], settings: WrapperSettings) -> None:
    """Raises: LaunchError for a setting that only one wrapper can have."""
    if len(names) == 1:
        return
    for field in ONE_EACH:
        if getattr(settings, field):
            flag = "--" + field.replace("_", "-")
            raise LaunchError(
                f"{flag} is for one agent, and {len(names)} are named: {', '.join(names)}; leave "
                "it out, or start each with a command of its own",
                USAGE_ERROR,
            )


def _log(*, as_json: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if as_json else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("wrappers").setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _choose() -> str:
    """Ask the person at the terminal. Raises: LaunchError."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise LaunchError(
            f"no agent named, and no terminal to ask on; name one: {', '.join(AGENTS)}", USAGE_ERROR
        )
    import questionary  # noqa: PLC0415 - 150 ms that only the question needs

    answer = questionary.text(QUESTION, validate=_valid_choice).ask()
    if answer is None:
        raise LaunchError("nothing chosen", INTERRUPTED)
    return agent_named(answer) or ""


def _valid_choice(text: str) -> bool | str:
    return agent_named(text) is not None or WRONG_CHOICE


def _settings(given: dict[str, Any]) -> WrapperSettings:
    try:
        settings = WrapperSettings(**given)
        if settings.run_as is None:
            return settings
        become(settings.run_as)
        return WrapperSettings(**given)  # again: the home may be that user's
    except ValidationError as exc:
        raise LaunchError(describe(exc), USAGE_ERROR) from exc
    except KeyError as exc:
        raise LaunchError(f"no user {given.get('run_as')!r} on this machine", USAGE_ERROR) from exc
    except PermissionError as exc:
        raise LaunchError("--run-as needs root") from exc
    except RunAsError as exc:
        raise LaunchError(str(exc)) from exc


def _examine(names: Sequence[str], settings: WrapperSettings, *, as_json: bool) -> int:
    # Half a second of imports that a wrong command line need not wait for.
    from wrappers.serving.doctor import examine  # noqa: PLC0415

    os.umask(0o077)
    report = examine(names, settings, process_environment())
    _say(report.line() if as_json else report.text())
    return FAILED if report.failed else 0


def _serve(names: Sequence[str], settings: WrapperSettings, *, as_json: bool) -> None:
    # As above.
    from gateway.core.errors import DatabaseUnusableError  # noqa: PLC0415
    from gateway.core.face.serving import PortTakenError, run  # noqa: PLC0415
    from gateway.core.face.tokens import TokenError  # noqa: PLC0415
    from wrappers.serving.exposure import ExposureError  # noqa: PLC0415
    from wrappers.serving.fleet import EndedError, serve_all  # noqa: PLC0415
    from wrappers.serving.saying import on_stop, says  # noqa: PLC0415

    os.umask(0o077)
    try:
        run(
            serve_all(
                names,
                settings,
                process_environment(),
                says(_say, as_json=as_json),
                on_stop(_say, names, as_json=as_json),
            )
        )
    except (
        AgentMissingError,
        DatabaseUnusableError,
        EndedError,
        ExposureError,
        PortTakenError,
        TokenError,
    ) as exc:
        raise LaunchError(str(exc)) from exc
    except NameTakenError as exc:
        raise LaunchError(str(exc), NAME_TAKEN) from exc
    except PermissionError as exc:
        raise LaunchError(f"no permission for {exc.filename}; see A2A_GATEWAY_HOME") from exc


def _say(text: str, stream: TextIO | None = None) -> None:
    """To stdout, unless nobody is there any more."""
    stream = stream or sys.stdout
    if stream is None:
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:  # what is still buffered would fail again at exit, and be the exit status
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    main()
