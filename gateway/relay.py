"""`a2a-mcp-bridge`'s entry: the bridge's relay, or a word about what hides it.

Standard library only, and next to nothing of it: an agent waits for this. Another distribution,
mcp-bridge, ships a package of the bridge's name, so the entry cannot lie in that package.
"""

import gc
import sys
from typing import Final

PRODUCT: Final = "a2a-gateway"
HIDDEN: Final = (
    f"a2a-mcp-bridge: the package mcp_bridge is not {PRODUCT}'s; uninstall the distribution "
    f"mcp-bridge and install {PRODUCT} again\n"
)


def main() -> int:
    """Run the relay."""
    gc.disable()  # it finds nothing in what is being imported, and takes 4 ms of 50
    try:
        # Inline: whether it is there at all is the question.
        from mcp_bridge import stdio  # noqa: PLC0415
    except ImportError:
        stdio = None
    gc.enable()
    if stdio is None or getattr(stdio, "PRODUCT", None) != PRODUCT:
        sys.stderr.write(HIDDEN)
        return 1
    return stdio.main()


if __name__ == "__main__":
    sys.exit(main())
