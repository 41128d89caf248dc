"""Two phones of one member against the last unit of his limit. First with the guard removed, then with it in place.

The guard is the lock on the group's balance row, under which both the limit is read and the unit is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from emeterai.accounts import groups_spending_store
from emeterai.accounts.groups import Groups, Limits
from emeterai.accounts.groups_model import GroupRole
from emeterai.accounts.service import Accounts, Caller
from emeterai.core.ledger import Balance, Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.stamping.model import Stamp, StampWanted
from emeterai.stamping.service import Stamping
from spine import Spine

Widen = Callable[[Any, str], None]


@dataclass
class Team:
    """A group with quota and one member with a limit."""

    spine: Spine
    groups: Groups
    owner: Caller
    budi: Caller
    group_id: UUID

    async def wanted(self, **changes: Any) -> StampWanted:
        """What the member asks for."""
        return await self.spine.wanted(self.group_id, made_by=self.budi.account_id, **changes)

    async def spent(self) -> tuple[int, int, int]:
        """What counts against the member: today, this month, in all."""
        spent = (await self.groups.member(self.owner, self.group_id, self.budi.account_id)).spent
        return spent.today, spent.this_month, spent.in_all


async def person(accounts: Accounts) -> Caller:
    """Somebody signed in."""
    account = await accounts.register(
        name="Budi", password="kopi-hangat-di-teras", email=f"{new_id().hex}@surat.example"
    )
    return await accounts.identify((await accounts.open_session(account)).token)


@pytest.fixture
async def team(spine: Spine, db: Database) -> Team:
    """Ten units, and a member who may spend one in all."""
    accounts, groups = Accounts(db, session_life_s=60), Groups(db, Ledger(db))
    owner, budi = await person(accounts), await person(accounts)
    group = await groups.found(owner, name="PT Maju Bersama")
    invitation = await groups.invite(
        owner, group.id, contact=None, role=GroupRole.MEMBER, limits=Limits(units_in_all=1)
    )
    await groups.accept(budi, invitation.code)
    await spine.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 10, account=group.id)])
    return Team(spine, groups, owner, budi, group.id)


def another_phone(spine: Spine) -> Stamping:
    """The same service in another process: it shares nothing but the database."""
    return Stamping(spine.db, spine.bus, spine.ledger, spine.serials, hold_life_s=60)


async def both_ask(team: Team) -> list[Stamp | str]:
    """Two phones ask for a stamp each, on different files, at once."""
    wanted = [await team.wanted(), await team.wanted()]
    answers = await asyncio.gather(
        team.spine.stamping.ask(wanted[0]), another_phone(team.spine).ask(wanted[1]), return_exceptions=True
    )
    found: list[Stamp | str] = []
    for answer in answers:
        if isinstance(answer, Refused):
            found.append(answer.code)
        else:
            assert not isinstance(answer, BaseException), answer
            found.append(answer[0])
    return found


async def test_without_the_lock_a_limit_is_overrun(team: Team, widen: Widen, no_lock: None) -> None:
    """Both read that one unit is left, and both take it."""
    widen(groups_spending_store, "allowances")
    answers = await both_ask(team)
    assert [Stamp, Stamp] == [type(answer) for answer in answers]
    assert (2, 2, 2) == await team.spent()


async def test_the_last_unit_of_a_limit_is_spent_once(team: Team, widen: Widen) -> None:
    """With the lock the second phone hears that the limit is used up, and the group's quota is untouched by it."""
    widen(groups_spending_store, "allowances")
    answers = await both_ask(team)
    assert {"member_limit_reached"} == {answer for answer in answers if isinstance(answer, str)}
    assert 1 == len([answer for answer in answers if isinstance(answer, Stamp)])
    assert (1, 1, 1) == await team.spent()
    assert Balance(bought=10, held=1) == await team.spine.ledger.balance(team.group_id)
    await team.spine.assert_sound()


async def test_the_limit_counts_within_one_batch(team: Team) -> None:
    """Requests that arrive together are decided one after another."""
    wanted = [await team.wanted() for _ in range(3)]
    answers = await asyncio.gather(*(team.spine.stamping.ask(it) for it in wanted), return_exceptions=True)
    refused = [answer.code for answer in answers if isinstance(answer, Refused)]
    assert ["member_limit_reached"] * 2 == refused
    assert (1, 1, 1) == await team.spent()


