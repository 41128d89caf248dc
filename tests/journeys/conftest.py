"""People for the journeys: made once for a module, because making one costs two password hashes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from running import Person, RunningService


@pytest.fixture(scope="module")
async def person(service: RunningService) -> AsyncIterator[Person]:
    """Someone who has bought nothing."""
    someone = await Person.sign_up(service)
    yield someone
    await someone.close()


@pytest.fixture(scope="module")
async def stranger(service: RunningService) -> AsyncIterator[Person]:
    """Someone else."""
    someone = await Person.sign_up(service)
    yield someone
    await someone.close()


@pytest.fixture(scope="module")
async def buyer(service: RunningService) -> AsyncIterator[Person]:
    """Someone who has bought ten stamps."""
    someone = await Person.sign_up(service, quota=10)
    yield someone
    await someone.close()
