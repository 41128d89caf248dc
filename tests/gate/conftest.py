"""What tests of the door share: an application behind it, and somebody who asks. A test may have another of each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from served_door import ServedDoor


@pytest.fixture
def served() -> ServedDoor:
    """A door with two slots."""
    return ServedDoor(limit=2)


@pytest.fixture
async def client(served: ServedDoor) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody outside."""
    async with served.serving() as found:
        yield found
