"""Two who meet over one voucher. Each race is first shown with its guards removed, then shown to be absent.

The guard is the lock on the balance of the batch: lock, read, decide, write. Behind it stands what the writing finds
out: a redeemed or void voucher stays so, and a voiding voids as many as it says. Without the lock these turn the race
into an error; without all of them units are made of nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase import voucher_store as store
from voucher_desk import ADDRESS, Desk, broken_rules, desk_of

LAST_S = 20.0
HOLDS_ITS_UNITS = "a batch holds the units of its vouchers that are neither redeemed nor void"
GAVE_ONCE = "a redeemed voucher gave its units once, to whoever redeemed it, and no other gave any"
WENT_BACK = "a batch was made of its stock, and what was voided went back there"
VOUCHERS = 3


@pytest.fixture
async def desk(db: Database) -> Desk:
    """A seller with a stock and an active batch of three vouchers of five units."""
    desk = await Desk.open(db)
    await desk.batch(vouchers=VOUCHERS, units=5)
    return desk


@pytest.fixture
async def no_last_word(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the writing itself finds out is removed."""
    async with db.transaction() as tx:
        await tx.execute("ALTER TABLE purchase.vouchers DISABLE TRIGGER vouchers_end_once")
    assert 1 == store._VOID.count("<> noted.vouchers")
    monkeypatch.setattr(store, "_VOID", store._VOID.replace("<> noted.vouchers", "> 1000000"))


