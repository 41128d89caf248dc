"""The tracker: what became of an order, for whoever has its number and four digits, and nobody else."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from tracking_people import ADDRESS, PASSWORD, Counter, code_of

from emeterai.accounts import guesses
from emeterai.accounts.guesses import GuessLimit
from emeterai.care.service import Tracker
from emeterai.core.ordering import ChargeState, OrderState, order_number
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase import store
from emeterai.purchase.model import Notice
from emeterai.purchase.tracking import OrderLives, tidy_number
from emeterai.web.formats import moment


@pytest.fixture
def counter(db: Database) -> Counter:
    """A shop with its tracker."""
    return Counter.on(db)


async def test_a_paid_order_says_when_the_money_was_seen_and_the_quota_given(counter: Counter) -> None:
    """The sentence that people came for, then every step with its time."""
    order = await counter.purchase.place_order(await counter.buyer(), 2)
    await counter.pay(order)
    paid_at = (await counter.purchase.order(order.account_id, order.id)).paid_at
    assert paid_at is not None
    tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    whole, clock = moment(paid_at), " ".join(moment(paid_at).split()[-2:])
    assert f"Uang terlihat {whole}, kuota diberikan {clock}." == tracked.headline.id
    assert ["Pesanan dibuat", "Uang terlihat", "Kuota diberikan"] == [step.id for step in tracked.steps]
    assert [] == tracked.awaited


async def test_money_is_seen_when_its_news_came(counter: Counter) -> None:
    """A notification that waited before it was worked is when the money was seen; until then the quota follows."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    notice = Notice(
        event_id="e", order_id=order.id, state=ChargeState.SETTLED, amount=Decimal(order.total_idr), currency="IDR"
    )
    async with counter.db.transaction() as tx:
        note = new_id()
        await store.insert_notification(tx, note, provider="sandbox", notice=notice, body=b"{}")
        await tx.execute("UPDATE purchase.notifications SET received_at = now() - interval '2 minutes'")
    waiting = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    assert waiting.headline.id.startswith("Kabar pembayaran tiba ")
    assert "Jangan membayar lagi" in waiting.awaited[0].id
    await counter.pay(order)
    tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    times = {step.id: step.at for step in tracked.steps}
    assert times["Kabar pembayaran tiba"] == times["Uang terlihat"]
    assert times["Kuota diberikan"] - times["Uang terlihat"] >= timedelta(minutes=2)


async def test_an_open_order_says_what_is_awaited_and_until_when(counter: Counter) -> None:
    """The deadline, and when we ask the provider ourselves."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    assert OrderState.AWAITING_PAYMENT is tracked.state
    assert "Belum ada uang yang terlihat." == tracked.headline.id
    payment, question = tracked.awaited
    assert (order.expires_at, f"Kami menunggu pembayaran sampai {moment(order.expires_at)}.") == (
        payment.by,
        payment.id,
    )
    assert question.by is not None
    assert question.by > utc_now()


@pytest.mark.parametrize(
    ("assignment", "state", "headline"),
    [
        ("expires_at = now() - interval '1 second'", OrderState.EXPIRED, "Waktu pesanan lewat"),
        ("state = 'cancelled', changed_at = now()", OrderState.CANCELLED, "Pesanan dibatalkan"),
    ],
)
async def test_an_order_that_ended_without_money_is_still_asked_about(
    counter: Counter, assignment: str, state: OrderState, headline: str
) -> None:
    """Whoever paid late reads that the money still becomes quota."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    await counter.change(order, assignment)
    tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    assert state is tracked.state
    assert tracked.headline.id.startswith(headline)
    assert "juga bila terlambat" in tracked.awaited[-1].id


async def test_money_that_differs_has_its_clock(counter: Counter) -> None:
    """Staff decide; without them the return begins by itself, and the tracker says when."""
    order = await counter.purchase.place_order(await counter.buyer(), 2)
    await counter.pay(order, amount_idr=12_000)
    tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    assert OrderState.QUARANTINED is tracked.state
    assert "berbeda dari tagihan" in tracked.headline.id
    due_at = await counter.db.fetchval("SELECT due_at FROM purchase.returns WHERE order_id = $1", order.id)
    assert [due_at] == [item.by for item in tracked.awaited]
    assert moment(due_at) in tracked.awaited[0].id
    async with counter.db.transaction() as tx:
        await tx.execute("UPDATE purchase.returns SET state = 'returned', due_at = NULL, ended_at = now()")
    ended = await counter.tracker.look(order.number, "7890", address=ADDRESS)
    assert "Uang sudah dikembalikan" == ended.steps[-1].id
    assert [] == ended.awaited


