"""A group's quota leaves it for others only by somebody who may do so at that very moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emeterai.accounts.groups import GroupRole, Groups, Limits
from emeterai.accounts.groups_approval import GroupApprovals
from emeterai.accounts.service import Accounts, Caller
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.organisations import enrol_group
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import Programmes
from emeterai.partners.service import Partners
from emeterai.partners.voucher_stocks import voucher_stocks
from emeterai.purchase.vouchers import Vouchers
from market import refusal

SECRET = b"a secret of thirty-two bytes or so"
Pass = Callable[[Caller], Awaitable[Any]]


async def ways_of(db: Database, ledger: Ledger) -> list[Pass]:
    """The ways in which units leave an account for other people's."""
    vouchers = Vouchers(db, ledger, secret=SECRET, stocks_of=voucher_stocks(Partners(db, ledger, SerialChannels(db))))
    programmes = Programmes(db, ledger, ProgrammeSecrets(SECRET))

    async def fund(caller: Caller) -> None:
        made = await programmes.make(
            caller, name="Hibah", message="", units_each=1, ends_at=datetime.now(UTC) + timedelta(days=3)
        )
        await programmes.fund(caller, made.id, 5, key="once")

    return [lambda caller: vouchers.make(caller, vouchers=1, units=5), fund]


@pytest.mark.parametrize(
    ("limits", "is_removed", "expected"),
    [
        (Limits(), False, None),
        (Limits(units_in_all=1), False, "passing_on_limited"),
        (Limits(), True, "group_not_yours"),
    ],
)
async def test_a_manager_passes_quota_on_while_he_may(
    db: Database, limits: Limits, is_removed: bool, expected: str | None
) -> None:
    """Neither around his limits, nor in the seconds in which a process still remembers who was removed."""
    accounts, ledger = Accounts(db, session_life_s=3600), Ledger(db)
    groups = Groups(db, ledger)
    owner, manager = [await _person(accounts) for _ in range(2)]
    group = await groups.found(owner, name="PT Maju Bersama")
    invitation = await groups.invite(owner, group.id, contact=None, role=GroupRole.MANAGER, limits=limits)
    await groups.accept(manager, invitation.code)
    await ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 100, account=group.id)])
    await GroupApprovals(db, ledger, enrol=enrol_group).approve(group.id, "Akta diperiksa", by="test")
    acting = await groups.act(manager, group.id)
    if is_removed:
        await groups.remove(owner, group.id, manager.actor)
    for way in await ways_of(db, ledger):
        if expected is None:
            await way(acting)
        else:
            assert expected == await refusal(way(acting))
    assert (90 if expected is None else 100) == (await ledger.balance(group.id)).available


async def _person(accounts: Accounts) -> Caller:
    email = f"{new_id().hex}@surat.example"
    account = await accounts.register(name="Budi", password="kopi-hangat-di-teras", email=email)
    return await accounts.identify((await accounts.open_session(account)).token)
