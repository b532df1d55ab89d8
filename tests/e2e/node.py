"""Foreign peers written in JavaScript: npm packages beside a script of ours, outside the repository."""

import os
import shutil
from pathlib import Path

import anyio
import pytest


async def installed(folder: Path, script: Path, *packages: str) -> Path:
    """A copy of `script` in `folder`, with `packages` to import. Skips where that cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed for a JavaScript peer and not on PATH")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages]
    # npm's own configuration (which registry, its cache) is the machine's, like pip's.
    done = await anyio.run_process(command, check=False, env=dict(os.environ))
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        pytest.skip(f"npm could not install {' '.join(packages)}: {reason[:1]}")
    return Path(shutil.copy(script, folder))
