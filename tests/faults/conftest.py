"""How long the fault tests go on: `--rounds` kills of each kind (3, or what `make faults` says)."""

import pytest


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(str(request.config.getoption("--rounds")))
