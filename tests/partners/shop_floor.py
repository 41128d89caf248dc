"""People with browsers and programs at the pages and routes of partners."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
from litestar import Litestar

from emeterai.accounts.service import Accounts
from emeterai.accounts.staff import Role, Staff
from emeterai.infra.ids import new_id
from emeterai.partners.service import Partner
from market import Market, address_of, person

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
_HIDDEN = re.compile(r'type="hidden" name="(idempotency_key|move_id)" value="([^"]+)"')


@dataclass
class Visitor:
    """Somebody at a browser, and the same person's program."""

    browser: httpx.AsyncClient
    program: httpx.AsyncClient

    async def see(self, path: str) -> str:
        """A page, which has to be there."""
        answer = await self.browser.get(path)
        assert 200 == answer.status_code, answer.text
        return answer.text

    async def send(self, path: str, *, page: str | None = None, **fields: str) -> httpx.Response:
        """Fill in the form of a page (by default the one that the form posts to) and send it."""
        shown = (await self.browser.get(page or path)).text
        found = _CSRF.search(shown)
        assert found is not None, shown
        return await self.browser.post(path, data={"csrf": found[1], **dict(_HIDDEN.findall(shown)), **fields})


@dataclass
class Floor:
    """The application."""

    app: Litestar
    accounts: Accounts
    staff: Staff
    market: Market

    async def visitor(self, *, of: Partner | None = None, role: Role | None = None) -> Visitor:
        """Somebody who has signed in: as a partner, as staff, or as anybody."""
        account_id = of.account_id if of else await person(self.market.db)
        account = await self.accounts.account(account_id)
        if role is not None:
            await self.staff.grant(address_of(account_id), role, by="test")
        token = (await self.accounts.open_session(account)).token
        key = await self.accounts.create_api_key(await self.accounts.identify(token), "kasir")
        browser, program = (
            httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://meterai.example")
            for _ in range(2)
        )
        browser.cookies.set("emeterai_session", token)
        program.headers["authorization"] = f"Bearer {key.token}"
        return Visitor(browser, program)


def fresh_key() -> dict[str, str]:
    """The header of a sale that was not sent before."""
    return {"Idempotency-Key": new_id().hex}
