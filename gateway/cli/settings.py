"""What the command line takes from its environment: the home it works with.

The gateway's own settings cost 0.1 s of imports; a command that only asks it does without them.
"""

import os
from pathlib import Path
from typing import Final

APPLICATION: Final = "a2a-gateway"
HOME_VARIABLE: Final = "A2A_GATEWAY_HOME"


def environment(home: Path | None) -> dict[str, str]:
    """The process's environment, with --home over its variable."""
    given = {} if home is None else {HOME_VARIABLE: str(home.expanduser().absolute())}
    return {**os.environ, **given}


def home_of(home: Path | None) -> Path:
    """The home that is meant; nothing is made there."""
    if given := environment(home).get(HOME_VARIABLE):
        return Path(given).expanduser().absolute()
    # Inline: the usual place, which --home and its variable spare.
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_state_dir(APPLICATION))
