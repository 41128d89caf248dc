"""Vouchers for people: redeem one on a cheap phone; sellers make batches, print them, activate them, void them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest, caller, client_address, optional_caller
from emeterai.accounts.service import Caller
from emeterai.core.refusal import Refused
from emeterai.infra.http import NOT_FOUND, checked_idempotency_key, refusal_headers
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.purchase.voucher_model import UNITS_MAX, VOUCHERS_MAX, Batch
from emeterai.purchase.voucher_routes import handed_out
from emeterai.purchase.vouchers import VOUCHER_VOIDING_UNCONFIRMED, Vouchers
from emeterai.web import paths
from emeterai.web.confirming import Question, ask_first, is_confirmed
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.formats import number
from emeterai.web.forms import FieldError, Form, whole_number
from emeterai.web.pages import Pages

WhoCalls = NamedDependency[Caller]
BatchId = FromPath[UUID]
_NO_STORE = {"cache-control": "no-store"}
_BATCHES_A_PAGE = 20
_DIGITS_MAX = 9


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    vouchers: Vouchers
    ledger: Ledger
    pages: Pages
    csrf: Csrf


class VoucherPages(Controller):
    """Redeem a voucher."""

    path = paths.VOUCHER
    include_in_schema = False

    @get(dependencies={"viewer": Provide(optional_caller)})
    async def page(self, request: AnyRequest, viewer: NamedDependency[Caller | None]) -> Response[bytes]:
        """The form; whoever is not signed in reads what to do."""
        return await _redeem_page(request, viewer, Form())

    @post(dependencies={"caller": Provide(caller)})
    async def redeem(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Redeem, or show the form again with the reason; sent twice it is redeemed once."""
        fields = await _checked_form(request)
        try:
            redemption = await _services(request).vouchers.redeem(
                caller.account_id,
                fields.get("code", ""),
                address=client_address(request),
                idempotency_key=checked_idempotency_key(fields.get("idempotency_key")),
            )
        except Refused as refused:
            return await _redeem_page(request, caller, _again(fields, "code", refused), refused)
        return _go(paths.voucher_redeemed(redemption.id))

    @get("/diterima/{voucher_id:uuid}", dependencies={"caller": Provide(caller)})
    async def redeemed(self, request: AnyRequest, caller: WhoCalls, voucher_id: FromPath[UUID]) -> Response[bytes]:
        """What the voucher gave; for whoever redeemed it only."""
        services = _services(request)
        redemption = await services.vouchers.redemption(caller.account_id, voucher_id)
        if redemption is None:
            raise NOT_FOUND()
        available = (await services.ledger.balance(caller.account_id)).available
        return services.pages.render(
            request, "purchase/voucher_redeemed.html", redemption=redemption, available=available
        )


