"""A stand-in for a wrapper that will be killed: starts the family and hands its lines on."""

import asyncio
import os
import sys
from pathlib import Path

from wrappers.process import spawn

FAMILY = Path(__file__).with_name("family.py")


async def main(folder: Path) -> None:
    child = await spawn(
        [sys.executable, FAMILY, "stubborn"],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        tag="doomed",
        grace_s=0.2,
    )
    async for line in child.stdout:
        os.write(1, line)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
