"""Groups for programs: `/v1/groups` and `/v1/group-invitations`.

To act for a group a program sends its id as `Emeterai-Account` with every request, or uses a key that is bound to it.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from emeterai.accounts import details
from emeterai.accounts.callers import AnyRequest, caller, groups_of
from emeterai.accounts.groups import (
    GROUP_FULL,
    GROUP_NEEDS_OWNER,
    GROUP_NOT_YOURS,
    GROUP_ROLE_NEEDED,
    GROUPS_TOO_MANY,
    INVITATION_FOR_OTHER,
    INVITATION_UNKNOWN,
    MEMBER_UNKNOWN,
)
from emeterai.accounts.groups_model import Deed, Group, Invitation, Invited, Limits, Member, NewInvitation
from emeterai.accounts.model import GroupRole
from emeterai.accounts.service import SESSION_EXPIRED, SESSION_NEEDED, SIGN_IN_NEEDED, Caller
from emeterai.infra.http import CURSOR_BAD, NOT_FOUND, cursor_of, problems, read_cursor

LINES_A_PAGE_MAX = 100
_NO_STORE = {"cache-control": "no-store"}
_SIGNED_IN = (SIGN_IN_NEEDED, SESSION_EXPIRED)
_LOOKING = (*_SIGNED_IN, GROUP_NOT_YOURS, NOT_FOUND)
_CHANGING = (*_SIGNED_IN, SESSION_NEEDED, GROUP_NOT_YOURS, GROUP_ROLE_NEEDED, NOT_FOUND)
WhoCalls = NamedDependency[Caller]
GroupId = FromPath[UUID]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=LINES_A_PAGE_MAX, description="Lines on a page")]


class NewGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it takes to make a group. Days and months of its limits are those of its time zone."""

    name: str
    timezone: str = "WIB"


class Seat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A member's role and limits."""

    role: GroupRole = GroupRole.MEMBER
    limits: Limits = Limits()


class InvitationWanted(Seat, forbid_unknown_fields=True, kw_only=True):
    """Whom to invite: whoever has this e-mail address or phone number, or without it whoever has the code."""

    contact: str | None = None


class GroupList(msgspec.Struct, frozen=True):
    """Your groups, by name."""

    items: list[Group]


class MemberList(msgspec.Struct, frozen=True):
    """Some members; `next` asks for the others and is null at the end."""

    items: list[Member]
    next: str | None


class InvitationList(msgspec.Struct, frozen=True):
    """The open invitations, newest first."""

    items: list[Invitation]


class DeedList(msgspec.Struct, frozen=True):
    """Some of the history, newest first; `next` asks for the older lines and is null at the end."""

    items: list[Deed]
    next: str | None