class VoucherTillPages(Controller):
    """Activate at the till."""

    path = paths.VOUCHER_TILL
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:  # noqa: ARG002
        """The empty field."""
        return _till(request, Form())

    @post()
    async def activate(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """Activate one voucher, and be ready for the next."""
        vouchers, fields = _services(request).vouchers, await _checked_form(request)
        try:
            done = await vouchers.activate_code(caller, fields.get("code", ""), address=client_address(request))
        except Refused as refused:
            return _till(request, _again(fields, "code", refused), refused=refused)
        batch = await vouchers.batch(caller, done.batch_id)
        shown = {"number": done.first, "batch": batch.number, "units": batch.units, "again": not done.activated}
        return _till(request, Form(), done=shown)


class VoucherBatchPages(Controller):
    """The batches of a seller."""

    path = paths.VOUCHER_BATCHES
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The batches, newest first, a page at a time, and the form to make one."""
        return await _batches_page(request, caller, Form())

    @post()
    async def make(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Make a batch, or show the form again with the reason; sent twice it is one batch."""
        fields = await _checked_form(request)
        try:
            batch = await _services(request).vouchers.make(
                caller,
                vouchers=_number(fields.get("vouchers")) or 0,
                units=_number(fields.get("units")) or 0,
                stock_id=_uuid(fields.get("stock_id")),
                label=fields.get("label", ""),
                idempotency_key=checked_idempotency_key(fields.get("idempotency_key")),
            )
        except Refused as refused:
            field = "stock_id" if refused.kind.status in {402, 403} else "vouchers"
            return await _batches_page(request, caller, _again(fields, field, refused), refused)
        return _go(paths.voucher_batch(batch.id))

    @get("/{batch_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[bytes]:
        """One batch."""
        return await _batch_page(request, caller, batch_id, form=Form())

    @post("/{batch_id:uuid}/lembar")
    async def sheet(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[bytes]:
        """The sheets as PDF, to be saved."""
        await _checked_form(request)
        return await handed_out(request, caller, batch_id, as_csv=False)

    @post("/{batch_id:uuid}/csv")
    async def codes(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[bytes]:
        """The codes as CSV, to be saved."""
        await _checked_form(request)
        return await handed_out(request, caller, batch_id, as_csv=True)

    @post("/{batch_id:uuid}/hapus-kode")
    async def forget(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[Any]:
        """Ask, then forget the codes, and show the batch."""
        fields, services = await _checked_form(request), _services(request)
        if not is_confirmed(fields):
            return ask_first(services.pages, request, _forgetting(await services.vouchers.batch(caller, batch_id)))
        await services.vouchers.forget_codes(caller, batch_id)
        return _go(paths.voucher_batch(batch_id))

    @post("/{batch_id:uuid}/aktifkan")
    async def activate(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[Any]:
        """Activate a range, or show the form again with the reason."""
        fields = await _checked_form(request)
        first, last = _range(fields, "activate")
        try:
            done = await _services(request).vouchers.activate(caller, batch_id, first=first, last=last)
        except Refused as refused:
            form = _again(fields, "activate_first", refused)
            return await _batch_page(request, caller, batch_id, form=form, refused=refused)
        return _go(f"{paths.voucher_batch(batch_id)}?aktif={done.activated}")

    @post("/{batch_id:uuid}/batalkan")
    async def void(self, request: AnyRequest, caller: WhoCalls, batch_id: BatchId) -> Response[Any]:
        """Void a range once it is confirmed, or show the form again with the reason."""
        fields = await _checked_form(request)
        first, last = _range(fields, "void")
        try:
            done = await _services(request).vouchers.void(
                caller,
                batch_id,
                first=first,
                last=last,
                confirmed=fields.get("confirm") == "1",
                idempotency_key=checked_idempotency_key(fields.get("idempotency_key")),
            )
        except Refused as refused:
            field = "confirm" if refused.kind is VOUCHER_VOIDING_UNCONFIRMED else "void_first"
            form = _again(fields, field, refused)
            return await _batch_page(request, caller, batch_id, form=form, refused=refused)
        return _go(f"{paths.voucher_batch(batch_id)}?batal={done.vouchers}")


def _services(request: AnyRequest) -> PageServices:
    return cast("PageServices", request.app.state["services"])


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed. Raises `csrf_failed`, `request_malformed`."""
    return texts_of(await checked_form(request, _services(request).csrf))


def _again(fields: Mapping[str, str], field: str, refused: Refused) -> Form:
    """The form as it was filled in, with the reason at `field`."""
    kept = {name: value for name, value in fields.items() if name not in {"csrf", "idempotency_key"}}
    return Form(kept, (FieldError(field, refused.id, refused.en),))


def _status(refused: Refused | None) -> dict[str, Any]:
    """Status and headers of a page that shows a refusal, or none."""
    return {} if refused is None else {"status_code": refused.kind.status, "headers": refusal_headers(refused)}


async def _redeem_page(
    request: AnyRequest, viewer: Caller | None, form: Form, refused: Refused | None = None
) -> Response[bytes]:
    services = _services(request)
    sells = viewer is not None and bool(await services.vouchers.stocks_of(viewer))
    key = str(new_id())
    return services.pages.render(
        request, "purchase/voucher.html", form=form, sells=sells, idempotency_key=key, **_status(refused)
    )


def _till(
    request: AnyRequest, form: Form, *, done: Mapping[str, Any] | None = None, refused: Refused | None = None
) -> Response[bytes]:
    return _services(request).pages.render(
        request, "purchase/voucher_till.html", form=form, done=done, **_status(refused)
    )


async def _batches_page(
    request: AnyRequest, caller: Caller, form: Form, refused: Refused | None = None
) -> Response[bytes]:
    services = _services(request)
    before = _uuid(request.query_params.get("before"))
    stocks = await services.vouchers.stocks_of(caller)
    found = await services.vouchers.batches(caller, before=before, limit=_BATCHES_A_PAGE + 1)
    shown = found[:_BATCHES_A_PAGE]
    return services.pages.render(
        request,
        "purchase/voucher_batches.html",
        form=form,
        stocks=[
            {"id": one.id, "name": one.name, "available": (await services.ledger.balance(one.id)).available}
            for one in stocks
        ],
        batches=shown,
        vouchers_max=VOUCHERS_MAX,
        units_max=UNITS_MAX,
        idempotency_key=str(new_id()),
        newer_url=paths.VOUCHER_BATCHES if before is not None else None,
        older_url=f"{paths.VOUCHER_BATCHES}?before={shown[-1].id}" if len(found) > len(shown) else None,
        **_status(refused),
    )


async def _batch_page(
    request: AnyRequest, caller: Caller, batch_id: UUID, *, form: Form, refused: Refused | None = None
) -> Response[bytes]:
    services = _services(request)
    batch = await services.vouchers.batch(caller, batch_id)
    return services.pages.render(
        request,
        "purchase/voucher_batch.html",
        batch=batch,
        spans=await services.vouchers.spans(batch_id),
        voidings=await services.vouchers.voidings(batch_id),
        form=form,
        activated=_number(request.query_params.get("aktif")),
        voided=_number(request.query_params.get("batal")),
        idempotency_key=str(new_id()),
        **_status(refused),
    )


def _forgetting(batch: Batch) -> Question:
    """What is asked before the codes of a batch are forgotten."""
    return Question(
        title=("Hapus kodenya sekarang?", "Forget the codes now?"),
        facts=[
            (("Paket", "Batch"), batch.number),
            (("Voucer", "Vouchers"), number(batch.vouchers)),
            (("Sudah diunduh, kali", "Downloaded, times"), number(batch.downloads)),
        ],
        sentences=[
            (
                "Sesudah ini tidak seorang pun dapat mengunduh atau mencetak kode paket ini lagi, juga kami.",
                "After this nobody can download or print the codes of this batch again, and neither can we.",
            ),
            (
                "Periksa dahulu apakah semua lembar sudah tercetak dan terbaca.",
                "Make sure first that all sheets are printed and can be read.",
            ),
            (
                "Voucer yang sudah tercetak tetap berlaku.",
                "Vouchers that are printed stay good.",
            ),
        ],
        button=("Ya, hapus kodenya", "Yes, forget the codes"),
        action=paths.voucher_batch_step(batch.id, "hapus-kode"),
        back_url=paths.voucher_batch(batch.id),
    )


def _range(fields: Mapping[str, str], prefix: str) -> tuple[int, int]:
    """The numbers typed; 0, which no voucher has, for what is none."""
    return _number(fields.get(f"{prefix}_first")) or 0, _number(fields.get(f"{prefix}_last")) or 0


def _number(text: str | None) -> int | None:
    """A whole number as people type it; None for anything else."""
    return whole_number(text or "", digits_max=_DIGITS_MAX)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _go(address: str) -> Response[Any]:
    return Redirect(address, status_code=303, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (VoucherPages, VoucherTillPages, VoucherBatchPages)
"""What the application mounts."""
