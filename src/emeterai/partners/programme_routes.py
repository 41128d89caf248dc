"""Programmes of grants for programs: `/v1/programmes` for agencies and applicants, `/v1/grants` for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from emeterai.accounts.callers import AnyRequest, caller, client_address
from emeterai.accounts.groups import GROUP_ROLE_NEEDED
from emeterai.accounts.groups_spending import PASSING_ON
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.granting import ProgrammeState
from emeterai.core.ledger import QUOTA_NOT_ENOUGH
from emeterai.core.voucher_code import grouped_code
from emeterai.infra.http import (
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_KEY_SCHEMA,
    MEDIA_TYPE_UNKNOWN,
    attachment_header,
    checked_idempotency_key,
    problems,
)
from emeterai.partners import programme_claims as claiming
from emeterai.partners import programmes as running
from emeterai.partners.organisations import ORGANISATION_NEEDED
from emeterai.partners.programme_claims import Claim, Claims
from emeterai.partners.programme_lists import LIST_TOO_LONG
from emeterai.partners.programme_model import CodeBatch, Figures, ListReport, Programme
from emeterai.partners.programme_secrets import CLAIMS_BUSY
from emeterai.partners.programmes import Programmes

LINES_A_PAGE_MAX = 100
LIST_SIZE_BYTES_MAX = 200_000_000
_NO_STORE = {"cache-control": "no-store"}
_SIGNED_IN = (SIGN_IN_NEEDED, SESSION_EXPIRED)
_RUNNING = (*_SIGNED_IN, GROUP_ROLE_NEEDED, running.PROGRAMME_UNKNOWN)
_KEYED = (IDEMPOTENCY_KEY_BAD, IDEMPOTENCY_KEY_REUSED)
_GIVING = (*_RUNNING, running.PROGRAMME_OVER, ORGANISATION_NEEDED)
_FUNDING = (running.FUNDING_UNUSABLE, running.GRANTS_NOT_YOURS_TO_GIVE, QUOTA_NOT_ENOUGH, *PASSING_ON)
_CSV = "text/csv"
WhoCalls = NamedDependency[Caller]
ProgrammeId = FromPath[UUID]
Key = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        description="Makes it safe to send this again: the same key is one programme, or one funding",
        schema_extra=IDEMPOTENCY_KEY_SCHEMA,
    ),
]


class ProgrammeServices(Protocol):
    """What the handlers of grants find in the application's `state["services"]`."""

    programmes: Programmes
    claims: Claims


