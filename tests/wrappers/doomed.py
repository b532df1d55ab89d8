"""A stand-in for a wrapper that will be killed: starts the family and hands its lines on."""

import asyncio
import os
import sys
from pathlib import Path

from wrappers.process import guardian_launcher, spawn

FAMILY = Path(__file__).with_name("family.py")


async def main(way: str, folder: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    if way == "control":
        child = await spawn(
            [sys.executable, FAMILY, "stubborn"], cwd=folder, env=env, tag="doomed", grace_s=0.2
        )
        lines = child.stdout
    else:
        binary = folder / "family"
        binary.write_text(f"#!/bin/sh\nexec {sys.executable} {FAMILY} stubborn\n", "utf-8")
        binary.chmod(0o700)
        launcher = guardian_launcher(folder / "launcher", binary, env=env, grace_s=0.2)
        process = await asyncio.create_subprocess_exec(launcher, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        os.write(1, f"guardian {process.pid}\n".encode())
        lines = process.stdout
    async for line in lines:
        os.write(1, line)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
