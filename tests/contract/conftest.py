"""The agents that the contract is put to, one after another."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.contract.subjects import SUBJECTS, Subject, subject_named


@pytest.fixture(params=list(SUBJECTS))
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str]
) -> AsyncGenerator[Subject]:
    async with subject_named(request.param, tmp_path, environment) as subject:
        yield subject
