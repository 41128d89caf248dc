"""Programmes of grants for people: an agency runs them, an applicant claims and sees what goes back when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, time, timedelta
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from emeterai.accounts.callers import AnyRequest, caller, client_address, optional_caller
from emeterai.accounts.service import Caller
from emeterai.core.granting import ProgrammeState
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.http import checked_idempotency_key, refusal_headers
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.partners.organisations import ORGANISATION_NEEDED
from emeterai.partners.pages import id_of
from emeterai.partners.programme_claims import CODE_UNUSABLE, Claims
from emeterai.partners.programme_model import Figures, ListReport, Programme
from emeterai.partners.programme_routes import LIST_SIZE_BYTES_MAX, stream_codes
from emeterai.partners.programmes import FUNDING_MAX, FUNDING_UNUSABLE, PROGRAMME_UNUSABLE, UNITS_EACH_MAX, Programmes
from emeterai.web import paths
from emeterai.web.confirming import Question, ask_first, is_confirmed
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.formats import ZONES, number
from emeterai.web.forms import FieldError, Form, whole_number
from emeterai.web.pages import Pages

LIST_NOT_CHOSEN = RefusalKind(
    "list_not_chosen",
    422,
    "Belum ada daftar yang dipilih. Pilih satu berkas CSV, lalu kirim.",
    "No list was chosen. Choose one CSV file, then send it.",
)
_NO_STORE = {"cache-control": "no-store"}
_PROGRAMMES_A_PAGE = 20
_READ_AT_ONCE_BYTES = 65_536
_NUMBER_LENGTH_MAX = 12
_STATES = {
    ProgrammeState.OPEN: ("ok", "terbuka", "open"),
    ProgrammeState.ENDING: ("warn", "sedang dikembalikan", "being returned"),
    ProgrammeState.ENDED: ("info", "berakhir", "ended"),
}
_FIELD_OF = {
    FUNDING_UNUSABLE.code: "units",
    "quota_not_enough": "units",
    "grants_not_yours_to_give": "units",
    "codes_unusable": "quantity",
    "list_not_chosen": "file",
    CODE_UNUSABLE.code: "code",
    ORGANISATION_NEEDED.code: "lembaga",
}
ProgrammeId = FromPath[UUID]
WhoCalls = NamedDependency[Caller]


class GrantPageServices(Protocol):
    """What these pages find in the application's `state["services"]`, besides `accounts` and `groups`."""

    programmes: Programmes
    claims: Claims
    pages: Pages
    csrf: Csrf
    settings: Settings


