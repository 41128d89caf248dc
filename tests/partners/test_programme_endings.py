"""The end of programmes: asked about before, and done for all that are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shop_floor import Floor

from emeterai.app import Services
from emeterai.infra.database import Database
from programme_people import Bureau


async def test_one_sweep_ends_every_programme_that_is_due(db: Database) -> None:
    """However many end at the same midnight."""
    bureau = await Bureau.open(db)
    await bureau.credit(bureau.agency.account_id, 45)
    for number in range(45):
        made = await bureau.programmes.make(
            bureau.agency, name=f"P{number}", message="", units_each=1, ends_at=datetime.now(UTC) + timedelta(days=1)
        )
        await bureau.programmes.fund(bureau.agency, made.id, 1, key="once")
    async with db.transaction() as tx:
        await tx.execute("UPDATE partners.programmes SET ends_at = now()")
    await bureau.returns.sweep()
    assert 45 == await db.fetchval("SELECT count(*) FROM partners.programmes WHERE state = 'ended'")
    assert 45 == (await bureau.ledger.balance(bureau.agency.account_id)).available


async def test_the_end_of_a_programme_is_asked_about(floor: Floor) -> None:
    """The first press shows what will happen and changes nothing; the second one does it."""
    services: Services = floor.app.state["services"]
    partner = await floor.market.partner()
    account = await services.accounts.account(partner.account_id)
    agency = await services.accounts.identify((await services.accounts.open_session(account)).token)
    made = await services.programmes.make(
        agency, name="Seleksi", message="", units_each=1, ends_at=datetime.now(UTC) + timedelta(days=1)
    )
    visitor = await floor.visitor(of=partner)
    page, end = f"/program/{made.id}/kelola", f"/program/{made.id}/akhiri"
    asked = await visitor.send(end, page=page)
    assert (200, True) == (asked.status_code, "Akhiri program sekarang?" in asked.text)
    assert "open" == (await services.programmes.public(made.id)).state
    assert 303 == (await visitor.send(end, page=page, confirmed="ya")).status_code
    assert "open" != (await services.programmes.public(made.id)).state
