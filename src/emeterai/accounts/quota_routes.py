"""Quota for programs: `/v1/quota` and its history, every movement with its reason in words."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import HeaderParameter, QueryParameter

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.quota import HasLedger, change_in_words, change_of, words_of
from emeterai.accounts.quota_news import NEWS_CROWDED, POSITION, POSITION_BAD, QuotaNews
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.ledger import Kind, Reason
from emeterai.infra.http import CURSOR_BAD, cursor_of, preferred_wait_s, problems, read_cursor
from emeterai.ledger.model import Movement
from emeterai.ledger.service import Ledger

LINES_A_PAGE_MAX = 100
_NO_STORE = {"cache-control": "no-store"}

Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=LINES_A_PAGE_MAX, description="Lines on a page")]
Prefer = Annotated[
    str | None,
    HeaderParameter(name="Prefer", description="`wait=N`: answer when there are news, at most N seconds from now"),
]
After = Annotated[
    str | None,
    QueryParameter(description="`position` of the answer before", schema_extra={"pattern": f"^{POSITION}$"}),
]


class QuotaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The quota, in stamps. At every moment bought = available + held + used + refunded."""

    bought: int
    available: int
    held: int
    used: int
    refunded: int


class Sentence(msgspec.Struct, frozen=True):
    """The same in Indonesian and in English."""

    id: str
    en: str


class MovementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of the quota."""

    id: UUID
    at: datetime
    kind: Kind
    reason: Reason
    amount: Annotated[int, msgspec.Meta(description="Stamps moved, always positive")]
    change: Annotated[int, msgspec.Meta(description="What it did to the available quota, with its sign")]
    subject: Annotated[UUID | None, msgspec.Meta(description="What it is about: a stamp or an order")]
    sentence: Annotated[Sentence, msgspec.Meta(description="Why, and what changed, in words")]
    next_step: Annotated[Sentence, msgspec.Meta(description="What the person may do now")]


class QuotaHistory(msgspec.Struct, frozen=True):
    """Some movements, newest first; `next` asks for the older ones and is null at the end."""

    items: list[MovementAnswer]
    next: str | None


class HistoryNews(msgspec.Struct, frozen=True):
    """Where a history stands."""

    position: Annotated[str, msgspec.Meta(description="Another one as soon as the newest lines are others")]


class HasNews(Protocol):
    """What these handlers find in the application's `state["services"]`, besides `accounts` and the ledger."""

    news: QuotaNews


class QuotaRoutes(Controller):
    """How much there is, and why."""

    path = "/v1/quota"
    tags = ("Quota",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @get(operation_id="get_quota", summary="Your quota", responses=problems(SIGN_IN_NEEDED, SESSION_EXPIRED))
    async def read(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[QuotaAnswer]:
        """Your quota as it is now."""
        balance = await _ledger(request).balance(caller.account_id)
        answer = QuotaAnswer(
            bought=balance.bought,
            available=balance.available,
            held=balance.held,
            used=balance.used,
            refunded=balance.refunded,
        )
        return Response(answer, headers=_NO_STORE)

    @get(
        "/history",
        operation_id="list_quota_history",
        summary="Every movement of your quota, newest first",
        responses=problems(SIGN_IN_NEEDED, SESSION_EXPIRED, CURSOR_BAD),
    )
    async def history(
        self, request: AnyRequest, caller: NamedDependency[Caller], limit: Limit = 50, cursor: Cursor = None
    ) -> Response[QuotaHistory]:
        """One page of movements, each with its reason."""
        found = await _ledger(request).history(caller.account_id, before=read_cursor(cursor), limit=limit + 1)
        shown = found[:limit]
        following = cursor_of(shown[-1].posted_at, shown[-1].id) if len(found) > limit else None
        return Response(QuotaHistory([_answer(movement) for movement in shown], following), headers=_NO_STORE)

    @get(
        "/history/news",
        operation_id="await_quota_history",
        summary="Wait for the next movement of your quota",
        responses=problems(SIGN_IN_NEEDED, SESSION_EXPIRED, POSITION_BAD, NEWS_CROWDED),
    )
    async def news(
        self, request: AnyRequest, caller: NamedDependency[Caller], after: After = None, prefer: Prefer = None
    ) -> Response[HistoryNews]:
        """Ask without `after` first, then read the history. With `after` and `Prefer: wait=N` the answer comes when the
        history stands elsewhere, or after N seconds with the same position.
        """
        return await answer_news(request, caller, after=after, wait_s=preferred_wait_s(prefer))


async def answer_news(
    request: AnyRequest, caller: Caller, *, after: str | None, wait_s: float
) -> Response[HistoryNews]:
    """Where the caller's history stands, waited for as `QuotaNews.position` says; no cache keeps it."""
    news = cast("HasNews", request.app.state["services"]).news
    return Response(HistoryNews(await news.position(caller.account_id, after=after, wait_s=wait_s)), headers=_NO_STORE)


def _ledger(request: AnyRequest) -> Ledger:
    return cast("HasLedger", request.app.state["services"]).ledger


def _answer(movement: Movement) -> MovementAnswer:
    words, change = words_of(movement.reason, movement.kind), change_of(movement)
    change_id, change_en = change_in_words(change)
    return MovementAnswer(
        id=movement.id,
        at=movement.posted_at,
        kind=Kind(movement.kind),
        reason=Reason(movement.reason),
        amount=movement.amount,
        change=change,
        subject=movement.subject,
        sentence=Sentence(f"{words.why_id}. {change_id}", f"{words.why_en}. {change_en}"),
        next_step=Sentence(words.next_id, words.next_en),
    )


controllers: tuple[type[Any], ...] = (QuotaRoutes,)
"""What the application mounts."""
