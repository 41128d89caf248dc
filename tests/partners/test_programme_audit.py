"""Each rule of the audit of programmes, broken by hand, is named, and no other."""

from __future__ import annotations

import pytest

from emeterai.infra.database import Database
from emeterai.partners.programme_audit import RULES, check_all_programmes
from programme_people import Bureau, identity, person

_NAMES = list(RULES)
WAYS = {
    "UPDATE partners.fundings SET units = units + 1": {0, 3, 4},
    "UPDATE partners.claims SET units = units + 1, kept = kept + 1 WHERE used = 0": {1, 3, 4},
    "UPDATE partners.claims SET returned = returned - 1, kept = kept + 1 WHERE returned = 2": {2, 3, 4},
    "UPDATE partners.grant_returns SET units = units - 1 WHERE what = 'unclaimed'": {2, 3, 4},
    "UPDATE ledger.balances SET bought = bought + 1 WHERE account = (SELECT id FROM partners.programmes)": {3},
    "UPDATE partners.programmes SET claimed = claimed - 1": {5},
    """
    ALTER TABLE partners.claims DROP CONSTRAINT claims_once_each_account;
    UPDATE partners.claims SET account_id = (SELECT min(account_id::text)::uuid FROM partners.claims)
    """: {1, 2, 6},
}


@pytest.fixture
async def bureau(db: Database) -> Bureau:
    """A programme that ended: one unit used, three given back, six never claimed."""
    bureau = await Bureau.open(db)
    made = await bureau.programme(funded=10, invited=3)
    people = [person(), person()]
    for number, who in enumerate(people, 1):
        await bureau.claims.claim(who, made.id, identity=identity(number))
    await bureau.use(people[0].account_id, 1)
    await bureau.let_it_end(made)
    await bureau.returns.sweep()
    await bureau.assert_sound()
    return bureau


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_broken_is_named(bureau: Bureau, way: str) -> None:
    """A figure that was changed by hand breaks the rules that it stands in."""
    async with bureau.db.transaction() as tx:
        await tx.execute(way)
    broken = {rule.name for rule in await check_all_programmes(bureau.db) if rule.broken}
    assert {_NAMES[number] for number in WAYS[way]} == broken


def test_every_rule_is_broken_once() -> None:
    """None is there for show."""
    assert set(range(len(_NAMES))) == set().union(*WAYS.values())
