"""`python -m tests.bench.profiling FILE ARGUMENTS…`: the gateway's command, and in FILE where its
time went."""

import sys
from pathlib import Path

from gateway.cli.main import app
from tests.bench.sampling import profiled


def main() -> None:
    with profiled(Path(sys.argv[1])):
        app(sys.argv[2:], standalone_mode=False)


if __name__ == "__main__":
    main()
