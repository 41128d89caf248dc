"""Groups for staff: who stands behind one, and the button that lets it buy as an organisation."""

from __future__ import annotations

from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest
from emeterai.accounts.groups_approval import GroupApprovals
from emeterai.accounts.service import Caller
from emeterai.accounts.staff import Role, staff_of
from emeterai.core.refusal import Refused
from emeterai.web import paths
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

_GROUPS_A_PAGE = 50
_NO_STORE = {"cache-control": "no-store"}
WhoCalls = NamedDependency[Caller]
GroupId = FromPath[UUID]


class OfficeServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    approvals: GroupApprovals
    pages: Pages
    csrf: Csrf


class GroupOfficePages(Controller):
    """Groups that await approval, and those that have it."""

    path = paths.OFFICE_GROUPS
    include_in_schema = False
    dependencies = {"caller": Provide(staff_of(Role.OPERATOR))}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:  # noqa: ARG002 - the door of staff
        """Those that await approval, or with `?disetujui=1` those that have it, newest first."""
        services, approved = _services(request), request.query_params.get("disetujui") == "1"
        before = _id(request.query_params.get("sebelum"))
        found = await services.approvals.listed(approved=approved, before=before, limit=_GROUPS_A_PAGE + 1)
        shown = found[:_GROUPS_A_PAGE]
        here = f"{paths.OFFICE_GROUPS}?disetujui={int(approved)}"
        return services.pages.render(
            request,
            "accounts/office_groups.html",
            groups=shown,
            approved=approved,
            newer_url=here if before else None,
            older_url=f"{here}&sebelum={shown[-1].id}" if len(found) > len(shown) else None,
        )

    @get("/{group_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[bytes]:  # noqa: ARG002
        """One group, with what was decided about it."""
        return await _group(request, group_id, Form())

    @post("/{group_id:uuid}")
    async def decide(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[Any]:
        """Approve a group, or take that back, and show it."""
        services = _services(request)
        fields = texts_of(await checked_form(request, services.csrf))
        decide = services.approvals.approve if fields.get("decision") == "approve" else services.approvals.withdraw
        note, by = fields.get("note", ""), f"{caller.name} ({caller.actor})"
        try:
            await decide(group_id, note, by=by, staff_id=caller.actor)
        except Refused as refused:
            form = Form({"note": note}, (FieldError("note", refused.id, refused.en),))
            return await _group(request, group_id, form, status_code=refused.kind.status)
        return Redirect(paths.office_group(group_id), status_code=303, headers=_NO_STORE)


async def _group(request: AnyRequest, group_id: UUID, form: Form, *, status_code: int = 200) -> Response[bytes]:
    services = _services(request)
    return services.pages.render(
        request,
        "accounts/office_group.html",
        status_code=status_code,
        group=await services.approvals.group(group_id),
        changes=await services.approvals.changes_of(group_id),
        form=form,
    )


def _id(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _services(request: AnyRequest) -> OfficeServices:
    return cast("OfficeServices", request.app.state["services"])


controllers: tuple[type[Any], ...] = (GroupOfficePages,)
"""What the application mounts."""