class AgencyPages(Controller):
    """Run programmes."""

    path = paths.PROGRAMMES
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The agency's programmes, and the form that makes one."""
        return await _programmes(request, caller)

    @post()
    async def make(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Make a programme; sent twice it is one."""
        fields = await _checked_form(request)
        try:
            made = await _services(request).programmes.make(
                caller,
                name=fields.get("name", ""),
                message=fields.get("message", ""),
                units_each=_number(fields.get("units_each")),
                ends_at=_end_of_day(fields.get("ends_on", ""), caller),
                key=checked_idempotency_key(fields.get("idempotency_key")),
            )
        except Refused as refused:
            return await _programmes(request, caller, _again(fields, refused, "name"), refused)
        return _go(paths.programme_part(made.id, "kelola"))

    @get("/{programme_id:uuid}/kelola")
    async def page(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[bytes]:
        """One programme: its figures, and what can be done."""
        return await _programme(request, caller, programme_id)

    @post("/{programme_id:uuid}/dana")
    async def fund(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[Any]:
        """Set quota aside; sent twice it is once."""
        fields = await _checked_form(request)
        try:
            key = checked_idempotency_key(fields.get("idempotency_key")) or str(new_id())
            await _services(request).programmes.fund(caller, programme_id, _number(fields.get("units")), key=key)
        except Refused as refused:
            return await _programme(request, caller, programme_id, form=_again(fields, refused, "units"), why=refused)
        return _go(paths.programme_part(programme_id, "kelola"))

    @post("/{programme_id:uuid}/daftar", request_max_body_size=LIST_SIZE_BYTES_MAX)
    async def invite_list(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[Any]:
        """Take in a list and show what became of its lines."""
        programmes = _services(request).programmes
        await programmes.of_agency(caller, programme_id)
        file = (await checked_form(request, _services(request).csrf)).get("file")
        try:
            if not isinstance(file, UploadFile) or not file.filename:
                raise LIST_NOT_CHOSEN()
            report = await programmes.invite_list(caller, programme_id, _parts(file))
        except Refused as refused:
            return await _programme(request, caller, programme_id, form=_again({}, refused, "file"), why=refused)
        return await _programme(request, caller, programme_id, report=report)

    @post("/{programme_id:uuid}/kode")
    async def make_codes(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[Any]:
        """Make invitation codes."""
        fields = await _checked_form(request)
        try:
            await _services(request).programmes.make_codes(caller, programme_id, _number(fields.get("quantity")))
        except Refused as refused:
            return await _programme(
                request, caller, programme_id, form=_again(fields, refused, "quantity"), why=refused
            )
        return _go(paths.programme_part(programme_id, "kelola"))

    @get("/{programme_id:uuid}/kode/{batch_id:uuid}")
    async def codes(
        self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId, batch_id: FromPath[UUID]
    ) -> Stream:
        """The codes of a batch as a file."""
        return await stream_codes(_services(request).programmes, caller, (programme_id, batch_id))

    @post("/{programme_id:uuid}/akhiri")
    async def end(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[Any]:
        """Ask, then end a programme before its time."""
        fields, services = await _checked_form(request), _services(request)
        if not is_confirmed(fields):
            programme = await services.programmes.of_agency(caller, programme_id)
            figures = await services.programmes.figures(caller, programme_id)
            return ask_first(services.pages, request, _ending(programme, figures))
        await services.programmes.end(caller, programme_id)
        return _go(paths.programme_part(programme_id, "kelola"))


class ClaimPages(Controller):
    """A programme, for applicants: its page needs no sign-in to be read."""

    path = f"{paths.PROGRAMMES}/{{programme_id:uuid}}"
    include_in_schema = False

    @get(dependencies={"viewer": Provide(optional_caller)})
    async def page(
        self, request: AnyRequest, viewer: NamedDependency[Caller | None], programme_id: ProgrammeId
    ) -> Response[bytes]:
        """What is granted by whom, until when, and the form that claims it."""
        return await _claim_page(request, viewer, programme_id)

    @post(dependencies={"caller": Provide(caller)})
    async def claim(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[Any]:
        """Claim; what was typed is compared and not shown again."""
        fields = await _checked_form(request)
        code = fields.get("code", "").strip()
        try:
            await _services(request).claims.claim(
                caller, programme_id, identity=fields.get("identity"), code=code, address=client_address(request)
            )
        except Refused as refused:
            return await _claim_page(request, caller, programme_id, refused, field="code" if code else "identity")
        return _go(paths.programme(programme_id))


class GrantPages(Controller):
    """What was granted to the person."""

    path = paths.GRANTS
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The grants, each with the day on which the rest goes back."""
        services = _services(request)
        grants = await services.claims.grants(caller.actor)
        return services.pages.render(request, "partners/grants.html", grants=grants)


async def _programmes(
    request: AnyRequest, caller: Caller, form: Form | None = None, refused: Refused | None = None
) -> Response[bytes]:
    services, after = _services(request), id_of(request.query_params.get("sebelum") or "")
    found = await services.programmes.mine(caller, before=after, limit=_PROGRAMMES_A_PAGE + 1)
    shown = found[:_PROGRAMMES_A_PAGE]
    older = f"{paths.PROGRAMMES}?sebelum={shown[-1].id}" if len(found) > len(shown) else None
    return services.pages.render(
        request,
        "partners/programmes.html",
        status_code=refused.kind.status if refused else 200,
        programmes=[(programme, _STATES[programme.state]) for programme in shown],
        newer_url=paths.PROGRAMMES if after else None,
        older_url=older,
        may_give=await services.programmes.may_give(caller),
        units_each_max=UNITS_EACH_MAX,
        form=form or Form(),
        idempotency_key=str(new_id()),
    )


async def _programme(
    request: AnyRequest,
    caller: Caller,
    programme_id: UUID,
    *,
    form: Form | None = None,
    why: Refused | None = None,
    report: ListReport | None = None,
) -> Response[bytes]:
    services = _services(request)
    programme = await services.programmes.of_agency(caller, programme_id)
    figures = await services.programmes.figures(caller, programme_id)
    return services.pages.render(
        request,
        "partners/programme.html",
        status_code=why.kind.status if why else 200,
        headers=refusal_headers(why) if why else None,
        programme=programme,
        state=_STATES[programme.state],
        is_open=_is_open(programme),
        may_give=await services.programmes.may_give(caller),
        figures=figures,
        batches=await services.programmes.batches(caller, programme_id),
        public_url=services.settings.base_url + paths.programme(programme_id),
        salt=programme.salt.hex(),
        units_max=FUNDING_MAX,
        report=report,
        form=form or Form(),
        idempotency_key=str(new_id()),
    )


async def _claim_page(
    request: AnyRequest,
    viewer: Caller | None,
    programme_id: UUID,
    refused: Refused | None = None,
    *,
    field: str = "identity",
) -> Response[bytes]:
    services = _services(request)
    programme = await services.programmes.public(programme_id)
    claim = await services.claims.mine(viewer.actor, programme_id) if viewer else None
    return services.pages.render(
        request,
        "partners/claim.html",
        status_code=refused.kind.status if refused else 200,
        headers=refusal_headers(refused) if refused else None,
        programme=programme,
        is_open=_is_open(programme),
        claim=claim,
        form=_again({}, refused, field) if refused else Form(),
        sign_in_url=f"{paths.SIGN_IN}?next={paths.programme(programme_id)}",
    )


def _ending(programme: Programme, figures: Figures) -> Question:
    """What is asked before a programme ends early."""
    page = paths.programme_part(programme.id, "kelola")
    return Question(
        title=("Akhiri program sekarang?", "End the programme now?"),
        facts=[
            (("Program", "Programme"), programme.name),
            (("Kembali sekarang: tidak diambil", "Returned now: not claimed"), number(figures.in_programme)),
            (
                ("Pada pelamar: kembali bila tidak dipakai", "Claimed: returned unless used"),
                number(figures.in_grants),
            ),
        ],
        sentences=[
            (
                "Mulai saat ini tidak seorang pun dapat mengambil hibah; undangan dan kodenya tidak berlaku lagi.",
                "From now on nobody can claim; its invitations and codes open nothing.",
            ),
            (
                "Program yang diakhiri tidak dapat dibuka kembali.",
                "A programme that has ended cannot be opened again.",
            ),
        ],
        button=("Ya, akhiri program", "Yes, end the programme"),
        action=paths.programme_part(programme.id, "akhiri"),
        back_url=page,
    )


def _is_open(programme: Programme) -> bool:
    return programme.state is ProgrammeState.OPEN and not programme.overdue


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(_READ_AT_ONCE_BYTES):
        yield part


def _number(typed: str | None) -> int:
    """A whole number as people write it; 0, which is refused everywhere, for anything else."""
    return whole_number(typed or "", digits_max=_NUMBER_LENGTH_MAX) or 0


def _end_of_day(typed: str, caller: Caller) -> datetime:
    """The end of a day in the person's zone. Raises `programme_unusable`."""
    zone = ZONES[caller.timezone]
    try:
        return datetime.combine(datetime.strptime(typed, "%Y-%m-%d").date(), time(), zone) + timedelta(days=1)  # noqa: DTZ007 - a day, no moment
    except (ValueError, OverflowError) as error:
        raise PROGRAMME_UNUSABLE(units_max=UNITS_EACH_MAX) from error


def _again(fields: Mapping[str, str], refused: Refused, field: str) -> Form:
    kept = {name: value for name, value in fields.items() if name not in {"csrf", "idempotency_key"}}
    return Form(kept, (FieldError(_FIELD_OF.get(refused.code, field), refused.id, refused.en),))


def _services(request: AnyRequest) -> GrantPageServices:
    return cast("GrantPageServices", request.app.state["services"])


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    return texts_of(await checked_form(request, _services(request).csrf))


def _go(path: str) -> Response[Any]:
    return Redirect(path, status_code=303, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (AgencyPages, ClaimPages, GrantPages)
"""What the application mounts."""