class NewProgramme(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it takes to make a programme."""

    name: str
    units_each: Annotated[int, msgspec.Meta(description="Stamps for each applicant, from 1 to 100")]
    ends_at: Annotated[datetime, msgspec.Meta(tz=True, description="When what was not used goes back")]
    message: Annotated[str, msgspec.Meta(description="What applicants read, up to 1000 characters")] = ""


class Units(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How many stamps to set aside."""

    units: int


class CodesWanted(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How many invitation codes to make."""

    quantity: int


class ClaimRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """By what to claim: an identity number (NIK), which is compared and forgotten, or an invitation code."""

    identity: str | None = None
    code: str | None = None


class ProgrammeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A programme. `identity_salt`, in hexadecimal, is what its agency hashes identities with."""

    id: UUID
    agency: str
    name: str
    message: str
    units_each: int
    state: ProgrammeState
    invited: int
    claimed: int
    ends_at: datetime
    ended_at: datetime | None
    identity_salt: str
    figures: Annotated[Figures | None, msgspec.Meta(description="Every unit accounted for; null in lists")] = None


class ProgrammeList(msgspec.Struct, frozen=True):
    """Some programmes, newest first; `next` asks for the older ones and is null at the end."""

    items: list[ProgrammeAnswer]
    next: str | None


class BatchList(msgspec.Struct, frozen=True):
    """The batches of codes, newest first."""

    items: list[CodeBatch]


class GrantAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that you claimed. What is not used by `returns_at` goes back to the agency by itself."""

    id: UUID
    programme_id: UUID
    programme: str
    agency: str
    units: int
    claimed_at: datetime
    returns_at: datetime
    ended_at: datetime | None
    used: int | None
    returned: int | None
    kept: int | None


class GrantList(msgspec.Struct, frozen=True):
    """Your grants, newest first."""

    items: list[GrantAnswer]


class ProgrammeRoutes(Controller):
    """Stamps that an agency grants to its applicants."""

    path = "/v1/programmes"
    tags = ("Grants",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @post(
        operation_id="make_programme",
        summary="Make a programme of grants",
        responses=problems(*_SIGNED_IN, GROUP_ROLE_NEEDED, ORGANISATION_NEEDED, running.PROGRAMME_UNUSABLE, *_KEYED),
    )
    async def make(
        self, request: AnyRequest, caller: WhoCalls, data: JSONBody[NewProgramme], idempotency_key: Key
    ) -> Response[ProgrammeAnswer]:
        """For organisations. Fund it and invite applicants next."""
        made = await _services(request).programmes.make(
            caller,
            name=data.name,
            message=data.message,
            units_each=data.units_each,
            ends_at=data.ends_at,
            key=checked_idempotency_key(idempotency_key),
        )
        return Response(_answer(made), status_code=201, headers=_NO_STORE)

    @get(operation_id="list_programmes", summary="Your programmes", responses=problems(*_SIGNED_IN, GROUP_ROLE_NEEDED))
    async def list(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        before: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=LINES_A_PAGE_MAX, description="Lines on a page")] = 20,
    ) -> Response[ProgrammeList]:
        """Newest first."""
        found = await _services(request).programmes.mine(caller, before=before, limit=limit + 1)
        following = str(found[limit - 1].id) if len(found) > limit else None
        return Response(ProgrammeList([_answer(it) for it in found[:limit]], following), headers=_NO_STORE)

    @get(
        "/{programme_id:uuid}",
        operation_id="get_programme",
        summary="One programme, with every unit accounted for",
        responses=problems(*_RUNNING),
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[ProgrammeAnswer]:
        """At every moment funded = in_programme + in_grants + used + claimed_returned + unclaimed_returned + kept."""
        programmes = _services(request).programmes
        found, figures = (
            await programmes.of_agency(caller, programme_id),
            await programmes.figures(caller, programme_id),
        )
        return Response(_answer(found, figures), headers=_NO_STORE)

    @post(
        "/{programme_id:uuid}/funding",
        operation_id="fund_programme",
        summary="Set quota aside for a programme",
        responses=problems(*_GIVING, *_FUNDING, *_KEYED),
    )
    async def fund(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        programme_id: ProgrammeId,
        data: JSONBody[Units],
        idempotency_key: Key,
    ) -> Response[Figures]:
        """Units of your own quota; what is not granted and used comes back when the programme ends."""
        key = checked_idempotency_key(idempotency_key)
        assert key is not None
        figures = await _services(request).programmes.fund(caller, programme_id, data.units, key=key)
        return Response(figures, status_code=201, headers=_NO_STORE)

    @post(
        "/{programme_id:uuid}/list",
        operation_id="invite_list",
        summary="Invite by a list of hashed identities (CSV)",
        status_code=200,
        request_max_body_size=LIST_SIZE_BYTES_MAX,
        responses=problems(*_GIVING, running.PROGRAMME_FULL, LIST_TOO_LONG, MEDIA_TYPE_UNKNOWN),
    )
    async def invite_list(
        self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId
    ) -> Response[ListReport]:
        """The body is `text/csv`; the first column of each line is a hash of 64 hexadecimal digits. Send it as often
        as you like: what is known is not added again, and bad lines are named by their numbers.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CSV:
            raise MEDIA_TYPE_UNKNOWN(expected=_CSV)
        report = await _services(request).programmes.invite_list(caller, programme_id, request.stream())
        return Response(report, headers=_NO_STORE)

    @post(
        "/{programme_id:uuid}/codes",
        operation_id="make_codes",
        summary="Make invitation codes",
        responses=problems(*_GIVING, running.PROGRAMME_FULL, running.CODES_UNUSABLE),
    )
    async def make_codes(
        self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId, data: JSONBody[CodesWanted]
    ) -> Response[CodeBatch]:
        """Each opens one grant."""
        batch = await _services(request).programmes.make_codes(caller, programme_id, data.quantity)
        return Response(batch, status_code=201, headers=_NO_STORE)

    @get(
        "/{programme_id:uuid}/codes",
        operation_id="list_code_batches",
        summary="Batches of codes",
        responses=problems(*_RUNNING),
    )
    async def batches(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[BatchList]:
        """Newest first, without the codes."""
        return Response(BatchList(await _services(request).programmes.batches(caller, programme_id)), headers=_NO_STORE)

    @get(
        "/{programme_id:uuid}/codes/{batch_id:uuid}",
        operation_id="get_codes",
        summary="The codes of a batch (CSV)",
        media_type=_CSV,
        responses={
            200: ResponseSpec(bytes, media_type=_CSV, generate_examples=False, description="One code a line"),
            **problems(*_RUNNING, running.CODES_UNKNOWN),
        },
    )
    async def codes(
        self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId, batch_id: FromPath[UUID]
    ) -> Stream:
        """As often as you ask."""
        return await stream_codes(_services(request).programmes, caller, (programme_id, batch_id))

    @post(
        "/{programme_id:uuid}/end",
        operation_id="end_programme",
        summary="End a programme before its time",
        status_code=200,
        responses=problems(*_RUNNING),
    )
    async def end(self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId) -> Response[ProgrammeAnswer]:
        """What nobody claimed is back at once, what people did not use within minutes."""
        programmes = _services(request).programmes
        ended = await programmes.end(caller, programme_id)
        return Response(_answer(ended, await programmes.figures(caller, programme_id)), headers=_NO_STORE)

    @post(
        "/{programme_id:uuid}/claims",
        operation_id="claim_grant",
        summary="Claim your grant",
        responses={
            200: ResponseSpec(GrantAnswer, generate_examples=False, description="The grant that you claimed before"),
            **problems(
                *_SIGNED_IN,
                running.PROGRAMME_UNKNOWN,
                running.PROGRAMME_OVER,
                claiming.PROGRAMME_EMPTY,
                claiming.NOT_INVITED,
                claiming.CLAIMED_BY_OTHER,
                claiming.CLAIMED_BY_YOU,
                claiming.IDENTITY_UNUSABLE,
                claiming.CODE_UNUSABLE,
                claiming.CLAIM_TRIES_OVER,
                CLAIMS_BUSY,
                GROUP_ROLE_NEEDED,
            ),
        },
    )
    async def claim(
        self, request: AnyRequest, caller: WhoCalls, programme_id: ProgrammeId, data: JSONBody[ClaimRequest]
    ) -> Response[GrantAnswer]:
        """The units are yours at once. What you do not use goes back at `returns_at`."""
        claim, is_new = await _services(request).claims.claim(
            caller, programme_id, identity=data.identity, code=data.code, address=client_address(request)
        )
        return Response(_grant(claim), status_code=201 if is_new else 200, headers=_NO_STORE)


class GrantRoutes(Controller):
    """What was granted to you."""

    path = "/v1/grants"
    tags = ("Grants",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @get(operation_id="list_grants", summary="Your grants", responses=problems(*_SIGNED_IN, GROUP_ROLE_NEEDED))
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[GrantList]:
        """Newest first, each with the time at which what is not used goes back."""
        found = await _services(request).claims.grants(caller.actor)
        return Response(GrantList([_grant(claim) for claim in found]), headers=_NO_STORE)


async def stream_codes(programmes: Programmes, caller: Caller, which: tuple[UUID, UUID]) -> Stream:
    """The codes of a (programme, batch) as a file, one a line."""
    parts = await programmes.codes(caller, *which)

    async def lines() -> AsyncIterator[bytes]:
        yield b"code\r\n"
        async for part in parts:
            yield "".join(f"{grouped_code(code)}\r\n" for code in part).encode()

    headers = {"content-disposition": attachment_header(f"kode-{which[1]}.csv"), **_NO_STORE}
    return Stream(lines(), media_type=_CSV, headers=headers)


def _services(request: AnyRequest) -> ProgrammeServices:
    return cast("ProgrammeServices", request.app.state["services"])


def _answer(programme: Programme, figures: Figures | None = None) -> ProgrammeAnswer:
    return ProgrammeAnswer(
        id=programme.id,
        agency=programme.agency_name,
        name=programme.name,
        message=programme.message,
        units_each=programme.units_each,
        state=programme.state,
        invited=programme.invited,
        claimed=programme.claimed,
        ends_at=programme.ends_at,
        ended_at=programme.ended_at,
        identity_salt=programme.salt.hex(),
        figures=figures,
    )


def _grant(claim: Claim) -> GrantAnswer:
    return GrantAnswer(
        id=claim.id,
        programme_id=claim.programme_id,
        programme=claim.programme_name,
        agency=claim.agency_name,
        units=claim.units,
        claimed_at=claim.claimed_at,
        returns_at=claim.ends_at,
        ended_at=claim.ended_at,
        used=claim.used,
        returned=claim.returned,
        kept=claim.kept,
    )


controllers: tuple[type[Any], ...] = (ProgrammeRoutes, GrantRoutes)
"""What the application mounts."""