class GroupRoutes(Controller):
    """An organisation's account that its members act for."""

    path = "/v1/groups"
    tags = ("Groups",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @post(
        operation_id="found_group",
        summary="Make a group and be its owner",
        responses=problems(
            *_SIGNED_IN,
            SESSION_NEEDED,
            GROUPS_TOO_MANY,
            details.NAME_UNUSABLE,
            details.NAME_IS_NUMBER,
            details.TIMEZONE_UNKNOWN,
        ),
    )
    async def found(self, request: AnyRequest, caller: WhoCalls, data: JSONBody[NewGroup]) -> Response[Group]:
        """Make a group. Its id is the account to act for."""
        group = await groups_of(request).found(caller, name=data.name, timezone=data.timezone)
        return Response(group, status_code=201, headers=_NO_STORE)

    @get(operation_id="list_groups", summary="Your groups", responses=problems(*_SIGNED_IN))
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[GroupList]:
        """Every group that you may act for, with your role."""
        return Response(GroupList(await groups_of(request).mine(caller)), headers=_NO_STORE)

    @get(
        "/{group_id:uuid}",
        operation_id="get_group",
        summary="One group",
        responses=problems(*_LOOKING),
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[Group]:
        """A group of yours, with your role."""
        return Response(await groups_of(request).group(caller, group_id), headers=_NO_STORE)

    @get(
        "/{group_id:uuid}/members",
        operation_id="list_members",
        summary="Members, limits, what they spent",
        responses=problems(*_LOOKING),
    )
    async def members(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        group_id: GroupId,
        limit: Limit = 50,
        after: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
    ) -> Response[MemberList]:
        """All members for owners and managers; for a member only himself."""
        found = await groups_of(request).members(caller, group_id, after=after, limit=limit + 1)
        following = str(found[limit - 1].account_id) if len(found) > limit else None
        return Response(MemberList(found[:limit], following), headers=_NO_STORE)

    @put(
        "/{group_id:uuid}/members/{account_id:uuid}",
        operation_id="change_member",
        summary="Set a member's role and limits",
        responses=problems(*_CHANGING, MEMBER_UNKNOWN, GROUP_NEEDS_OWNER),
    )
    async def change(
        self,
        request: AnyRequest,
        caller: WhoCalls,
        group_id: GroupId,
        account_id: FromPath[UUID],
        data: JSONBody[Seat],
    ) -> Response[Member]:
        """They hold for the very next stamp. A limit that is null is none."""
        groups = groups_of(request)
        member = await groups.change(caller, group_id, account_id, role=data.role, limits=data.limits)
        return Response(member, headers=_NO_STORE)

    @delete(
        "/{group_id:uuid}/members/{account_id:uuid}",
        operation_id="remove_member",
        summary="End a membership, or your own",
        responses=problems(*_CHANGING, MEMBER_UNKNOWN, GROUP_NEEDS_OWNER),
    )
    async def remove(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, account_id: FromPath[UUID]
    ) -> None:
        """What was made for the group stays the group's; keys of the member that are bound to it stop."""
        await groups_of(request).remove(caller, group_id, account_id)

    @post(
        "/{group_id:uuid}/invitations",
        operation_id="invite_member",
        summary="Invite somebody",
        responses=problems(
            *_CHANGING, GROUP_FULL, details.EMAIL_UNUSABLE, details.PHONE_UNUSABLE, details.CONTACT_NEEDED
        ),
    )
    async def invite(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, data: JSONBody[InvitationWanted]
    ) -> Response[NewInvitation]:
        """The code is in this answer and is never shown again; it holds once, for seven days."""
        invitation = await groups_of(request).invite(
            caller, group_id, contact=data.contact, role=data.role, limits=data.limits
        )
        return Response(invitation, status_code=201, headers=_NO_STORE)

    @get(
        "/{group_id:uuid}/invitations",
        operation_id="list_invitations",
        summary="Open invitations",
        responses=problems(*_LOOKING, GROUP_ROLE_NEEDED),
    )
    async def invitations(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[InvitationList]:
        """Without their codes."""
        return Response(InvitationList(await groups_of(request).invitations(caller, group_id)), headers=_NO_STORE)

    @delete(
        "/{group_id:uuid}/invitations/{invitation_id:uuid}",
        operation_id="withdraw_invitation",
        summary="Withdraw an invitation",
        responses=problems(*_CHANGING, INVITATION_UNKNOWN),
    )
    async def withdraw(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, invitation_id: FromPath[UUID]
    ) -> None:
        """Its code opens nothing from now on."""
        await groups_of(request).withdraw(caller, group_id, invitation_id)

    @get(
        "/{group_id:uuid}/history",
        operation_id="list_group_history",
        summary="Who did what, newest first",
        responses=problems(*_LOOKING, CURSOR_BAD),
    )
    async def history(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[DeedList]:
        """All of it for owners and managers; for a member what he did himself."""
        before = read_cursor(cursor)
        found = await groups_of(request).history(caller, group_id, before=before, limit=limit + 1)
        shown = found[:limit]
        following = cursor_of(shown[-1].done_at, shown[-1].id) if len(found) > limit else None
        return Response(DeedList(shown, following), headers=_NO_STORE)


class InvitationRoutes(Controller):
    """Invitations, for those who hold their codes."""

    path = "/v1/group-invitations"
    tags = ("Groups",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = [{"bearer": []}]  # noqa: RUF012 - Litestar's own way

    @get(
        "/{code:str}",
        operation_id="look_at_invitation",
        summary="What an invitation offers",
        responses=problems(*_SIGNED_IN, INVITATION_UNKNOWN, INVITATION_FOR_OTHER),
    )
    async def read(self, request: AnyRequest, caller: WhoCalls, code: FromPath[str]) -> Response[Invited]:
        """The group, the role and the limits."""
        return Response(await groups_of(request).invited(caller, code), headers=_NO_STORE)

    @post(
        "/{code:str}/accept",
        operation_id="accept_invitation",
        summary="Become a member",
        responses=problems(
            *_SIGNED_IN, SESSION_NEEDED, INVITATION_UNKNOWN, INVITATION_FOR_OTHER, GROUP_FULL, GROUPS_TOO_MANY
        ),
    )
    async def accept(self, request: AnyRequest, caller: WhoCalls, code: FromPath[str]) -> Response[Group]:
        """Become a member; the code is used up."""
        return Response(await groups_of(request).accept(caller, code), status_code=201, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (GroupRoutes, InvitationRoutes)
"""What the application mounts."""
