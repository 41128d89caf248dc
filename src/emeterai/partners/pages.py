"""A partner's pages: its stock and what to do about it, a till to sell at, its sales and deposits."""

from __future__ import annotations

from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.service import Caller
from emeterai.core.refusal import Refused
from emeterai.infra.http import checked_idempotency_key, cursor_of, read_cursor
from emeterai.infra.ids import new_id
from emeterai.partners.deposits import Deposits
from emeterai.partners.moves import Moves
from emeterai.partners.sales import SOLD_OUT, Sales, SaleWanted
from emeterai.partners.service import Partner, Partners, Stock
from emeterai.web import paths
from emeterai.web.confirming import Question, ask_first, is_confirmed
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.formats import number
from emeterai.web.forms import FieldError, Form, whole_number
from emeterai.web.pages import Pages

NO_STORE = {"cache-control": "no-store"}
_NEWEST = 5
_SALES_A_PAGE = 20
_DIGITS_MAX = 15
_FIELD_OF = {"recipient_unknown": "to", "warning_invalid": "warn_below"}


class PartnerPageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    partners: Partners
    deposits: Deposits
    moves: Moves
    sales: Sales
    pages: Pages
    csrf: Csrf


class PartnerPages(Controller):
    """The partner's own page."""

    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get(paths.PARTNER)
    async def page(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """The stock, its warnings, the till, the newest sales and deposits."""
        partner = await services_of(request).partners.of_account(caller.account_id)
        return await _partner_page(request, partner, Form(), sold=id_of(request.query_params.get("terjual") or ""))

    @get(paths.PARTNER_SALES)
    async def sales(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """The sales, newest first, a page at a time."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        cursor = request.query_params.get("cursor") or None
        found = await services.sales.of_partner(partner.id, before=read_cursor(cursor), limit=_SALES_A_PAGE + 1)
        shown = found[:_SALES_A_PAGE]
        older = None
        if len(found) > len(shown):
            older = f"{paths.PARTNER_SALES}?cursor={cursor_of(shown[-1].sold_at, shown[-1].id)}"
        return services.pages.render(
            request,
            "partners/sales.html",
            sales=shown,
            newer_url=None if cursor is None else paths.PARTNER_SALES,
            older_url=older,
        )

    @post(paths.PARTNER_SALES)
    async def sell(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[Any]:
        """Ask, then sell at the till; the form sent twice is one sale."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        fields = await checked_fields(request)
        wanted = SaleWanted(
            number_of(fields.get("quantity", "")) or 0,
            fields.get("to", "").strip(),
            " ".join(fields.get("reference", "").split()),
            checked_idempotency_key(fields.get("idempotency_key")) or "",
        )
        try:
            if not is_confirmed(fields):
                left = await services.sales.left_after(partner.id, wanted)
                return ask_first(services.pages, request, _selling(wanted, left))
            sale = await services.sales.sell(partner.id, wanted)
        except Refused as refused:
            if refused.kind.status >= 500:
                raise
            form = mistake(fields, refused, "quantity")
            if refused.kind is SOLD_OUT:  # no mistake: the page says it first, and not at a field
                form = Form(form.values)
            return await _partner_page(request, partner, form, refused=refused)
        return go(f"{paths.PARTNER}?terjual={sale.id}")

    @post(paths.PARTNER_WARNING)
    async def warn(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[Any]:
        """Set the stock under which the page warns."""
        services = services_of(request)
        partner = await services.partners.of_account(caller.account_id)
        fields = await checked_fields(request)
        quantity = number_of(fields.get("warn_below", ""))
        try:
            await services.partners.warn_below(partner, -1 if quantity is None else quantity)
        except Refused as refused:
            return await _partner_page(request, partner, mistake(fields, refused, "warn_below"), refused=refused)
        return go(paths.PARTNER)


def services_of(request: AnyRequest) -> PartnerPageServices:
    """The services that the application put into its state."""
    return cast("PartnerPageServices", request.app.state["services"])


async def checked_fields(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed. Raises `csrf_failed`, `request_malformed`."""
    return texts_of(await checked_form(request, services_of(request).csrf))


def number_of(text: str) -> int | None:
    """A whole number as people write it, 1.000 and 1 000 too; None for anything else."""
    return whole_number(text, digits_max=_DIGITS_MAX)


def id_of(text: str) -> UUID | None:
    """An id that a form carries; None for anything else."""
    try:
        return UUID(text)
    except ValueError:
        return None


def mistake(fields: dict[str, str], refused: Refused, field: str) -> Form:
    """The form with what was typed, and the refusal at its field (`field` where none is its own)."""
    kept = {name: value for name, value in fields.items() if name not in {"csrf", "idempotency_key"}}
    return Form(kept, (FieldError(_FIELD_OF.get(refused.code, field), refused.id, refused.en),))


def go(address: str) -> Response[Any]:
    """To another page, after a form was taken."""
    return Redirect(address, status_code=303, headers=NO_STORE)


async def _partner_page(
    request: AnyRequest, partner: Partner, form: Form, *, sold: UUID | None = None, refused: Refused | None = None
) -> Response[bytes]:
    services = services_of(request)
    stock = await services.partners.stock(partner)
    sales = await services.sales.of_partner(partner.id, limit=_NEWEST)
    return services.pages.render(
        request,
        "partners/partner.html",
        status_code=200 if refused is None else refused.kind.status,
        form=form,
        partner=partner,
        stock=stock,
        state=_state(partner, stock, refused),
        lasts=lasts(stock.empty_in_s) if stock.empty_in_s else None,
        sold=next((sale.quantity for sale in sales if sale.id == sold), None),
        serial_blocks=await services.partners.serial_blocks(partner.id),
        sales=sales,
        deposits=await services.deposits.of_partner(partner.id, limit=_NEWEST),
        moves=await services.moves.of_partner(partner.id, limit=_NEWEST),
        idempotency_key=str(new_id()),
    )


def _selling(wanted: SaleWanted, left: int) -> Question:
    """What is asked before a sale at the till."""
    facts = [
        (("Pembeli", "Buyer"), wanted.to),
        (("Meterai", "Stamps"), number(wanted.quantity)),
        (("Rujukan", "Reference"), wanted.reference or "-"),
        (("Sisa stok sesudahnya", "Left in stock afterwards"), number(left)),
    ]
    return Question(
        title=("Jual sekarang?", "Sell now?"),
        facts=facts,
        sentences=[
            (
                "Bacakan alamat atau nomornya kepada pembeli.",
                "Read the address or number out to the buyer.",
            ),
            (
                "Meterai langsung menjadi milik akun itu, dan penjualan tidak dapat dibatalkan dari sini.",
                "The stamps are that account's at once, and a sale cannot be taken back from here.",
            ),
        ],
        button=("Ya, jual", "Yes, sell"),
        action=paths.PARTNER_SALES,
        back_url=paths.PARTNER,
        fields={
            "to": wanted.to,
            "quantity": str(wanted.quantity),
            "reference": wanted.reference,
            "idempotency_key": wanted.idempotency_key,
        },
    )


def _state(partner: Partner, stock: Stock, refused: Refused | None) -> str:
    """What the page says first: `suspended`, `sold_out`, `low` or `well`."""
    if partner.state.value == "suspended":
        return "suspended"
    if stock.is_empty or (refused is not None and refused.kind is SOLD_OUT):
        return "sold_out"
    return "low" if stock.is_low else "well"


def lasts(seconds: int) -> tuple[str, str]:
    """How long something lasts, roughly, in Indonesian and English."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 1:
        return "kurang dari satu menit", "less than a minute"
    if hours < 2:
        return f"{minutes} menit", f"{minutes} minutes"
    if days < 2:
        return f"{hours} jam", f"{hours} hours"
    return f"{days} hari", f"{days} days"


controllers: tuple[type[Any], ...] = (PartnerPages,)
"""What the application mounts."""
