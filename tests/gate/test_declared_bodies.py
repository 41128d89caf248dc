"""A body that is only declared gets nobody past the door: what a method without one announces is not waited for."""

from __future__ import annotations

import asyncio

import pytest
from served_door import ServedDoor, until

from emeterai.core.admission import Work


@pytest.mark.parametrize("announced", ["Content-Length: 70000", "Transfer-Encoding: chunked"])
async def test_a_look_that_announces_a_body_waits_for_its_slot_like_any_other(announced: str) -> None:
    """Its work is not begun while all slots are taken; nobody waits for the body, which never comes."""
    served = ServedDoor(limit=2)
    async with served.serving() as client:
        slow = [asyncio.create_task(client.get("/verifikasi", headers={"X-Takes": "1"})) for _ in range(2)]
        await until(lambda: served.door.work.slots.used == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"GET /v1/quota/history HTTP/1.1\r\nHost: x\r\n{announced}\r\n\r\n".encode())
        status = (await asyncio.wait_for(reader.readline(), 10)).split()[1]
        writer.close()
        assert (b"503", 1) == (status, served.door.tally("retail").refused[Work.BROWSE])
        assert "/v1/quota/history" not in served.work.begun
        await asyncio.gather(*slow)
