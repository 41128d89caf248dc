"""Vouchers from the stock to the person and back, and everything that may be said on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.core.voucher_code import code_of, grouped_code
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase import vouchers
from emeterai.purchase.voucher_model import Counts
from emeterai.purchase.voucher_secrets import VoucherSecrets
from emeterai.purchase.vouchers import CODES_KEPT_S, CODES_LIFE_S, sweep_vouchers
from voucher_desk import ADDRESS, Desk, desk_of, person_of, refusal, write

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def desk(db: Database) -> AsyncIterator[Desk]:
    """A desk with a thousand units in stock. Both audits end the test."""
    desk = await Desk.open(db)
    yield desk
    await desk.assert_sound()


async def test_units_go_from_the_stock_through_the_batch_to_the_person(desk: Desk) -> None:
    """Made, activated, redeemed: each unit is in one place at each moment."""
    batch = await desk.batch(vouchers=3, units=5, active=False)
    assert [985, 15] == [await desk.available(desk.stock), await desk.available(batch.id)]
    assert Counts(made=3, active=0, redeemed=0, void=0) == batch.counts
    assert 3 == (await desk.vouchers.activate(desk.seller, batch.id)).activated
    person = new_id()
    redemption = await desk.redeem(person, desk.codes[batch.id][1])
    assert 5 == redemption.units
    assert [985, 10, 5] == [await desk.available(one) for one in (desk.stock, batch.id, person)]
    assert Counts(made=0, active=2, redeemed=1, void=0) == (await desk.vouchers.batch(desk.seller, batch.id)).counts
    assert redemption == await desk.vouchers.redemption(person, redemption.id)
    assert None is await desk.vouchers.redemption(desk.seller.account_id, redemption.id)
    [received] = await desk.ledger.history(person)
    assert ("receive", "voucher_redeemed", 5, redemption.id) == (
        received.kind,
        received.reason,
        received.amount,
        received.subject,
    )


async def test_a_stock_without_enough_units_makes_no_batch(desk: Desk) -> None:
    """A refusal, and nothing of the batch is there."""
    assert "quota_not_enough" == await refusal(desk.vouchers.make(desk.seller, vouchers=11, units=100))
    assert [] == await desk.vouchers.batches(desk.seller)
    assert 1_000 == await desk.available(desk.stock)


@pytest.mark.parametrize(("vouchers", "units"), [(0, 1), (2_401, 1), (1, 0), (1, 1_001), (-1, -1)])
async def test_a_batch_has_its_limits(desk: Desk, vouchers: int, units: int) -> None:
    """Both numbers are bounded, and the sentence says by what."""
    asked = desk.vouchers.make(desk.seller, vouchers=vouchers, units=units)
    assert "voucher_batch_invalid" == await refusal(asked)


async def test_the_same_key_makes_one_batch(desk: Desk) -> None:
    """With other content it is refused; another account's key is another key."""
    first = await desk.vouchers.make(desk.seller, vouchers=2, units=3, idempotency_key="one")
    again = await desk.vouchers.make(desk.seller, vouchers=2, units=3, idempotency_key="one")
    assert first == again
    other = desk.vouchers.make(desk.seller, vouchers=2, units=4, idempotency_key="one")
    assert "idempotency_key_reused" == await refusal(other)
    assert 994 == await desk.available(desk.stock)


async def test_who_keeps_no_stock_makes_nothing_and_sees_nothing(desk: Desk) -> None:
    """A stranger can neither make vouchers nor see, download, activate or void those of others."""
    batch, stranger = await desk.batch(active=False), person_of(new_id())
    service = desk.vouchers
    assert "voucher_stock_unknown" == await refusal(service.make(stranger, vouchers=1, units=1))
    assert "voucher_stock_unknown" == await refusal(service.make(desk.seller, vouchers=1, units=1, stock_id=new_id()))
    assert [] == await service.batches(stranger)
    for asked in (
        service.batch(stranger, batch.id),
        service.codes(stranger, batch.id),
        service.forget_codes(stranger, batch.id),
        service.activate(stranger, batch.id),
        service.void(stranger, batch.id, confirmed=True),
    ):
        assert "voucher_batch_unknown" == await refusal(asked)
    code = desk.codes[batch.id][0]
    assert "voucher_unknown" == await refusal(service.activate_code(stranger, code, address=ADDRESS))
    assert 3 == (await service.batch(desk.seller, batch.id)).counts.made


