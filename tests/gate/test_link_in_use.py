"""The link with a real server: three files of a partner beside thirty of the others, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from prometheus_client import REGISTRY
from served_door import ServedDoor, until

from emeterai.gate.link import Link

KEY = "emk_" + "k" * 43
SHARES = {"retail": 0.4, "partners": 0.25}


def came_by_link(lane: str) -> float:
    """How many bytes have come by a link in a lane."""
    return REGISTRY.get_sample_value("emeterai_door_link_bytes_total", {"lane": lane}) or 0.0


async def send_on_and_on(port: int, headers: str) -> None:
    """Send a file for as long as the other side reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.ExitStack() as stack:
        stack.callback(writer.transport.abort)
        writer.write(f"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n{headers}\r\n".encode())
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()


async def test_three_of_a_partner_beside_thirty_others_have_the_lanes_share() -> None:
    """By bytes, where they would have an eleventh by their number."""
    served = ServedDoor(limit=2)
    served.lanes_of_keys[hashlib.sha256(KEY.encode()).digest()] = "partners"
    served.door.link = Link(8_000_000.0, clock=asyncio.get_running_loop().time)
    served.door.share(SHARES)

    async def came_bytes(size_bytes: float) -> dict[str, float]:
        """What comes of each lane while so much comes of all."""
        before = {lane: came_by_link(lane) for lane in SHARES}
        await until(lambda: sum(came_by_link(lane) - before[lane] for lane in SHARES) >= size_bytes)
        return {lane: came_by_link(lane) - before[lane] for lane in SHARES}

    async with served.serving():
        partner = f"Authorization: Bearer {KEY}\r\n"
        files = [asyncio.create_task(send_on_and_on(served.port, "")) for _ in range(30)]
        files += [asyncio.create_task(send_on_and_on(served.port, partner)) for _ in range(3)]
        try:
            await came_bytes(4_000_000)
            came = await came_bytes(12_000_000)
        finally:
            for file in files:
                file.cancel()
            await asyncio.gather(*files, return_exceptions=True)
        assert 0.3 < came["partners"] / sum(came.values()) < 0.47
        served.door.link.bytes_per_s = 1e9
        await until(lambda: served.door.bodies.slots.used == 0)
    assert 0 == served.door.link.waiting