async def test_a_unit_that_goes_back_counts_no_more(team: Team) -> None:
    """The hold runs out: the member may ask again, and the history tells both."""
    await team.spine.stamping.ask(await team.wanted())
    await team.spine.let_holds_run_out()
    await team.spine.endings.sweep()
    assert (0, 0, 0) == await team.spent()
    await team.spine.stamping.ask(await team.wanted())
    kinds = [it.kind for it in await team.groups.history(team.budi, team.group_id, limit=3)]
    assert ["stamped", "given_back", "stamped"] == kinds


async def test_repeating_a_request_spends_nothing(team: Team) -> None:
    """The same file again is the same stamp, also for a member whose limit is used up."""
    wanted = await team.wanted()
    first, _ = await team.spine.stamping.ask(wanted)
    again, is_new = await team.spine.stamping.ask(wanted)
    assert (first.id, False) == (again.id, is_new)
    assert (1, 1, 1) == await team.spent()


async def test_days_and_months_begin_anew(team: Team) -> None:
    """What was spent on another day counts for the month, what was spent in another month counts in all."""
    change, seat = team.groups.change, (team.group_id, team.budi.account_id)
    await change(team.owner, *seat, role=GroupRole.MEMBER, limits=Limits(units_a_day=1, units_a_month=2))
    await team.spine.stamping.ask(await team.wanted())
    async with team.spine.db.transaction() as tx:
        await tx.execute("UPDATE accounts.member_days SET day = date_trunc('month', day)::date - 1")
    assert (0, 0, 1) == await team.spent()
    await team.spine.stamping.ask(await team.wanted())
    with pytest.raises(Refused, match="member_limit_reached"):
        await team.spine.stamping.ask(await team.wanted())


@pytest.mark.parametrize("limits", [Limits(units_a_day=0), Limits(units_a_month=0), Limits(units_in_all=0)])
async def test_a_limit_that_is_lowered_holds_for_the_next_stamp(team: Team, limits: Limits) -> None:
    """Each of the three; nothing of the quota is touched."""
    await team.groups.change(team.owner, team.group_id, team.budi.account_id, role=GroupRole.MEMBER, limits=limits)
    with pytest.raises(Refused, match="member_limit_reached"):
        await team.spine.stamping.ask(await team.wanted())
    assert Balance(bought=10) == await team.spine.ledger.balance(team.group_id)


async def test_whoever_is_removed_spends_nothing(team: Team) -> None:
    """Even where a process still takes him for a member."""
    wanted = await team.wanted()
    await team.groups.remove(team.owner, team.group_id, team.budi.account_id)
    with pytest.raises(Refused, match="group_not_yours"):
        await team.spine.stamping.ask(wanted)


async def test_a_member_does_not_see_what_another_made(team: Team) -> None:
    """Documents and stamps of the group, each for the one who made it, and all for those who oversee it."""
    wanted = await team.wanted()
    stamp, _ = await team.spine.stamping.ask(wanted)
    stamping, other = team.spine.stamping, new_id()
    assert stamp.id == (await stamping.get(team.group_id, stamp.id, only_by=team.budi.account_id)).id
    assert stamp.id == (await stamping.get(team.group_id, stamp.id)).id
    with pytest.raises(Refused, match="stamp_unknown"):
        await stamping.get(team.group_id, stamp.id, only_by=other)
    assert [] == await stamping.of_account(team.group_id, only_by=other)
    assert [stamp.id] == [it.id for it in await stamping.of_account(team.group_id, only_by=team.budi.account_id)]


async def test_without_a_group_nothing_is_asked(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own stamp is held without a question about members."""

    async def never(*_: Any) -> Any:
        raise AssertionError("a question about members was asked")

    for name in ("allowances", "add_spent", "subtract_spent"):
        monkeypatch.setattr(groups_spending_store, name, never)
    await spine.stamping.ask(await spine.wanted(await spine.person(1)))
    await spine.let_holds_run_out()
    assert 1 == await spine.endings.sweep()
