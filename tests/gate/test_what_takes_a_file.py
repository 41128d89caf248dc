"""Only what takes a file takes the road of files; everything else has a small body and goes the way of its class."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute
from served_door import ServedDoor, until

from emeterai.app import create_app
from emeterai.core.admission import Work
from emeterai.core.refusal import Refused
from emeterai.gate.keeper import Keeper
from emeterai.gate.late_bodies import SMALL_BODY_BYTES
from emeterai.gate.listening import Incoming, whole_body
from emeterai.gate.sorting import sort_of
from emeterai.infra.settings import Settings

LARGE = b"x" * 200_000
FILES = """
    POST/v1/stamps POST/v1/uploads PATCH/v1/uploads/x POST/v1/verify POST/v1/programmes/x/list
    POST/unggah POST/verifikasi/berkas POST/program/x/daftar POST/petugas/setelmen
"""
"""Whatever may honestly bring more than 64 KiB: a file, a piece of one, a list of those who are invited."""
SMALL = """
    POST/masuk POST/daftar POST/v1/sessions POST/v1/accounts POST/beli POST/v1/orders POST/v1/orders/x/cancel
    POST/dokumen/x/bubuhkan POST/dokumen/x/kata-sandi POST/v1/partners/me/sales POST/voucher
    POST/v1/vouchers/redemptions POST/v1/programmes POST/program/x/kode POST/lacak
    POST/v1/receipts-in-time POST/v1/payments/sandbox/notifications
    POST/operator/jalur/retail POST/petugas/uang/x POST/perbendaharaan/setoran
    POST/gate/retail/tickets POST/gate/retail/passes POST/gate/retail/calls
"""
ENTRIES = ("POST/masuk", "POST/daftar", "POST/v1/sessions", "POST/v1/accounts")


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody is told."""
    for piece in pieces:
        yield piece


async def asked(
    client: httpx.AsyncClient, what: str, content: bytes | AsyncIterator[bytes], **headers: str
) -> httpx.Response:
    """The answer to METHOD/address with a body."""
    method, _, path = what.partition("/")
    return await client.request(method, f"/{path}", content=content, headers=headers)


def test_every_route_that_takes_more_than_a_small_body_is_known(tmp_path: Path) -> None:
    """A route with a bound of its own is one of them, unless that is small; nothing else is of such a sort."""
    app = create_app(Settings(data_dir=str(tmp_path)), Keeper(b"k" * 32))
    usual, found, larger = app.request_max_body_size, set[str](), set[str]()
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        for method, (handler, _) in route.route_handler_map.items():
            sort = sort_of(method, path)
            if method in {"POST", "PUT", "PATCH"} and sort is not None:
                bound = handler.resolve_request_max_body_size()
                found |= {f"{method}{path}"} if sort.takes_file else set()
                larger |= {f"{method}{path}"} if bound != usual and (bound or 1e9) > SMALL_BODY_BYTES else set()
    assert sorted(FILES.split()) == sorted(found)
    assert {"POST/v1/stamps", "POST/unggah"} == found - larger
    assert larger <= found


