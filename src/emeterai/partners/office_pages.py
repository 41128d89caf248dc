"""The office's pages: the treasury records deposits and moves and signs as the second person; the operator suspends."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from emeterai.accounts.callers import AnyRequest
from emeterai.accounts.service import Caller
from emeterai.accounts.staff import Role, staff_of
from emeterai.core.refusal import Refused
from emeterai.infra.http import REQUEST_MALFORMED
from emeterai.infra.ids import new_id
from emeterai.partners.deposits import DEPOSIT_DATE_UNUSABLE, Deposit
from emeterai.partners.moves import Move
from emeterai.partners.pages import checked_fields, go, id_of, mistake, number_of, services_of
from emeterai.partners.service import PARTNER_UNKNOWN, PARTNERS_A_PAGE_MAX, Partner
from emeterai.web import paths
from emeterai.web.forms import Form

WhoCalls = NamedDependency[Caller]
_DEPOSIT_FIELDS = {
    "ntpn_unusable": "ntpn",
    "ntpn_used": "ntpn",
    "deposit_not_whole": "amount_idr",
    "deposit_date_unusable": "paid_on",
    "partner_unknown": "partner",
}
_MOVE_FIELDS = {"move_unusable": "quantity", "partner_unknown": "giver", "reason_needed": "why"}


class TreasuryPages(Controller):
    """What awaits a signature, and the forms that propose it."""

    path = paths.TREASURY
    include_in_schema = False
    dependencies = {"caller": Provide(staff_of(Role.TREASURY))}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """Deposits and moves that await a second person."""
        return await _treasury(request, caller, Form(), Form())

    @post("/setoran")
    async def propose_deposit(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Put a payment to the treasury on record, and show it."""
        fields = await checked_fields(request)
        try:
            deposit = await services_of(request).deposits.propose(
                _partner_of(fields, "partner"),
                ntpn=fields.get("ntpn", ""),
                amount_idr=number_of(fields.get("amount_idr", "").replace("Rp", "")) or 0,
                paid_on=_day(fields.get("paid_on", "")),
                by=caller.actor,
            )
        except Refused as refused:
            form = mistake(fields, refused, _DEPOSIT_FIELDS.get(refused.code, "ntpn"))
            return await _treasury(request, caller, form, Form(), refused=refused)
        return go(paths.deposit(deposit.id))

    @post("/pemindahan")
    async def propose_move(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Propose to move stock between partners, and show the proposal."""
        fields = await checked_fields(request)
        move_id = id_of(fields.get("move_id", ""))
        if move_id is None:
            raise REQUEST_MALFORMED(detail="the form has no move_id")
        try:
            move = await services_of(request).moves.propose(
                move_id,
                giver_id=_partner_of(fields, "giver"),
                receiver_id=_partner_of(fields, "receiver"),
                quantity=number_of(fields.get("quantity", "")) or 0,
                why=fields.get("why", ""),
                by=caller.actor,
            )
        except Refused as refused:
            form = mistake(fields, refused, _MOVE_FIELDS.get(refused.code, "quantity"))
            return await _treasury(request, caller, Form(), form, refused=refused)
        return go(paths.stock_move(move.id))

    @get("/setoran/{deposit_id:uuid}")
    async def deposit(self, request: AnyRequest, caller: WhoCalls, deposit_id: FromPath[UUID]) -> Response[bytes]:
        """One deposit; to a second person with the buttons that decide."""
        return await _deposit(request, caller, await services_of(request).deposits.get(deposit_id))

    @post("/setoran/{deposit_id:uuid}")
    async def decide_deposit(self, request: AnyRequest, caller: WhoCalls, deposit_id: FromPath[UUID]) -> Response[Any]:
        """Approve or reject a deposit, and show what it is then."""
        fields, deposits = await checked_fields(request), services_of(request).deposits
        try:
            if fields.get("decision") == "approve":
                await deposits.approve(deposit_id, by=caller.actor)
            else:
                await deposits.reject(deposit_id, fields.get("reason", ""), by=caller.actor)
        except Refused as refused:
            deposit = await deposits.get(deposit_id)
            return await _deposit(request, caller, deposit, mistake(fields, refused, "reason"), refused=refused)
        return go(paths.deposit(deposit_id))

    @get("/pemindahan/{move_id:uuid}")
    async def move(self, request: AnyRequest, caller: WhoCalls, move_id: FromPath[UUID]) -> Response[bytes]:
        """One move; to a second person with the buttons that decide."""
        return await _move(request, caller, await services_of(request).moves.get(move_id))

    @post("/pemindahan/{move_id:uuid}")
    async def decide_move(self, request: AnyRequest, caller: WhoCalls, move_id: FromPath[UUID]) -> Response[Any]:
        """Approve or reject a move, and show what it is then."""
        fields, moves = await checked_fields(request), services_of(request).moves
        try:
            if fields.get("decision") == "approve":
                await moves.approve(move_id, by=caller.actor)
            else:
                await moves.reject(move_id, fields.get("reason", ""), by=caller.actor)
        except Refused as refused:
            move = await moves.get(move_id)
            return await _move(request, caller, move, mistake(fields, refused, "reason"), refused=refused)
        return go(paths.stock_move(move_id))


class OperatorPages(Controller):
    """The partners, and the switch that stops one's sales."""

    path = paths.OFFICE_PARTNERS
    include_in_schema = False
    dependencies = {"caller": Provide(staff_of(Role.OPERATOR))}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:  # noqa: ARG002
        """The partners by name."""
        services = services_of(request)
        partners = await services.partners.listed(limit=PARTNERS_A_PAGE_MAX)
        return services.pages.render(request, "partners/office_partners.html", partners=partners)

    @get("/{partner_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, partner_id: FromPath[UUID]) -> Response[bytes]:  # noqa: ARG002
        """One partner, with the form that suspends it or lets it sell again."""
        return await _office_partner(request, await services_of(request).partners.get(partner_id), Form())

    @post("/{partner_id:uuid}")
    async def turn(self, request: AnyRequest, caller: WhoCalls, partner_id: FromPath[UUID]) -> Response[Any]:
        """Suspend a partner or let it sell again, and show it."""
        fields, partners = await checked_fields(request), services_of(request).partners
        partner, by = await partners.get(partner_id), f"{caller.name} ({caller.actor})"
        try:
            if fields.get("decision") == "suspend":
                await partners.suspend(partner.id, fields.get("reason", ""), by=by)
            else:
                await partners.reinstate(partner.id, fields.get("reason", ""), by=by)
        except Refused as refused:
            return await _office_partner(request, partner, mistake(fields, refused, "reason"), refused=refused)
        return go(paths.office_partner(partner.id))


async def _treasury(
    request: AnyRequest, caller: Caller, deposit_form: Form, move_form: Form, *, refused: Refused | None = None
) -> Response[bytes]:
    services = services_of(request)
    partners = await services.partners.listed(limit=PARTNERS_A_PAGE_MAX)
    deposits, moves = await services.deposits.awaiting(), await services.moves.awaiting()
    ids = {it.partner_id for it in deposits} | {end for it in moves for end in (it.giver_id, it.receiver_id)}
    return services.pages.render(
        request,
        "partners/treasury.html",
        status_code=200 if refused is None else refused.kind.status,
        partners=partners,
        names=await services.partners.names_of(ids),
        deposits=deposits,
        moves=moves,
        me=caller.actor,
        deposit_form=deposit_form,
        move_form=move_form,
        move_id=str(new_id()),
    )


async def _deposit(
    request: AnyRequest, caller: Caller, deposit: Deposit, form: Form | None = None, *, refused: Refused | None = None
) -> Response[bytes]:
    services = services_of(request)
    partner = await services.partners.get(deposit.partner_id)
    return services.pages.render(
        request,
        "partners/deposit.html",
        status_code=200 if refused is None else refused.kind.status,
        form=form or Form(),
        deposit=deposit,
        partner=partner,
        may_decide=caller.actor not in {deposit.proposed_by, partner.account_id},
    )


async def _move(
    request: AnyRequest, caller: Caller, move: Move, form: Form | None = None, *, refused: Refused | None = None
) -> Response[bytes]:
    services = services_of(request)
    giver, receiver = await services.partners.get(move.giver_id), await services.partners.get(move.receiver_id)
    return services.pages.render(
        request,
        "partners/move.html",
        status_code=200 if refused is None else refused.kind.status,
        form=form or Form(),
        move=move,
        giver=giver,
        receiver=receiver,
        available=(await services.partners.stock(giver)).available,
        may_decide=caller.actor not in {move.proposed_by, giver.account_id, receiver.account_id},
    )


async def _office_partner(
    request: AnyRequest, partner: Partner, form: Form, *, refused: Refused | None = None
) -> Response[bytes]:
    services = services_of(request)
    return services.pages.render(
        request,
        "partners/office_partner.html",
        status_code=200 if refused is None else refused.kind.status,
        form=form,
        partner=partner,
        stock=await services.partners.stock(partner),
        changes=await services.partners.changes_of(partner.id),
    )


def _partner_of(fields: dict[str, str], name: str) -> UUID:
    partner_id = id_of(fields.get(name, ""))
    if partner_id is None:
        raise PARTNER_UNKNOWN()
    return partner_id


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise DEPOSIT_DATE_UNUSABLE() from None


controllers: tuple[type[Any], ...] = (TreasuryPages, OperatorPages)
"""What the application mounts."""
