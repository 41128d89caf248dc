"""Groups for people: make one, switch to it, invite, set roles and limits, see who did what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import AnyRequest, caller, groups_of, local_path, own_caller
from emeterai.accounts.groups_model import Deed, DeedKind, Group, Limits, Member, NewInvitation
from emeterai.accounts.model import GroupRole
from emeterai.accounts.pages import acting_cookie
from emeterai.accounts.quota import HasLedger
from emeterai.accounts.service import Caller
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.http import cursor_of, read_cursor
from emeterai.infra.settings import Settings
from emeterai.web import paths
from emeterai.web.confirming import Question, ask_first, is_confirmed
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form, whole_number
from emeterai.web.pages import Pages

LIMIT_UNUSABLE = RefusalKind(
    "limit_unusable",
    422,
    "Batas ditulis sebagai bilangan bulat, misalnya 20; kosongkan bila tanpa batas.",
    "A limit is a whole number, for example 20; leave it empty for no limit.",
)
_LIMITS = ("units_a_day", "units_a_month", "units_in_all")
_UNITS_MAX = 2_000_000_000
_MEMBERS_A_PAGE = 100
_DEEDS_A_PAGE = 20
_NEWEST = 5
_NO_STORE = {"cache-control": "no-store"}
_FIELD_OF = {
    "email_unusable": "contact",
    "phone_unusable": "contact",
    "contact_needed": "contact",
    "limit_unusable": "units_a_day",
}
_DEEDS = {
    DeedKind.FOUNDED: ("Membuat kelompok ini", "Made this group"),
    DeedKind.INVITED: ("Membuat undangan", "Made an invitation"),
    DeedKind.INVITATION_WITHDRAWN: ("Menarik undangan", "Withdrew an invitation"),
    DeedKind.JOINED: ("Bergabung", "Joined"),
    DeedKind.CHANGED: ("Mengubah peran atau batas anggota", "Changed a member's role or limits"),
    DeedKind.REMOVED: ("Mengeluarkan anggota", "Removed a member"),
    DeedKind.LEFT: ("Keluar dari kelompok", "Left the group"),
    DeedKind.STAMPED: ("Meminta satu e-meterai", "Asked for a stamp"),
    DeedKind.GIVEN_BACK: ("Satu kuota kembali: e-meterai tidak jadi", "A unit came back: the stamp was not made"),
    DeedKind.ORDERED: ("Memesan kuota", "Ordered quota"),
}
ROLES = {
    GroupRole.OWNER: ("pemilik", "owner"),
    GroupRole.MANAGER: ("pengelola", "manager"),
    GroupRole.MEMBER: ("anggota", "member"),
}
"""The roles in words."""
GroupId = FromPath[UUID]
WhoCalls = NamedDependency[Caller]


class GroupServices(HasLedger, Protocol):
    """What these pages find in the application's `state["services"]`, besides `accounts` and `groups`."""

    pages: Pages
    csrf: Csrf
    settings: Settings