async def test_whatever_takes_a_file_takes_a_large_one(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """However it comes; a place of a body is all that it held until it was here."""
    for what in FILES.split():
        for content in (LARGE, chunks(LARGE)):
            answer = await asked(client, what, content)
            assert (200, str(len(LARGE))) == (answer.status_code, answer.text), what
    assert (0, 0, 0) == (served.door.bodies.held_bytes, served.door.work.slots.used, served.door.strangers.slots.used)


async def test_nothing_else_takes_a_large_body(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Refused at once when it says so, else where it becomes too large; it is never worked on, and holds nothing."""
    for what in SMALL.split():
        for content in (LARGE, chunks(LARGE), chunks(*[b"x" * 10_000] * 20)):
            answer = await asked(client, what, content)
            assert (413, "body_too_large") == (answer.status_code, answer.json()["code"]), what
            assert "retry-after" not in answer.headers
    assert [] == [path for path in served.work.begun if path != "/healthz"]
    assert (0, 0, 0) == (served.door.bodies.slots.used, served.door.work.slots.used, served.door.entries.slots.used)


@pytest.mark.parametrize("path", ["/v1/orders", "/gate/retail/tickets"])
async def test_who_asks_first_whether_to_send_so_much_is_told_not_to(
    served: ServedDoor, client: httpx.AsyncClient, path: str
) -> None:
    """None of it is asked for (RFC 9110, 10.1.1)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert b"413" == (await reader.readline()).split()[1]
    writer.close()


async def test_a_small_body_is_heard_though_it_does_not_say_how_large_it_is(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Up to the bound itself, in as many pieces as it likes."""
    for what in SMALL.split():
        answer = await asked(client, what, chunks(b"x" * 30_000, b"x" * (SMALL_BODY_BYTES - 30_000)))
        assert (200, str(SMALL_BODY_BYTES)) == (answer.status_code, answer.text), what


async def test_a_browser_is_told_so_on_a_page_that_asks_for_nothing(client: httpx.AsyncClient) -> None:
    """In both languages, without an invitation to send the same again."""
    answer = await asked(client, "POST/beli", LARGE, accept="text/html")
    assert (413, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert "terlalu besar" in answer.text
    assert "too large" in answer.text
    assert "detik" not in answer.text
    assert "kirim lagi" not in answer.text


@pytest.mark.parametrize("what", ENTRIES)
async def test_a_password_of_no_announced_length_is_of_the_entrance(
    served: ServedDoor, client: httpx.AsyncClient, what: str
) -> None:
    """It takes one of the slots of those who sign in, and no other."""
    entering = asyncio.create_task(asked(client, what, chunks(b"x" * 100), **{"X-Takes": "0.3"}))
    await until(lambda: served.door.entries.slots.used == 1)
    assert (0, 0) == (served.door.work.slots.used, served.door.bodies.slots.used)
    assert 200 == (await entering).status_code
    assert 0 == served.door.entries.slots.used


@pytest.mark.parametrize(
    ("what", "size", "work"),
    [
        ("POST/v1/stamps", LARGE, Work.FINISH),
        ("POST/v1/uploads", LARGE, Work.FINISH),
        ("POST/unggah", LARGE, Work.FINISH),
        ("POST/v1/programmes/x/list", LARGE, Work.FINISH),
        ("POST/v1/verify", LARGE, Work.BUY),
        ("POST/verifikasi/berkas", LARGE, Work.BUY),
        ("POST/v1/verify", b"x", Work.BROWSE),
        ("POST/v1/orders", b"x", Work.BUY),
        ("POST/voucher", b"x", Work.BUY),
    ],
)
async def test_a_file_that_is_here_is_one_class_more_urgent_and_nothing_else_is(
    served: ServedDoor, client: httpx.AsyncClient, what: str, size: bytes, work: Work
) -> None:
    """While all slots are taken it waits in that class, and in it is turned away; its work is not begun."""
    for _ in range(2):
        assert await served.door.work.enter("retail", Work.FINISH)
    content = chunks(size) if what in SMALL.split() else size
    answer = await asked(client, what, content, **{"X-Request-Timeout": "0.1"})
    assert answer.status_code >= 500
    assert {work: 1} == dict(served.door.tally("retail").refused)
    assert [] == [path for path in served.work.begun if path != "/healthz"]


async def test_a_body_is_read_up_to_its_bound() -> None:
    """Not a piece further."""
    pieces = [{"type": "http.request", "body": b"x" * 10, "more_body": True} for _ in range(10)]

    async def receive() -> object:
        return pieces.pop()

    with pytest.raises(Refused, match="body_too_large"):
        await whole_body(Incoming(receive), size_bytes_max=35)  # type: ignore[arg-type]
    assert 6 == len(pieces)