async def test_without_a_phone_the_code_of_the_order_opens_it(counter: Counter) -> None:
    """Every order has its code; one with an e-mail address only has nothing else."""
    order = await counter.purchase.place_order(await counter.buyer(phone=None, email="siti@contoh.id"), 1)
    assert order.number == (await counter.tracker.look(order.number, code_of(order), address=ADDRESS)).number
    with pytest.raises(Refused, match="track_unmatched"):
        await counter.tracker.look(order.number, other_than(code_of(order)), address=ADDRESS)


def other_than(*codes: str) -> str:
    """Four digits that are none of these."""
    return next(code for code in (f"{number:04d}" for number in range(10_000)) if code not in codes)


async def test_the_order_of_a_group_is_opened_by_its_code(counter: Counter) -> None:
    """Whoever is no person has no phone."""
    order = await counter.purchase.place_order(new_id(), 1)
    assert order.number == (await counter.tracker.look(order.number, code_of(order), address=ADDRESS)).number


async def test_it_tells_nothing_about_people(counter: Counter) -> None:
    """No name, no phone, no address, no amount, no id."""
    account = await counter.buyer(email="siti@contoh.id")
    order = await counter.purchase.place_order(account, 7)
    await counter.pay(order)
    told = msgspec.json.encode(await counter.tracker.look(order.number, "7890", address=ADDRESS)).decode()
    for secret in ("Siti", "7890", "siti@contoh.id", "70000", "70.000", str(account), str(order.id), code_of(order)):
        assert secret not in told
    assert {"number", "state", "headline", "steps", "awaited"} == set(json.loads(told))