class SwitchPages(Controller):
    """For whom this browser acts."""

    path = paths.ACT_FOR
    include_in_schema = False

    dependencies = {"caller": Provide(own_caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:  # noqa: ARG002 - the door
        """What to do when the browser's group is not the person's any more; only the button changes anything."""
        address = local_path(request.query_params.get("next"), paths.HOME)
        return _services(request).pages.render(request, "accounts/act_for_self.html", next=address)

    @post()
    async def switch(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Act for a group of the person's, or without one for himself."""
        fields = await _checked_form(request)
        chosen = fields.get("for", "")
        if not chosen:
            return _go(local_path(fields.get("next"), paths.QUOTA), acting_cookie(request, ""))
        mine = {str(group.id): group for group in await groups_of(request).mine(caller)}
        if chosen not in mine:
            return _go(paths.GROUPS, acting_cookie(request, ""))
        return _go(paths.QUOTA, acting_cookie(request, chosen))


class GroupPages(Controller):
    """Groups and their members."""

    path = paths.GROUPS
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def list(self, request: AnyRequest, caller: WhoCalls) -> Response[bytes]:
        """The person's groups, and the form that makes one."""
        return await _groups(request, caller)

    @post()
    async def found(self, request: AnyRequest, caller: WhoCalls) -> Response[Any]:
        """Make a group."""
        fields = await _checked_form(request)
        try:
            group = await groups_of(request).found(caller, name=fields.get("name", ""), timezone=caller.timezone.value)
        except Refused as refused:
            return await _groups(request, caller, _again(fields, refused, "name"), refused)
        return _go(paths.group(group.id))

    @get("/{group_id:uuid}")
    async def page(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[bytes]:
        """One group: quota, members, invitations, the newest of its history."""
        return await _group(request, caller, group_id)

    @get("/{group_id:uuid}/riwayat")
    async def history(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[bytes]:
        """The whole history, a page at a time."""
        groups, cursor = groups_of(request), request.query_params.get("cursor")
        group = await groups.group(caller, group_id)
        before = read_cursor(cursor)
        found = await groups.history(caller, group_id, before=before, limit=_DEEDS_A_PAGE + 1)
        shown, here = found[:_DEEDS_A_PAGE], paths.group_history(group_id)
        after = cursor_of(shown[-1].done_at, shown[-1].id) if len(found) > len(shown) else None
        return _services(request).pages.render(
            request,
            "accounts/group_history.html",
            group=group,
            deeds=[_shown(deed) for deed in shown],
            newer_url=here if before else None,
            older_url=f"{here}?cursor={after}" if after else None,
        )

    @post("/{group_id:uuid}/undang")
    async def invite(self, request: AnyRequest, caller: WhoCalls, group_id: GroupId) -> Response[Any]:
        """Make an invitation and show its link this once."""
        fields = await _checked_form(request)
        try:
            made = await groups_of(request).invite(
                caller, group_id, contact=fields.get("contact"), role=_role(fields), limits=_limits(fields)
            )
        except Refused as refused:
            return await _group(request, caller, group_id, form=_again(fields, refused, "contact"), refused=refused)
        return await _group(request, caller, group_id, made=made)

    @post("/{group_id:uuid}/undangan/{invitation_id:uuid}/tarik")
    async def withdraw(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, invitation_id: FromPath[UUID]
    ) -> Response[Any]:
        """Withdraw an invitation."""
        await _checked_form(request)
        await groups_of(request).withdraw(caller, group_id, invitation_id)
        return _go(paths.group(group_id))

    @get("/{group_id:uuid}/anggota/{account_id:uuid}")
    async def member(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, account_id: FromPath[UUID]
    ) -> Response[bytes]:
        """One member: role, limits, what was spent."""
        return await _member(request, caller, (group_id, account_id))

    @post("/{group_id:uuid}/anggota/{account_id:uuid}")
    async def change(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, account_id: FromPath[UUID]
    ) -> Response[Any]:
        """Set role and limits."""
        fields = await _checked_form(request)
        try:
            await groups_of(request).change(caller, group_id, account_id, role=_role(fields), limits=_limits(fields))
        except Refused as refused:
            form = _again(fields, refused, "role")
            return await _member(request, caller, (group_id, account_id), form, refused)
        return _go(paths.group(group_id))

    @post("/{group_id:uuid}/anggota/{account_id:uuid}/keluarkan")
    async def remove(
        self, request: AnyRequest, caller: WhoCalls, group_id: GroupId, account_id: FromPath[UUID]
    ) -> Response[Any]:
        """Ask, then end a membership; whoever ends his own is back in his own account."""
        fields, groups = await _checked_form(request), groups_of(request)
        if not is_confirmed(fields):
            group, member = await groups.group(caller, group_id), await groups.member(caller, group_id, account_id)
            question = _leaving(group, member, is_self=account_id == caller.actor)
            return ask_first(_services(request).pages, request, question)
        await groups.remove(caller, group_id, account_id)
        return _go(paths.GROUPS if account_id == caller.actor else paths.group(group_id))


class InvitationPages(Controller):
    """An invitation, for whoever holds its link."""

    path = f"{paths.INVITATION}/{{code:str}}"
    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: WhoCalls, code: FromPath[str]) -> Response[bytes]:
        """What it offers."""
        invited = await groups_of(request).invited(caller, code)
        return _services(request).pages.render(
            request, "accounts/invitation.html", invited=invited, role=ROLES[invited.role], code=code
        )

    @post()
    async def accept(self, request: AnyRequest, caller: WhoCalls, code: FromPath[str]) -> Response[Any]:
        """Become a member."""
        await _checked_form(request)
        group = await groups_of(request).accept(caller, code)
        return _go(paths.group(group.id))


async def _groups(
    request: AnyRequest, caller: Caller, form: Form | None = None, refused: Refused | None = None
) -> Response[bytes]:
    mine = await groups_of(request).mine(caller)
    return _services(request).pages.render(
        request,
        "accounts/groups.html",
        status_code=refused.kind.status if refused else 200,
        groups=[(group, ROLES[group.role]) for group in mine],
        acting_for=caller.account_id if caller.acting else None,
        form=form or Form(),
    )


async def _group(
    request: AnyRequest,
    caller: Caller,
    group_id: UUID,
    *,
    form: Form | None = None,
    made: NewInvitation | None = None,
    refused: Refused | None = None,
) -> Response[bytes]:
    services, groups = _services(request), groups_of(request)
    group = await groups.group(caller, group_id)
    members = await groups.members(caller, group_id, after=_after(request), limit=_MEMBERS_A_PAGE + 1)
    deeds = await groups.history(caller, group_id, limit=_NEWEST)
    is_more = len(members) > _MEMBERS_A_PAGE
    return services.pages.render(
        request,
        "accounts/group.html",
        status_code=refused.kind.status if refused else 200,
        group=group,
        role=ROLES[group.role],
        roles=_roles_to_give(group),
        is_acting=caller.account_id == group_id,
        available=(await services.ledger.balance(group_id)).available,
        members=[_seat(member) for member in members[:_MEMBERS_A_PAGE]],
        more_url=f"{paths.group(group_id)}?sesudah={members[_MEMBERS_A_PAGE - 1].account_id}" if is_more else None,
        invitations=[
            (it, ROLES[it.role]) for it in (await groups.invitations(caller, group_id) if group.role.oversees else [])
        ],
        deeds=[_shown(deed) for deed in deeds],
        form=form or Form(),
        made=made,
        made_url=services.settings.base_url + paths.invitation(made.code) if made else None,
    )


async def _member(
    request: AnyRequest,
    caller: Caller,
    seat: tuple[UUID, UUID],
    form: Form | None = None,
    refused: Refused | None = None,
) -> Response[bytes]:
    groups = groups_of(request)
    group, member = await groups.group(caller, seat[0]), await groups.member(caller, *seat)
    values = {name: str(value) for name in _LIMITS if (value := getattr(member.limits, name)) is not None}
    return _services(request).pages.render(
        request,
        "accounts/group_member.html",
        status_code=refused.kind.status if refused else 200,
        group=group,
        seat=_seat(member),
        roles=_roles_to_give(group),
        is_self=member.account_id == caller.actor,
        may_change=group.role is GroupRole.OWNER or (group.role.oversees and member.role is GroupRole.MEMBER),
        form=form or Form(values | {"role": member.role.value}),
    )


def _leaving(group: Group, member: Member, *, is_self: bool) -> Question:
    """What is asked before a membership ends."""
    title = ("Keluar dari kelompok?", "Leave the group?")
    if not is_self:
        title = ("Keluarkan anggota ini?", "Remove this member?")
    who = ("Anda", "You") if is_self else (member.name, member.name)
    seat = paths.group_member(group.id, member.account_id)
    return Question(
        title=title,
        facts=[(("Kelompok", "Group"), group.name), (("Anggota", "Member"), member.name)],
        sentences=[
            (
                f"{who[0]} tidak dapat lagi bertindak untuk kelompok ini, dan kunci API-nya berhenti.",
                f"{who[1]} can act for this group no more, and API keys for it stop.",
            ),
            (
                "Dokumen dan meterai kelompok tetap milik kelompok. Kembali hanya dengan undangan baru.",
                "Its documents and stamps stay the group's. Coming back takes a new invitation.",
            ),
        ],
        button=("Ya, keluar", "Yes, leave") if is_self else ("Ya, keluarkan", "Yes, remove"),
        action=paths.group_remove(group.id, member.account_id),
        back_url=seat,
    )


def _after(request: AnyRequest) -> UUID | None:
    try:
        return UUID(request.query_params.get("sesudah") or "")
    except ValueError:
        return None


def _roles_to_give(group: Group) -> list[tuple[str, tuple[str, str]]]:
    """The roles that a member of this role may give: a manager none above a plain member."""
    given = list(reversed(GroupRole)) if group.role is GroupRole.OWNER else [GroupRole.MEMBER]
    return [(role.value, ROLES[role]) for role in given]


def _seat(member: Member) -> dict[str, Any]:
    """A member as the templates show it."""
    limits, spent = member.limits, member.spent
    uses = [
        ("hari ini", "today", spent.today, limits.units_a_day),
        ("bulan ini", "this month", spent.this_month, limits.units_a_month),
        ("seluruhnya", "in all", spent.in_all, limits.units_in_all),
    ]
    return {"id": member.account_id, "name": member.name, "role": ROLES[member.role], "uses": uses}


def _shown(deed: Deed) -> dict[str, Any]:
    """A line of the history as the templates show it."""
    page_of = {DeedKind.STAMPED: paths.stamp, DeedKind.GIVEN_BACK: paths.stamp, DeedKind.ORDERED: paths.order}
    url = page_of[deed.kind](deed.subject) if deed.kind in page_of else None
    about = deed.facts.get("name") or deed.facts.get("contact") or ""
    return {"at": deed.done_at, "who": deed.actor_name, "what": _DEEDS[deed.kind], "about": about, "url": url}


def _role(fields: Mapping[str, str]) -> GroupRole:
    chosen = fields.get("role", "")
    return GroupRole(chosen) if chosen in set(GroupRole) else GroupRole.MEMBER


def _limits(fields: Mapping[str, str]) -> Limits:
    return Limits(**{name: _units(fields.get(name, "")) for name in _LIMITS})


def _units(typed: str) -> int | None:
    if not typed.strip():
        return None
    units = whole_number(typed, digits_max=len(str(_UNITS_MAX)))
    if units is None or units > _UNITS_MAX:
        raise LIMIT_UNUSABLE()
    return units


def _again(fields: Mapping[str, str], refused: Refused, field: str) -> Form:
    kept = {name: value for name, value in fields.items() if name != "csrf"}
    return Form(kept, (FieldError(_FIELD_OF.get(refused.code, field), refused.id, refused.en),))


def _services(request: AnyRequest) -> GroupServices:
    return cast("GroupServices", request.app.state["services"])


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    return texts_of(await checked_form(request, _services(request).csrf))


def _go(path: str, *cookies: Any) -> Response[Any]:
    return Redirect(path, status_code=303, headers=_NO_STORE, cookies=list(cookies))


controllers: tuple[type[Any], ...] = (SwitchPages, GroupPages, InvitationPages)
"""What the application mounts."""
