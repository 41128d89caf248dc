"""Grants on bad days: who does nothing wrong is not locked out, and one stuck programme stops no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from emeterai.core.granting import ProgrammeState
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.partners import programme_claims, programme_secrets, programmes
from programme_people import Bureau, identity, organisation, person


@pytest.fixture
async def bureau(db: Database) -> Bureau:
    """An agency on this test's database."""
    return await Bureau.open(db)


async def test_an_empty_programme_locks_nobody_out(bureau: Bureau) -> None:
    """Whoever is told to try again may: only tries that did not match count."""
    made, siti = await bureau.programme(funded=0), person()
    for _ in range(programme_claims.TRIES_MAX + 2):
        with pytest.raises(Refused, match="programme_empty"):
            await bureau.claims.claim(siti, made.id, identity=identity(1), address="203.0.113.7")
    await bureau.credit(bureau.agency.account_id, 2)
    await bureau.programmes.fund(bureau.agency, made.id, 2, key="late")
    await bureau.claims.claim(siti, made.id, identity=identity(1), address="203.0.113.7")
    await bureau.assert_sound()


async def test_a_busy_hour_locks_nobody_out(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    """That too many were hashing was not the applicant's mistake."""
    made, siti = await bureau.programme(), person()
    with monkeypatch.context() as rush:
        rush.setattr(programme_secrets, "_WAITING_MAX", 0)
        for _ in range(programme_claims.TRIES_MAX + 2):
            with pytest.raises(Refused, match="claims_busy"):
                await bureau.claims.claim(siti, made.id, identity=identity(1), address="203.0.113.7")
    await bureau.claims.claim(siti, made.id, identity=identity(1), address="203.0.113.7")


async def test_addresses_of_one_network_count_as_one(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 customer has more addresses than there are people: all of his /64 count together."""
    monkeypatch.setattr(programme_claims, "TRIES_OF_ADDRESS_MAX", 3)
    made = await bureau.programme()
    for last in range(3):
        with pytest.raises(Refused, match="grant_not_invited"):
            await bureau.claims.claim(person(), made.id, identity=identity(9), address=f"2001:db8::{last + 1:x}")
    with pytest.raises(Refused, match="claim_tries_over"):
        await bureau.claims.claim(person(), made.id, identity=identity(9), address="2001:db8::ffff")


async def test_codes_that_would_not_fit_are_refused_before_any_is_made(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch is left behind half made for the steward to fail at."""
    monkeypatch.setattr(programmes, "INVITED_MAX", 10)
    made = await bureau.programme(invited=3)
    with pytest.raises(Refused, match="programme_full"):
        await bureau.programmes.make_codes(bureau.agency, made.id, 8)
    assert [] == await bureau.programmes.batches(bureau.agency, made.id)


async def test_a_batch_that_does_not_fit_stops_no_other(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steward makes the others ready."""
    full, other = await bureau.programme(funded=0, invited=3), await bureau.programme(funded=0, invited=0)
    async with bureau.db.transaction() as tx:
        for programme in (full, other):
            await tx.execute(
                "INSERT INTO partners.code_batches (id, programme_id, quantity, made_by, created_at)"
                " VALUES (gen_random_uuid(), $1, 5, $1, now() - interval '1 hour')",
                programme.id,
            )
    monkeypatch.setattr(programmes, "INVITED_MAX", 7)
    await bureau.programmes.finish_codes()
    assert [5] == [batch.ready for batch in await bureau.programmes.batches(bureau.agency, other.id)]


async def test_a_programme_that_cannot_end_stops_no_other(bureau: Bureau) -> None:
    """The steward ends the others, and then says what went wrong."""
    broken, other = await bureau.programme(), await bureau.programme()
    for made in (broken, other):
        await bureau.claims.claim(person(), made.id, identity=identity(1))
    async with bureau.db.transaction() as tx:
        await tx.execute("UPDATE partners.claims SET used_before = 9 WHERE programme_id = $1", broken.id)
        for made, hours in ((broken, 2), (other, 1)):
            await tx.execute(
                "UPDATE partners.programmes SET ends_at = now() - make_interval(hours => $2) WHERE id = $1",
                made.id,
                hours,
            )
    with pytest.raises(asyncpg.CheckViolationError):
        await bureau.returns.sweep()
    assert ProgrammeState.ENDED is (await bureau.programmes.of_agency(bureau.agency, other.id)).state
    assert 20 - 2 == await bureau.available(bureau.agency.account_id)


async def test_what_was_granted_cannot_be_hidden_in_a_programme_of_ones_own(bureau: Bureau) -> None:
    """It would outlive the end of its grant there; what an organisation bought itself may go."""
    made, siti = await bureau.programme(), await organisation(bureau.db, "Siti")
    await bureau.claims.claim(siti, made.id, identity=identity(1))
    own = await bureau.programmes.make(
        siti, name="Titipan", message="", units_each=1, ends_at=datetime.now(UTC) + timedelta(days=9)
    )
    with pytest.raises(Refused, match="grants_not_yours_to_give") as refused:
        await bureau.programmes.fund(siti, own.id, 1, key="first")
    assert (2, 0) == (refused.value.facts["owed"], refused.value.facts["units_max"])
    await bureau.credit(siti.account_id, 3)
    await bureau.use(siti.account_id, 1)
    await bureau.programmes.fund(siti, own.id, 3, key="second")
    await bureau.let_it_end(made)
    await bureau.returns.sweep()
    figures = await bureau.programmes.figures(bureau.agency, made.id)
    assert (1, 1, 0) == (figures.used, figures.claimed_returned, figures.kept)
    await bureau.assert_sound()
