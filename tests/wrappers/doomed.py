"""A stand-in for a wrapper that will be killed: starts the family and hands its lines on."""

import asyncio
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from wrappers.processes.process import TREE_VARIABLE, spawn, swept_after

FAMILY = Path(__file__).with_name("family.py")
MARK = "doomed/instance"


async def main(folder: Path, swept: bool) -> None:
    async with swept_after(MARK) if swept else nullcontext():
        child = await spawn(
            [sys.executable, FAMILY, "stubborn"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], TREE_VARIABLE: MARK},
            tag="family",
            grace_s=0.2,
        )
        async for line in child.stdout:
            os.write(1, line)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:] == ["swept"]))