async def test_every_reason_not_to_redeem_has_its_own_sentence(desk: Desk) -> None:
    """Not activated, redeemed by you, redeemed by another, void, mistyped, unknown: six different words."""
    batch, me = await desk.batch(vouchers=4, active=False), new_id()
    codes = desk.codes[batch.id]
    await desk.vouchers.activate(desk.seller, batch.id, first=2, last=4)
    await desk.redeem(me, codes[1])
    await desk.redeem(new_id(), codes[2])
    await desk.vouchers.void(desk.seller, batch.id, first=4, confirmed=True)
    mistyped = ("1" if codes[0][0] == "0" else "0") + codes[0][1:]
    said = [await refusal(desk.redeem(me, code)) for code in (*codes, mistyped, grouped_code(code_of(12_345)))]
    assert [
        "voucher_not_active",
        "voucher_yours_already",
        "voucher_redeemed",
        "voucher_void",
        "voucher_mistyped",
        "voucher_unknown",
    ] == said
    assert 5 == await desk.available(me)


async def test_the_same_key_redeems_once_and_answers_the_same_again(desk: Desk) -> None:
    """A lost answer is asked for again; with the code of another voucher the key is refused."""
    batch, me = await desk.batch(), new_id()
    first, second, _ = desk.codes[batch.id]
    answers = [await desk.redeem(me, first, key="once") for _ in range(2)]
    assert answers[0] == answers[1]
    assert "idempotency_key_reused" == await refusal(desk.redeem(me, second, key="once"))
    assert 5 == await desk.available(me)
    assert 5 == (await desk.redeem(new_id(), second, key="once")).units


async def test_the_till_activates_by_code_and_by_range(desk: Desk) -> None:
    """Once or twice is the same; one that has ended is named, so that nobody sells it."""
    batch = await desk.batch(vouchers=5, active=False)
    service, codes = desk.vouchers, desk.codes[batch.id]
    done = [await service.activate_code(desk.seller, codes[1], address=ADDRESS) for _ in range(2)]
    assert [(2, 2, 1), (2, 2, 0)] == [(one.first, one.last, one.activated) for one in done]
    assert 1 == (await service.activate(desk.seller, batch.id, first=2, last=3)).activated
    await desk.redeem(new_id(), codes[1])
    assert "voucher_ended" == await refusal(service.activate_code(desk.seller, codes[1], address=ADDRESS))
    await service.void(desk.seller, batch.id, first=3, confirmed=True)
    assert "voucher_ended" == await refusal(service.activate_code(desk.seller, codes[2], address=ADDRESS))
    assert [(1, 1, "made"), (2, 2, "redeemed"), (3, 3, "void"), (4, 5, "made")] == [
        (span.first, span.last, span.state.value) for span in await service.spans(batch.id)
    ]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 4), (3, 2), (4, None), (-1, -1)])
async def test_a_range_is_within_its_batch(desk: Desk, first: int, last: int | None) -> None:
    """For activating and for voiding."""
    batch = await desk.batch(active=False)
    for asked in (
        desk.vouchers.activate(desk.seller, batch.id, first=first, last=last),
        desk.vouchers.void(desk.seller, batch.id, first=first, last=last, confirmed=True),
    ):
        assert "voucher_range_invalid" == await refusal(asked)


async def test_voiding_returns_exactly_what_nobody_redeemed(desk: Desk) -> None:
    """Made and active ones, not redeemed ones; voided again gives nothing more."""
    batch, person = await desk.batch(vouchers=4), new_id()
    await desk.redeem(person, desk.codes[batch.id][0])
    unsure = desk.vouchers.void(desk.seller, batch.id, confirmed=False)
    assert "voucher_voiding_unconfirmed" == await refusal(unsure)
    first = await desk.vouchers.void(desk.seller, batch.id, last=2, confirmed=True, idempotency_key="v")
    assert (1, 2, 1, 5) == (first.first, first.last, first.vouchers, first.units)
    assert first == await desk.vouchers.void(desk.seller, batch.id, last=2, confirmed=True, idempotency_key="v")
    other = desk.vouchers.void(desk.seller, batch.id, confirmed=True, idempotency_key="v")
    assert "idempotency_key_reused" == await refusal(other)
    rest = await desk.vouchers.void(desk.seller, batch.id, confirmed=True)
    assert (2, 10) == (rest.vouchers, rest.units)
    nothing = await desk.vouchers.void(desk.seller, batch.id, confirmed=True)
    assert (0, 0) == (nothing.vouchers, nothing.units)
    assert [995, 0, 5] == [await desk.available(one) for one in (desk.stock, batch.id, person)]
    assert 3 == len(await desk.vouchers.voidings(batch.id))


