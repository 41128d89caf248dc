"""An opener that is quicker than its parent is heard."""

from __future__ import annotations

import asyncio
from socket import AF_UNIX, SOCK_STREAM, socketpair

from emeterai.seal.messages import LENGTH
from emeterai.seal.pool import _Channel


async def test_what_an_opener_says_before_anybody_listens_is_not_lost() -> None:
    """A busy parent comes late: "ready" is in the socket before it asks. Lost, it cost 30 s and a new opener."""
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    with theirs:
        theirs.sendall(LENGTH.pack(5) + b"ready")
        ours.setblocking(False)
        transport, channel = await asyncio.get_running_loop().create_unix_connection(_Channel, sock=ours)
        await asyncio.sleep(0.05)
        assert b"ready" == await asyncio.wait_for(channel.message(), 5)
        theirs.sendall(LENGTH.pack(5) + b"again")
        assert b"again" == await asyncio.wait_for(channel.message(), 5)
        transport.close()
