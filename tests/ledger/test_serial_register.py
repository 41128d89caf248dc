"""The register of serials on a real PostgreSQL: drawn once, taken for one digest for life, then affixed or void."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from emeterai.core.serial import block_number_of, is_serial
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.serials import BLOCK_SIZE, LEASE_SIZE, SerialRegister, SerialWanted

DIGEST = bytes(range(32))


async def taken(db: Database, *, count: int = 1) -> list[str]:
    """Serials that are on record, each for a hold of its own."""
    register = SerialRegister(db)
    serials = await register.draw(count)
    async with db.transaction() as tx:
        await register.take(tx, serials, [SerialWanted(DIGEST, new_id(), new_id()) for _ in serials])
    return serials


async def end(db: Database, serial: str, state: str) -> None:
    """Affix or void in a transaction of its own."""
    register = SerialRegister(db)
    async with db.transaction() as tx:
        await (register.affix if state == "affixed" else register.void)(tx, [serial])


async def run(db: Database, statement: str, *arguments: object) -> None:
    """One statement in a transaction."""
    async with db.transaction() as tx:
        await tx.execute(statement, *arguments)


async def test_a_drawn_serial_is_not_on_record_until_it_is_taken(db: Database) -> None:
    """Drawing costs nobody anything."""
    register = SerialRegister(db)
    (serial,) = await register.draw(1)
    assert is_serial(serial)
    assert await register.find(serial) is None


async def test_a_taken_serial_is_found_with_what_it_is_for(db: Database) -> None:
    """Its digest, its hold and its stamp."""
    register, wanted = SerialRegister(db), SerialWanted(DIGEST, new_id(), new_id())
    (serial,) = await register.draw(1)
    async with db.transaction() as tx:
        await register.take(tx, [serial], [wanted])
    found = await register.find(serial)
    assert found is not None
    assert ("taken", wanted.digest, wanted.hold_id, wanted.subject) == (
        found.state,
        found.digest,
        found.hold_id,
        found.subject,
    )
    assert found.ended_at is None


async def test_a_serial_taken_in_a_transaction_that_fails_is_not_taken(db: Database) -> None:
    """It is simply never issued."""
    register = SerialRegister(db)
    (serial,) = await register.draw(1)
    with pytest.raises(RuntimeError, match="after taking"):
        await _take_and_fail(db, register, serial)
    assert await register.find(serial) is None
    assert serial not in await register.draw(10)


async def _take_and_fail(db: Database, register: SerialRegister, serial: str) -> None:
    async with db.transaction() as tx:
        await register.take(tx, [serial], [SerialWanted(DIGEST, new_id(), new_id())])
        raise RuntimeError("after taking")


async def test_two_registers_at_once_never_give_the_same_serial(db: Database) -> None:
    """Eight processes that start together on an empty database, and one of them asked by many at once."""
    registers = [SerialRegister(db) for _ in range(8)]
    draws = [register.draw(LEASE_SIZE + 1) for register in registers]
    draws += [registers[0].draw(50) for _ in range(8)]
    serials = [serial for drawn in await asyncio.gather(*draws) for serial in drawn]
    assert 8 * (LEASE_SIZE + 1) + 8 * 50 == len(serials)
    assert len(serials) == len(set(serials))


async def test_a_used_up_block_is_followed_by_a_new_one(db: Database) -> None:
    """The last places of a block are given out, then another block with another key begins."""
    first = await SerialRegister(db).draw(1)
    await run(db, "UPDATE ledger.serial_blocks SET next = size - $1", LEASE_SIZE)
    register = SerialRegister(db)
    serials = await register.draw(LEASE_SIZE + 1)
    numbers = [block_number_of(serial) for serial in serials]
    assert [block_number_of(first[0])] * LEASE_SIZE == numbers[:-1]
    assert numbers[0] != numbers[-1]
    rows = await db.fetch("SELECT next, size, key FROM ledger.serial_blocks ORDER BY next DESC")
    assert [(BLOCK_SIZE, BLOCK_SIZE), (LEASE_SIZE, BLOCK_SIZE)] == [(row["next"], row["size"]) for row in rows]
    assert rows[0]["key"] != rows[1]["key"]


async def test_many_who_meet_the_end_of_a_block_all_get_serials(db: Database) -> None:
    """One lease is left and six want it: five make room elsewhere, and nobody gets a serial twice."""
    await SerialRegister(db).draw(1)
    await run(db, "UPDATE ledger.serial_blocks SET next = size - $1", LEASE_SIZE)
    draws = await asyncio.gather(*(SerialRegister(db).draw(LEASE_SIZE) for _ in range(6)))
    assert 6 * LEASE_SIZE == len({serial for drawn in draws for serial in drawn})


async def test_channels_have_blocks_of_their_own(db: Database) -> None:
    """One channel's crowd does not use up another's serials."""
    retail = await SerialRegister(db).draw(1)
    partner = await SerialRegister(db, channel="partner").draw(1)
    assert block_number_of(retail[0]) != block_number_of(partner[0])


@pytest.mark.parametrize("state", ["affixed", "void"])
@pytest.mark.parametrize("later", ["affixed", "void"])
async def test_an_ended_serial_stays_as_it_ended(db: Database, state: str, later: str) -> None:
    """Void stays void and affixed stays affixed: the database itself refuses a second ending."""
    (serial,) = await taken(db)
    await end(db, serial, state)
    with pytest.raises(asyncpg.RaiseError, match=f"is {state} and stays so"):
        await end(db, serial, later)
    found = await SerialRegister(db).find(serial)
    assert found is not None
    assert state == found.state
    assert found.ended_at is not None


@pytest.mark.parametrize(
    "change",
    ["digest = sha256('another file')", "hold_id = gen_random_uuid()", "subject = gen_random_uuid()", "serial = $2"],
)
async def test_a_serial_belongs_to_one_digest_for_life(db: Database, change: str) -> None:
    """Neither the digest nor the hold nor the stamp nor the serial itself can be changed by anybody."""
    serial, other = (await taken(db))[0], "0" * 22
    arguments = (serial, other) if "$2" in change else (serial,)
    with pytest.raises(asyncpg.RaiseError, match="stays so"):
        await run(db, f"UPDATE ledger.serials SET {change} WHERE serial = $1", *arguments)


async def test_a_serial_is_never_forgotten(db: Database) -> None:
    """Also a void one stays on record."""
    (serial,) = await taken(db)
    await end(db, serial, "void")
    with pytest.raises(asyncpg.RaiseError, match="stays so"):
        await run(db, "DELETE FROM ledger.serials")


async def test_a_serial_is_taken_once(db: Database) -> None:
    """A second taker meets the primary key."""
    (serial,) = await taken(db)
    register = SerialRegister(db)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.transaction() as tx:
            await register.take(tx, [serial], [SerialWanted(DIGEST, new_id(), new_id())])