async def test_only_keyed_hashes_are_in_the_database(desk: Desk) -> None:
    """No column of any table holds a code, grouped or not, nor the key that they are drawn from."""
    batch = await desk.batch(active=False)
    [code, *_] = [code.replace("-", "") for code in desk.codes[batch.id]]
    secrets = VoucherSecrets(b"another secret of thirty-two bytes")
    tables = ("voucher_batches", "vouchers", "voucher_voidings", "voucher_tries")
    for table in tables:
        rows = await desk.db.fetch(f"SELECT table_row::text AS text FROM purchase.{table} AS table_row")
        assert all(code not in row["text"] and grouped_code(code) not in row["text"] for row in rows)
    digest = await desk.db.fetchval("SELECT digest FROM purchase.vouchers WHERE number = 1")
    assert digest != secrets.digest(code)
    with pytest.raises(ValueError, match="32 bytes"):
        VoucherSecrets(b"short")


async def test_codes_are_kept_for_days_and_forgotten_soon_after_the_first_download(desk: Desk) -> None:
    """Enciphered; the same codes each time; a day after the first download, or when told so, they are gone."""
    batch = await desk.vouchers.make(desk.seller, vouchers=2, units=1)
    assert batch.codes_until is not None
    assert timedelta(seconds=CODES_LIFE_S) == batch.codes_until - batch.created_at
    first, codes = await desk.vouchers.codes(desk.seller, batch.id)
    again, same = await desk.vouchers.codes(desk.seller, batch.id)
    assert codes == same
    assert first.first_downloaded_at == again.first_downloaded_at
    assert first.codes_until is not None
    assert first.first_downloaded_at is not None
    assert timedelta(seconds=CODES_KEPT_S) == first.codes_until - first.first_downloaded_at
    await write(desk.db, "UPDATE purchase.voucher_batches SET codes_until = now()")
    assert "voucher_codes_gone" == await refusal(desk.vouchers.codes(desk.seller, batch.id))
    assert None is (await desk.vouchers.batch(desk.seller, batch.id)).codes_until
    assert [1, 0] == [await sweep_vouchers(desk.db) for _ in range(2)]
    other = await desk.vouchers.make(desk.seller, vouchers=2, units=1)
    assert None is (await desk.vouchers.forget_codes(desk.seller, other.id)).codes_until
    assert "voucher_codes_gone" == await refusal(desk.vouchers.codes(desk.seller, other.id))


async def test_a_key_that_was_altered_opens_nothing(desk: Desk) -> None:
    """Nor does the key of another batch: it is as good as forgotten, and the units can still be voided."""
    one, other = [await desk.vouchers.make(desk.seller, vouchers=1, units=1) for _ in range(2)]
    await write(
        desk.db,
        "UPDATE purchase.voucher_batches SET enciphered_key = "
        "(SELECT enciphered_key FROM purchase.voucher_batches WHERE id = $1) WHERE id = $2",
        one.id,
        other.id,
    )
    assert "voucher_codes_gone" == await refusal(desk.vouchers.codes(desk.seller, other.id))
    assert 1 == (await desk.vouchers.void(desk.seller, other.id, confirmed=True)).units


async def test_batches_are_listed_newest_first(desk: Desk) -> None:
    """A page at a time."""
    made = [(await desk.vouchers.make(desk.seller, vouchers=1, units=1, label=f" Loket  {n} ")).id for n in range(3)]
    newest = await desk.vouchers.batches(desk.seller, limit=2)
    assert ["Loket 2", "Loket 1"] == [batch.label for batch in newest]
    older = await desk.vouchers.batches(desk.seller, before=newest[-1].id)
    assert made[::-1] == [batch.id for batch in (*newest, *older)]


