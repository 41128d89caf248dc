"""Quota for people: how much there is, and every movement with its reason and what was available after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, cast
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.quota import HasLedger, Line, lines_of, read_statement
from emeterai.accounts.quota_news import LINES_SHOWN, position_of
from emeterai.accounts.quota_routes import HistoryNews, answer_news
from emeterai.accounts.service import Caller
from emeterai.infra.clock import utc_now
from emeterai.infra.http import CURSOR_BAD, cursor_of, read_cursor
from emeterai.web import paths
from emeterai.web.headers import content_security_policy
from emeterai.web.pages import Pages

_NEWEST = 5
_NEWS_WAIT_S = 25.0
"""So long a page of the history waits for news in one request: less than proxies let a line be silent."""
_FOLLOWING = {"content-security-policy": content_security_policy(runs_script=True)}
_REFRESH_S, _REFRESH_PAYING_S = 1, 5
"""A held unit is used or returns within seconds; the page shows it within one. A payment takes a person minutes, and a
crowd of payers that asked each second would be a storm."""
# A minus too: lines are shown in the order in which their transactions began, and those may end in another.
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


class HasGrants(Protocol):
    """Whoever knows what was granted to a person and goes back on its day."""

    async def grants(self, account_id: UUID, *, only_open: bool = False) -> Sequence[Any]:
        """The grants of an account, as the template of the quota shows them."""


class HasMoney(Protocol):
    """Whoever knows what a person is about to pay for."""

    async def has_charge_to_pay(self, account_id: UUID) -> bool:
        """Whether an order of the account awaits its payment."""


class QuotaServices(HasLedger, Protocol):
    """What these pages find in the application's `state["services"]`, besides `accounts`."""

    pages: Pages
    claims: HasGrants
    purchase: HasMoney


class QuotaPages(Controller):
    """The page of the quota and the pages of its history."""

    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get(paths.QUOTA)
    async def quota(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[Any]:
        """The quota, and its newest movements; a plain member of a group is shown what he may spend of it instead."""
        if caller.only_by is not None:
            return Redirect(paths.group(caller.account_id), status_code=303, headers={"cache-control": "no-store"})
        services = _services(request)
        balance, movements = await read_statement(services.ledger, caller.account_id, limit=_NEWEST)
        quota = {
            "available": balance.available,
            "held": balance.held,
            "used": balance.used,
            "refunded": balance.refunded,
            "bought": balance.bought,
        }
        lines = lines_of(movements, available=balance.available)
        return services.pages.render(
            request,
            "accounts/quota.html",
            quota=quota,
            grants=[] if caller.acting else await services.claims.grants(caller.account_id, only_open=True),
            movements=[_shown(line) for line in lines],
            refresh_s=await _refresh_s(request, caller, held=balance.held),
        )

    @get(paths.HISTORY)
    async def history(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """The history, a page at a time."""
        services = _services(request)
        cursor, position = request.query_params.get("cursor") or None, ""
        if cursor is None:
            balance, movements = await read_statement(services.ledger, caller.account_id, limit=LINES_SHOWN + 1)
            available, refresh_s = balance.available, await _refresh_s(request, caller, held=balance.held)
            if not _is_told_to_rest(request):
                position = position_of(movements)
        else:
            refresh_s = 0  # what has moved since is on the first page
            before, available = _read_page_cursor(cursor)
            movements = await services.ledger.history(caller.account_id, before=before, limit=LINES_SHOWN + 1)
        lines = lines_of(movements, available=available)
        shown, older = lines[:LINES_SHOWN], lines[LINES_SHOWN:]
        return services.pages.render(
            request,
            "accounts/history.html",
            headers=_FOLLOWING if position else None,
            movements=[_shown(line) for line in shown],
            made_at=utc_now(),
            position=position,
            newer_url=None if cursor is None else paths.HISTORY,
            refresh_s=refresh_s,
            older_url=f"{paths.HISTORY}?cursor={quote(_page_cursor(shown[-1], older[0]))}" if older else None,
        )

    @get(paths.HISTORY_NEWS)
    async def news(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[HistoryNews]:
        """What the script of an open history waits for: where it stands, as soon as that is not `after`."""
        return await answer_news(request, caller, after=request.query_params.get("after", ""), wait_s=_NEWS_WAIT_S)


def _services(request: AnyRequest) -> QuotaServices:
    return cast("QuotaServices", request.app.state["services"])


def _is_told_to_rest(request: AnyRequest) -> bool:
    return request.query_params.get("refresh") == "0"


async def _refresh_s(request: AnyRequest, caller: Caller, *, held: int) -> int:
    """After how many seconds a page looks again by itself; 0: never, for nothing is under way or the person said so."""
    if _is_told_to_rest(request):
        return 0
    if held:
        return _REFRESH_S
    purchase = _services(request).purchase
    # An order is paid in the moment in which its quota is there.
    pays = await purchase.has_charge_to_pay(caller.account_id)
    return _REFRESH_PAYING_S if pays else 0


def _page_cursor(last: Line, following: Line) -> str:
    """After this line, and what was available then: an older page need not count from today backwards."""
    return f"{cursor_of(last.movement.posted_at, last.movement.id)}.{following.available_after}"


def _read_page_cursor(cursor: str) -> tuple[tuple[datetime, UUID] | None, int]:
    place, _, available = cursor.rpartition(".")
    if not place or not _WHOLE_NUMBER.fullmatch(available):
        raise CURSOR_BAD()
    return read_cursor(place), int(available)


def _shown(line: Line) -> dict[str, Any]:
    """A line as the templates show it."""
    words = line.words
    return {
        "at": line.movement.posted_at,
        "change": line.change,
        "available_after": line.available_after,
        "reason_id": words.why_id,
        "reason_en": words.why_en,
        "next_id": words.next_id,
        "next_en": words.next_en,
        "next_url": line.next_url,
    }


controllers: tuple[type[Any], ...] = (QuotaPages,)
"""What the application mounts."""
