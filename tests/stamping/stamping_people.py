"""A person with a browser, and the little PDF files that they stamp."""

from __future__ import annotations

import io
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import httpx
import pikepdf
from litestar import Litestar

from emeterai.app import Services
from emeterai.core.ledger import Balance, Kind, Reason, Transfer
from emeterai.infra.ids import new_id

SIZE_BYTES_MAX = 200_000
Working = Callable[..., AbstractAsyncContextManager[None]]
"""Makes sealers that work on the named kinds of job."""


@dataclass(frozen=True)
class Site:
    """The service as it runs."""

    app: Litestar
    services: Services

    def browser(self) -> httpx.AsyncClient:
        """A browser that has never been here."""
        transport = httpx.ASGITransport(cast("Any", self.app))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


@dataclass(frozen=True)
class Person:
    """Somebody signed in, with a browser."""

    site: Site
    browser: httpx.AsyncClient
    account_id: UUID

    async def submit(
        self, page: str, values: Mapping[str, str] | None = None, *, file: tuple[str, bytes] | None = None
    ) -> httpx.Response:
        """Open a page, fill in its form and send it."""
        return await self.send(page, {**await self.form(page), **(values or {})}, file=file)

    async def form(self, page: str) -> dict[str, str]:
        """The hidden fields of a page's form, its page number included."""
        shown = (await self.browser.get(page)).text
        number = re.search(r'name="page" type="number" value="(\d+)"', shown)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown))
        return hidden | ({"page": number[1]} if number else {})

    async def send(
        self, page: str, values: Mapping[str, str], *, file: tuple[str, bytes] | None = None
    ) -> httpx.Response:
        """Send a form as it is."""
        return await self.browser.post(page, data=dict(values), files={"file": file} if file else None)

    async def upload(self, data: bytes, name: str = "surat.pdf") -> str:
        """Upload a file; answers the address of its document."""
        answer = await self.submit("/unggah", file=(name, data))
        assert 303 == answer.status_code, answer.text
        return answer.headers["location"]

    async def text(self, address: str) -> str:
        """A page as text."""
        return (await self.browser.get(address)).text

    async def buy(self, amount: int) -> None:
        """Have quota."""
        credit = Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, amount, account=self.account_id)
        await self.site.services.ledger.post([credit])

    async def balance(self) -> Balance:
        """What the ledger says."""
        return await self.site.services.ledger.balance(self.account_id)


People = Callable[[], Awaitable[Person]]
"""Makes persons who have just signed up."""


def pdf(
    pages: int = 1, *, size_pt: tuple[float, float] = (595, 842), form: bool = False, painted: bool = False
) -> bytes:
    """A small PDF; `painted` all over, it has no free place."""
    made, out = pikepdf.new(), io.BytesIO()
    for _ in range(pages):
        made.add_blank_page(page_size=size_pt)
    if painted:
        width, height = size_pt
        squares = (f"{x} {y} 4 4 re f" for x in range(0, int(width), 12) for y in range(0, int(height), 12))
        made.pages[-1].Contents = made.make_stream("\n".join(squares).encode())
    if form:
        field = made.make_indirect(pikepdf.Dictionary(FT=pikepdf.Name.Tx, T=pikepdf.String("nama")))
        made.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([field]))
    made.save(out)
    return out.getvalue()


def stamp_id_of(answer: httpx.Response) -> UUID:
    """The stamp that an answer leads to."""
    assert 303 == answer.status_code, answer.text
    return UUID(answer.headers["location"].removeprefix("/meterai/"))