@pytest.fixture(autouse=True)
def worst_moment(monkeypatch: pytest.MonkeyPatch, meeting_s: float) -> None:
    """Whoever has read what a voucher is waits for the other to have read it too, but never longer than `meeting_s`."""
    both, came = asyncio.Event(), 0

    def meeting(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def read_and_meet(*arguments: Any, **more: Any) -> Any:
            nonlocal came
            found = await read(*arguments, **more)
            came += 1
            if came == 2:
                both.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(both.wait(), meeting_s)
            return found

        return read_and_meet

    for name in ("voucher_by_id", "count_in"):
        monkeypatch.setattr(store, name, meeting(getattr(store, name)))


async def at_once(*works: Coroutine[Any, Any, Any]) -> tuple[list[Any], list[BaseException]]:
    """Do all of them at once: what they answered, and what they ended with instead."""
    answers = await asyncio.gather(*works, return_exceptions=True)
    return (
        [answer for answer in answers if not isinstance(answer, BaseException)],
        [answer for answer in answers if isinstance(answer, BaseException)],
    )


async def redeem_from_two_phones(desk: Desk) -> tuple[list[Any], list[BaseException]]:
    """One code, two people, two web processes."""
    phones = [desk_of(desk.db, desk.seller, desk.stock) for _ in range(2)]
    return await at_once(*(phone.redeem(new_id(), first_code(desk), address=ADDRESS) for phone in phones))


async def redeem_and_void(
    desk: Desk, *, redeemed: asyncio.Event | None = None
) -> tuple[list[Any], list[BaseException]]:
    """Somebody redeems the first voucher while its owner voids it; `redeemed` is set when the first is done."""
    [batch_id] = desk.codes
    owner, done = desk_of(desk.db, desk.seller, desk.stock), redeemed or asyncio.Event()

    async def redeem() -> Any:
        try:
            return await desk.redeem(new_id(), first_code(desk))
        finally:
            done.set()

    return await at_once(redeem(), owner.void(desk.seller, batch_id, first=1, confirmed=True))


def first_code(desk: Desk) -> str:
    """The code of voucher 1."""
    [codes] = desk.codes.values()
    return codes[0]


async def units_in(desk: Desk) -> tuple[int, int]:
    """What the stock and the batch have."""
    [batch_id] = desk.codes
    return await desk.available(desk.stock), await desk.available(batch_id)


@pytest.mark.usefixtures("no_lock", "no_last_word")
async def test_without_guards_a_voucher_is_redeemed_twice(desk: Desk) -> None:
    """Both find it active and both get its units: ten for five, and only the audit sees it."""
    redeemed, errors = await redeem_from_two_phones(desk)
    assert ([5, 5], []) == ([one.units for one in redeemed], errors)
    assert (985, 5) == await units_in(desk)
    assert {HOLDS_ITS_UNITS, GAVE_ONCE} == await broken_rules(desk.db)


@pytest.mark.usefixtures("no_lock")
async def test_without_the_lock_the_second_phone_gets_an_error(desk: Desk) -> None:
    """The database's own word stands: nothing is lost, but a person gets a crash for an answer."""
    redeemed, errors = await redeem_from_two_phones(desk)
    assert [5] == [one.units for one in redeemed]
    assert [asyncpg.IntegrityConstraintViolationError] == [type(error) for error in errors]
    await desk.assert_sound()


@pytest.mark.parametrize("last_word", [True, False])
async def test_of_two_phones_one_gets_the_units(desk: Desk, db: Database, last_word: bool) -> None:
    """With the lock the other hears that it is redeemed, whether or not the database stands behind it."""
    if not last_word:
        async with db.transaction() as tx:
            await tx.execute("ALTER TABLE purchase.vouchers DISABLE TRIGGER vouchers_end_once")
    redeemed, [refused] = await redeem_from_two_phones(desk)
    assert [5] == [one.units for one in redeemed]
    assert isinstance(refused, Refused)
    assert "voucher_redeemed" == refused.code
    assert (985, 10) == await units_in(desk)
    await desk.assert_sound()


@pytest.mark.usefixtures("no_lock", "no_last_word")
async def test_without_guards_a_voucher_is_redeemed_and_returned(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person has its units and the stock has them too: five units that nobody bought.

    Voiding writes last, on what it read before; the other way round the checks of the columns would find it.
    """
    redeemed, read = asyncio.Event(), store.count_in

    async def read_and_come_last(*arguments: Any, **more: Any) -> Any:
        found = await read(*arguments, **more)
        async with asyncio.timeout(LAST_S):
            await redeemed.wait()
        return found

    monkeypatch.setattr(store, "count_in", read_and_come_last)
    done, errors = await redeem_and_void(desk, redeemed=redeemed)
    assert ([5, 5], []) == ([one.units for one in done], errors)
    assert (990, 5) == await units_in(desk)
    assert {HOLDS_ITS_UNITS, GAVE_ONCE, WENT_BACK} & await broken_rules(desk.db)


@pytest.mark.usefixtures("no_lock")
async def test_without_the_lock_voiding_or_redeeming_gets_an_error(desk: Desk) -> None:
    """Whichever writes second finds that it is not as it was decided upon: all of it is undone."""
    done, [error] = await redeem_and_void(desk)
    assert [5] == [one.units for one in done]
    assert isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.SerializationError)
    await desk.assert_sound()


async def test_a_voucher_is_redeemed_or_returned(desk: Desk) -> None:
    """With the lock one of the two comes first, and the other is told: void, or nothing left to void."""
    done, errors = await redeem_and_void(desk)
    if errors:
        [refused] = errors
        assert isinstance(refused, Refused)
        assert "voucher_void" == refused.code
        assert (990, 10) == await units_in(desk)
    else:
        assert {5, 0} == {one.units for one in done}
        assert (985, 10) == await units_in(desk)
    await desk.assert_sound()


async def test_the_same_key_twice_at_once_makes_one_batch_and_redeems_once(desk: Desk) -> None:
    """The second waits for the first, and is answered the same."""
    services = [desk_of(desk.db, desk.seller, desk.stock) for _ in range(2)]
    made, _ = await at_once(*(one.make(desk.seller, vouchers=2, units=10, idempotency_key="made") for one in services))
    assert 1 == len({batch.id for batch in made})
    person = new_id()
    redeemed, errors = await at_once(
        *(one.redeem(person, first_code(desk), address=ADDRESS, idempotency_key="mine") for one in services)
    )
    assert (2, 1, []) == (len(redeemed), len({one.redeemed_at for one in redeemed}), errors)
    assert (965, 10) == await units_in(desk)
    await desk.assert_sound()


async def test_a_whole_hall_redeems_while_the_rest_is_voided(desk: Desk) -> None:
    """Forty vouchers, two people for each, the owner voiding meanwhile: every unit is with somebody, once."""
    batch = await desk.batch(vouchers=40, units=2)
    owner = desk_of(desk.db, desk.seller, desk.stock)
    people = [desk.redeem(new_id(), code) for code in desk.codes[batch.id] * 2]
    voids = [owner.void(desk.seller, batch.id, first=n, confirmed=True) for n in range(1, 41, 3)]
    done, errors = await at_once(*people[:40], *voids, *people[40:])
    assert {"voucher_redeemed", "voucher_void"} >= {getattr(error, "code", repr(error)) for error in errors}
    now = await desk.vouchers.batch(desk.seller, batch.id)
    assert (0, 40) == (now.counts.live, now.counts.redeemed + now.counts.void)
    assert 80 == sum(one.units for one in done)
    assert 0 == await desk.available(batch.id)
    await desk.assert_sound()