async def test_a_number_that_nobody_has_is_answered_as_wrong_digits_are(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same refusal, after the same reads."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    reads: list[str] = []
    fetch, fetchrow = Database.fetch, Database.fetchrow

    async def counted_fetch(db: Database, query: str, *arguments: object) -> object:
        reads.append(query)
        return await fetch(db, query, *arguments)

    async def counted_row(db: Database, query: str, *arguments: object) -> object:
        reads.append(query)
        return await fetchrow(db, query, *arguments)

    monkeypatch.setattr(Database, "fetch", counted_fetch)
    monkeypatch.setattr(Database, "fetchrow", counted_row)
    seen = []
    for number in (order.number, order_number(new_id())):
        with pytest.raises(Refused) as refused:
            await counter.tracker.look(number, other_than("7890", code_of(order)), address=ADDRESS)
        seen.append((refused.value.code, refused.value.facts, list(reads)))
        reads.clear()
    assert seen[0] == seen[1]
    assert 2 == len(seen[0][2])


async def test_two_orders_with_one_number_are_told_apart_by_their_digits(counter: Counter) -> None:
    """Forty bits may meet: each owner finds the own order, and never the other."""
    first = await counter.purchase.place_order(await counter.buyer(phone="081200001111"), 1)
    other = await counter.purchase.place_order(await counter.buyer(phone="081200002222"), 2)
    twin = UUID(int=other.id.int >> 40 << 40 | first.id.int & (1 << 40) - 1)
    await counter.change(other, f"id = '{twin}', state = 'cancelled'")
    assert OrderState.AWAITING_PAYMENT is (await counter.tracker.look(first.number, "1111", address=ADDRESS)).state
    assert OrderState.CANCELLED is (await counter.tracker.look(first.number, "2222", address=ADDRESS)).state


@pytest.mark.parametrize("typed", ["4F7K2M9Q", "4f7k 2m9q", " 4F7K-2M9Q ", "4F7K\u20132M9Q"])
def test_a_number_is_read_however_it_is_typed(typed: str) -> None:
    """Blanks, hyphens of any kind and small letters do not matter; O, I and L are 0 and 1."""
    assert "4F7K-2M9Q" == tidy_number(typed)
    assert "0110-0000" == tidy_number("OIL0 0000")


@pytest.mark.parametrize(
    ("number", "digits", "code"),
    [
        ("4F7K-2M9", "1234", "track_number_mistyped"),
        ("4F7K-2M9U", "1234", "track_number_mistyped"),
        ("", "1234", "track_number_mistyped"),
        ("4" * 100_000, "1234", "track_number_mistyped"),
        ("4F7K-2M9Q", "123", "track_digits_mistyped"),
        ("4F7K-2M9Q", "\u0661\u0662\u0663\u0664", "track_digits_mistyped"),
        ("4F7K-2M9Q", "abcd", "track_digits_mistyped"),
    ],
)
async def test_what_cannot_be_a_number_is_said_to_be_mistyped(
    counter: Counter, number: str, digits: str, code: str
) -> None:
    """It tells nothing about orders, and is not counted."""
    with pytest.raises(Refused, match=code):
        await counter.tracker.look(number, digits, address=ADDRESS)
    assert 0 == await counter.db.fetchval("SELECT count(*) FROM accounts.guesses")


async def test_wrong_digits_are_counted_for_the_number_wherever_they_come_from(counter: Counter) -> None:
    """Ten wrong tries an hour, from many addresses too; the right digits then wait as well, and a number that nobody
    has is paused in the same way.
    """
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    wrong = other_than("7890", code_of(order))
    for number in (order.number, order_number(new_id())):
        for turn in range(10):
            with pytest.raises(Refused, match="track_unmatched"):
                await counter.tracker.look(number, wrong, address=f"203.0.113.{turn}")
        with pytest.raises(Refused, match="tracking_paused") as refused:
            await counter.tracker.look(number, "7890", address="203.0.113.99")
        assert 3_500 < refused.value.facts["retry_after_s"] <= 3_600


async def test_right_digits_make_the_count_begin_anew(counter: Counter) -> None:
    """Whoever looks again and again at the own order is never paused by its number."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    for _ in range(12):
        await counter.tracker.look(order.number, "7890", address=ADDRESS)


async def test_one_address_has_so_many_looks_a_minute(counter: Counter) -> None:
    """Whatever it asks about."""
    tracker = Tracker(counter.db, counter.accounts, OrderLives(counter.db), by_address=GuessLimit(tries=3, window_s=60))
    for turn in range(3):
        with pytest.raises(Refused, match="track_unmatched"):
            await tracker.look(order_number(new_id()), f"{turn:04d}", address=ADDRESS)
    with pytest.raises(Refused, match="tracking_paused"):
        await tracker.look(order_number(new_id()), "0000", address=ADDRESS)
    with pytest.raises(Refused, match="track_unmatched"):
        await tracker.look(order_number(new_id()), "0000", address="198.51.100.1")


async def test_tries_at_one_moment_count_too(counter: Counter) -> None:
    """Fifty guesses at once are ten."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    wrong = other_than("7890", code_of(order))
    answers = await asyncio.gather(
        *(counter.tracker.look(order.number, wrong, address=ADDRESS) for _ in range(50)), return_exceptions=True
    )
    codes = [answer.code for answer in answers if isinstance(answer, Refused)]
    assert (10, 40) == (codes.count("track_unmatched"), codes.count("tracking_paused"))


async def test_it_works_while_sign_in_is_down(counter: Counter) -> None:
    """Every password thread is busy, nobody can sign in, the table of sessions is locked: the tracker answers."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    async with counter.db.transaction() as outage:
        await outage.execute("LOCK TABLE accounts.sessions, accounts.api_keys IN ACCESS EXCLUSIVE MODE")
        passwords = counter.accounts._passwords
        async with passwords.turn(), passwords.turn():
            signing_in = asyncio.create_task(
                counter.accounts.sign_in(contact="081234567890", password=PASSWORD, address=ADDRESS)
            )
            sweeping = asyncio.create_task(counter.accounts.sweep())
            async with asyncio.timeout(5):
                tracked = await counter.tracker.look(order.number, "7890", address=ADDRESS)
            assert order.number == tracked.number
            assert not signing_in.done()
            assert not sweeping.done()
    await asyncio.gather(signing_in, sweeping, return_exceptions=True)


async def test_the_sweep_of_sessions_keeps_no_window_locked(counter: Counter) -> None:
    """A window that ended is deleted for good before the sweep comes to the sessions, which somebody holds."""
    key = guesses.guess_key("track 4F7K-2M9Q", "")
    await guesses.take_guess(counter.db, key, GuessLimit())
    async with counter.db.transaction() as tx:
        await tx.execute("UPDATE accounts.guesses SET ends_at = now() - interval '1 second'")
    async with counter.db.transaction() as outage:
        await outage.execute("LOCK TABLE accounts.sessions IN ACCESS EXCLUSIVE MODE")
        sweeping = asyncio.create_task(counter.accounts.sweep())
        async with asyncio.timeout(5):
            while await counter.db.fetchval("SELECT count(*) FROM accounts.guesses"):
                await asyncio.sleep(0.01)
            await guesses.take_guess(counter.db, key, GuessLimit())
    await sweeping
