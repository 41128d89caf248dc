"""Money that waits for people: what staff with the role care see, propose, and decide for each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol, cast
from urllib.parse import urlencode
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest
from emeterai.accounts.service import Caller
from emeterai.accounts.staff import Role, staff_of
from emeterai.infra.http import REQUEST_MALFORMED, cursor_of, read_cursor
from emeterai.purchase.cases import BEGINNING, Place, Waiting
from emeterai.purchase.returns_model import Action
from emeterai.purchase.returns_words import cause_in_words
from emeterai.purchase.service import Purchase
from emeterai.web import paths
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.pages import Pages

_NO_STORE = {"cache-control": "no-store"}
_NOTE_LENGTH_MAX = 500
_QUANTITY_LENGTH_MAX = 9
_A_PAGE = 100
_RETURNS, _CASES = "pengembalian", "perkara"
"""How far the page before showed each of them."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Cases are in the order of their ids, which has their time."""


class CareServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    purchase: Purchase
    pages: Pages
    csrf: Csrf


class MoneyInCarePages(Controller):
    """Returns and cases that wait for a decision of two people."""

    path = paths.OFFICE_MONEY
    include_in_schema = False
    dependencies = {"caller": Provide(staff_of(Role.CARE))}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """What waits, with what was proposed about it, a page at a time; the addresses of the pages are its cursors."""
        services = _services(request)
        returns_after, cases_after = (read_cursor(request.query_params.get(name)) for name in (_RETURNS, _CASES))
        after = Place(returns_after, cases_after[1] if cases_after else None)
        waiting = await services.purchase.cases.waiting(after, limit=_A_PAGE)
        shown = cases_shown(waiting, by=caller.actor)
        return services.pages.render(
            request,
            "purchase/cases.html",
            **shown,
            first_url=paths.OFFICE_MONEY if after != BEGINNING else None,
            following_url=_following(waiting.following) if waiting.following else None,
        )

    @post("/{subject:uuid}")
    async def propose(
        self, request: AnyRequest, caller: NamedDependency[Caller], subject: FromPath[UUID]
    ) -> Response[Any]:
        """Propose something, with the reason."""
        services = _services(request)
        fields = texts_of(await checked_form(request, services.csrf))
        note, quantity = fields.get("note", "").strip(), fields.get("quantity", "").strip()
        is_reason = 1 <= len(note) <= _NOTE_LENGTH_MAX and "\0" not in note
        if not is_reason or fields.get("action") not in {one.value for one in Action}:
            raise REQUEST_MALFORMED(detail="action, note")
        is_number = quantity.isascii() and quantity.isdecimal() and len(quantity) <= _QUANTITY_LENGTH_MAX
        await services.purchase.cases.propose(
            subject,
            Action(fields["action"]),
            note=note,
            by=caller.actor,
            quantity=int(quantity) if is_number else None,
        )
        return _back()

    @post("/usulan/{proposal:uuid}")
    async def decide(
        self, request: AnyRequest, caller: NamedDependency[Caller], proposal: FromPath[UUID]
    ) -> Response[Any]:
        """Approve or reject what somebody else proposed."""
        services = _services(request)
        fields = texts_of(await checked_form(request, services.csrf))
        await services.purchase.cases.decide(proposal, by=caller.actor, approved=fields.get("decision") == "approve")
        return _back()


def cases_shown(waiting: Waiting, *, by: UUID) -> dict[str, Any]:
    """What waits, as the page shows it to the member of staff `by`, who decides no proposal of their own."""
    open_ones = {one.return_id or one.case_id: one for one in waiting.proposals if one.decided_at is None}

    def proposal_about(subject: UUID) -> dict[str, Any] | None:
        found = open_ones.get(subject)
        return None if found is None else {"it": found, "is_own": found.proposed_by == by}

    return {
        "returns": [
            {
                "back": back,
                "order": waiting.orders[back.order_id],
                "why": cause_in_words(back),
                "proposal": proposal_about(back.id),
            }
            for back in waiting.returns
        ],
        "cases": [
            {
                "case": case,
                "order": waiting.orders[case.order_id],
                "takeable": waiting.takeable.get(case.id),
                "proposal": proposal_about(case.id),
            }
            for case in waiting.cases
        ],
    }


def _following(place: Place) -> str:
    """The address of the page that begins there."""
    cursors = {} if place.back is None else {_RETURNS: cursor_of(*place.back)}
    if place.case is not None:
        cursors[_CASES] = cursor_of(_ANY_TIME, place.case)
    return f"{paths.OFFICE_MONEY}?{urlencode(cursors)}"


def _services(request: AnyRequest) -> CareServices:
    return cast("CareServices", request.app.state["services"])


def _back() -> Response[Any]:
    return Redirect(paths.OFFICE_MONEY, status_code=303, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (MoneyInCarePages,)
"""What the application mounts."""