async def test_a_redeemed_voucher_stays_so_whatever_writes(desk: Desk) -> None:
    """The database itself refuses to change or delete a voucher that has ended."""
    batch = await desk.batch()
    await desk.redeem(new_id(), desk.codes[batch.id][0])
    for statement in ("UPDATE purchase.vouchers SET state = 'active'", "DELETE FROM purchase.vouchers"):
        with pytest.raises(Exception, match="stays so"):
            await write(desk.db, f"{statement} WHERE number = 1")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["activate", "redeem", "void"]), st.integers(1, 4), st.integers(0, 3)), max_size=14
    )
)
async def test_whatever_happens_in_whatever_order_the_units_are_all_there(
    db: Database, deeds: list[tuple[str, int, int]]
) -> None:
    """Stock, batch and people together always have what the stock had, and each batch what its vouchers say."""
    desk = await Desk.open(db, units=40)
    batch = await desk.batch(vouchers=4, units=7, active=False)
    people = [new_id() for _ in range(3)]
    for deed, number, more in deeds:
        last = min(4, number + more)
        try:
            if deed == "activate":
                await desk.vouchers.activate(desk.seller, batch.id, first=number, last=last)
            elif deed == "redeem":
                await desk.redeem(people[more % 3], desk.codes[batch.id][number - 1])
            else:
                await desk.vouchers.void(desk.seller, batch.id, first=number, last=last, confirmed=True)
        except Refused:
            continue
    balances = [await desk.ledger.balance(account) for account in (desk.stock, batch.id, *people)]
    assert 40 == sum(balance.available for balance in balances)
    assert Balance(bought=batch.units * (await desk.vouchers.batch(desk.seller, batch.id)).counts.live) == balances[1]
    await desk.assert_sound()


async def test_another_process_has_the_same_secret_and_knows_the_same_codes(desk: Desk) -> None:
    """The secret is the installation's."""
    batch = await desk.batch()
    other = desk_of(desk.db, desk.seller, desk.stock)
    assert 5 == (await other.redeem(new_id(), desk.codes[batch.id][0], address=ADDRESS)).units


async def test_a_suspended_seller_sells_no_more(desk: Desk) -> None:
    """Nothing is made or activated; what was sold is still redeemed, and what was not goes back to the stock."""
    batch = await desk.batch(active=False)
    await desk.vouchers.activate(desk.seller, batch.id, first=1)
    service, codes = desk_of(desk.db, desk.seller, desk.stock, sells=False), desk.codes[batch.id]
    for asked in (
        service.make(desk.seller, vouchers=1, units=1),
        service.activate(desk.seller, batch.id),
        service.activate_code(desk.seller, codes[1], address=ADDRESS),
    ):
        assert "voucher_stock_suspended" == await refusal(asked)
    assert 5 == (await service.redeem(new_id(), codes[0], address=ADDRESS)).units
    assert 10 == (await service.void(desk.seller, batch.id, confirmed=True)).units


async def test_a_rush_on_one_batch_leaves_connections_to_everybody_else(desk: Desk) -> None:
    """While its row is held, forty people wait for it, and yet the database can be asked."""
    batch = await desk.batch(vouchers=40, units=1)
    async with desk.db.transaction() as tx:
        await desk.ledger.open_book(tx, [batch.id])
        rush = [asyncio.create_task(desk.redeem(new_id(), code)) for code in desk.codes[batch.id]]
        async with asyncio.timeout(20):
            while 4 > await desk.db.fetchval(WAITING):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert 4 == await desk.db.fetchval(WAITING)
    assert [1] * 40 == [one.units for one in await asyncio.gather(*rush)]


async def test_a_label_is_one_line_that_can_be_printed(desk: Desk) -> None:
    """Whatever a program sends: what has no glyph, or turns the line around, becomes a blank."""
    batch = await desk.vouchers.make(desk.seller, vouchers=1, units=1, label=" Loket\0 3\u202e \n" + "x" * 80)
    assert ("Loket 3 " + "x" * 80)[:60] == batch.label


async def test_who_cannot_have_a_turn_hears_so_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rush waits in a line of bounded length; beyond it nothing happens to a voucher."""
    batch, person = await desk.batch(vouchers=1, units=5), new_id()
    with monkeypatch.context() as rush:
        rush.setattr(vouchers, "_REDEEMING_MAX", 0)
        assert "service_busy" == await refusal(desk.redeem(person, desk.codes[batch.id][0]))
    assert 5 == (await desk.redeem(person, desk.codes[batch.id][0])).units
