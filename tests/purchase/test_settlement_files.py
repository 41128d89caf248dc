"""Settlement files are proof of money: one credit for an order, however it is proven and however often."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from shops import Shop, until

from emeterai.cli import EXIT_REFUSED, main
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.purchase import settlement_files, settlement_store
from emeterai.purchase.service import Order
from emeterai.purchase.settlement_files import LoadReport, SettlementFiles
from emeterai.purchase.settlement_formats import WIB

HEADER = "order_id,charge_id,state,amount,currency,settled_at"
XENDIT_HEADER = "Status,Type,Currency,Amount,Payment ID,Reference,Payment Date"


@dataclass
class Office:
    """An operator with files."""

    shop: Shop
    folder: Path
    files: SettlementFiles
    count: int = 0

    def write(self, lines: Iterable[str], header: str = HEADER) -> Path:
        """A file of these lines."""
        self.count += 1
        path = self.folder / f"laporan-{self.count}.csv"
        path.write_text("\n".join([header, *lines, ""]))
        return path

    async def load(self, *lines: str, dry_run: bool = False) -> LoadReport:
        """Load a file of these lines."""
        return await self.files.load(self.write(lines), "sandbox", dry_run=dry_run)

    async def paid(self, quantity: int = 2) -> Order:
        """An order that its notification paid."""
        order = await self.shop.purchase.create_order(new_id(), quantity)
        assert "paid" == await self.shop.notify(order)
        return await self.shop.purchase.order(order.account_id, order.id)


@pytest.fixture
def office(shop: Shop, tmp_path: Path) -> Office:
    """An office beside the shop."""
    return Office(shop, tmp_path, SettlementFiles(shop.db, shop.purchase))


def line_of(order: Order, *, amount: object = None, state: str = "settlement", reference: str | None = None) -> str:
    """The order's line in a file of the sandbox."""
    at = utc_now().astimezone(WIB).isoformat()
    charge = reference or order.provider_reference
    return f"{order.id},{charge},{state},{order.total_idr if amount is None else amount},IDR,{at}"


def counts(report: LoadReport) -> dict[str, int]:
    """How many lines had which outcome."""
    return {total.outcome: total.lines for total in report.totals}


async def test_a_lost_notification_is_made_good_by_the_file(office: Office) -> None:
    """The line is the first proof: the quota is there, once, and the sums say so."""
    order = await office.shop.purchase.create_order(new_id(), 3)
    report = await office.load(line_of(order))
    assert {"credited": 1} == counts(report)
    assert Decimal(order.total_idr) == report.totals[0].amount_idr
    assert ("paid", 3) == (await office.shop.state_of(order), await office.shop.bought(order.account_id))
    assert "unchanged" == await office.shop.notify(order)
    assert 3 == await office.shop.bought(order.account_id)


async def test_a_file_loaded_twice_changes_nothing(office: Office) -> None:
    """The report of the second time is the first one's, and says that it is."""
    order, known = await office.shop.purchase.create_order(new_id(), 1), await office.paid()
    path = office.write([line_of(order), line_of(known)])
    first = await office.files.load(path, "sandbox")
    assert {"credited": 1, "known": 1} == counts(first)
    transfers = await office.shop.db.fetchval("SELECT count(*) FROM ledger.transfers")
    again = await office.files.load(path, "sandbox")
    assert msgspec.structs.replace(first, again=True) == again
    assert transfers == await office.shop.db.fetchval("SELECT count(*) FROM ledger.transfers")


async def test_an_expired_order_is_credited_by_its_line(office: Office) -> None:
    """Settled money beats what we believe."""
    order = await office.shop.purchase.create_order(new_id(), 1)
    await office.shop.end_time(order)
    await office.shop.check_is_due(order)
    await office.shop.purchase.check_orders()
    assert "expired" == await office.shop.state_of(order)
    assert {"credited": 1} == counts(await office.load(line_of(order)))
    assert 1 == await office.shop.bought(order.account_id)


async def test_other_money_is_shown_and_never_guessed(office: Office) -> None:
    """Another amount or currency puts an open order in quarantine; the line is noted."""
    few, foreign = [await office.shop.purchase.create_order(new_id(), 2) for _ in range(2)]
    report = await office.load(line_of(few, amount=24_999), line_of(foreign).replace(",IDR,", ",USD,"))
    assert {"quarantined": 2} == counts(report)
    assert [(2, few.number), (3, foreign.number)] == [(it.line, it.order) for it in report.noted]
    assert ["24999 IDR", "25000 USD"] == [it.detail for it in report.noted]
    for order in (few, foreign):
        assert ("quarantined", 0) == (await office.shop.state_of(order), await office.shop.bought(order.account_id))


async def test_lines_that_lead_nowhere_are_noted(office: Office) -> None:
    """An order that nobody knows, a line twice, money that went back, a line that cannot be read."""
    order = await office.paid()
    report = await office.load(
        f"{new_id()},c-1,settlement,10000,IDR,2026-11-21",
        "INV-77,c-2,settlement,10000,IDR,2026-11-21",
        line_of(order),
        line_of(order),
        line_of(order, state="pending"),
        line_of(order, amount="sepuluh ribu"),
    )
    assert {"unknown_order": 2, "known": 1, "doubled": 1, "not_settled": 1, "unreadable": 1} == counts(report)
    assert [2, 3, 5, 7] == [it.line for it in report.noted]
    assert "INV-77" == report.noted[1].detail
    assert 6 == report.lines


async def test_a_further_payment_is_not_a_further_credit(office: Office) -> None:
    """Another transaction of the same order is money to be returned, not quota."""
    order = await office.paid()
    report = await office.load(line_of(order), line_of(order, reference="another-charge"))
    assert {"known": 1, "paid_again": 1} == counts(report)
    assert 2 == await office.shop.bought(order.account_id)
    assert "another-charge" == await office.shop.db.fetchval("SELECT reference FROM purchase.returns")


async def test_xendit_names_payments_that_we_do_not_know(office: Office) -> None:
    """Its payment is not the charge's id: the first one of an order is the order's. With nobody to ask about a second
    one, people look at it: one case, however often a file tells of it.
    """
    order = await office.shop.purchase.create_order(new_id(), 2)
    lines = [f"SUCCESS,PAYMENT,IDR,25000,py-{number},{order.id},21/11/2026 10:02" for number in (1, 2)]
    report = await office.files.load(office.write(lines, XENDIT_HEADER), "xendit")
    assert {"credited": 1, "no_answer": 1} == counts(report)
    later = await office.files.load(office.write([lines[1], lines[0]], XENDIT_HEADER), "xendit")
    assert {"known": 1, "no_answer": 1} == counts(later)
    assert 2 == await office.shop.bought(order.account_id)
    (case,) = await office.shop.purchase.cases.of_orders([order.id])
    assert ("no_answer", "py-2") == (case.kind.value, case.reference)


@pytest.mark.parametrize("lines_at_once", [1, 500])
async def test_a_rehearsal_changes_nothing_and_says_the_same(
    office: Office, lines_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says would be is what becomes of it, wherever the batches of its lines end."""
    monkeypatch.setattr(settlement_files, "_LINES_AT_ONCE", lines_at_once)
    orders = [await office.shop.purchase.create_order(new_id(), 2) for _ in range(2)]
    known = await office.paid()
    lines = [
        line_of(orders[0]),
        line_of(orders[0], reference="another"),
        line_of(orders[1], amount=1),
        line_of(known),
        line_of(known, reference="other"),
        f"{new_id()},c,settlement,1,IDR,",
    ]
    rehearsed = await office.load(*lines, dry_run=True)
    assert 0 == await office.shop.db.fetchval("SELECT count(*) FROM purchase.settlement_files")
    assert "awaiting_payment" == await office.shop.state_of(orders[0])
    loaded = await office.load(*lines)
    assert rehearsed.totals == loaded.totals
    assert rehearsed.noted == loaded.noted


async def test_a_load_that_died_goes_on_where_it_was(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the credit and the record of its line: the next load finds the money known, and credits the rest."""
    orders = [await office.shop.purchase.create_order(new_id(), 1) for _ in range(3)]
    path = office.write(map(line_of, orders))
    write = settlement_store.write_lines

    async def die(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(settlement_store, "write_lines", die)
    with pytest.raises(ConnectionResetError):
        await office.files.load(path, "sandbox")
    monkeypatch.setattr(settlement_store, "write_lines", write)
    report = await office.files.load(path, "sandbox")
    assert ({"known": 3}, False) == (counts(report), report.again)
    assert [1, 1, 1] == [await office.shop.bought(order.account_id) for order in orders]


async def test_a_load_that_is_killed_loses_and_doubles_nothing(office: Office, database_url: str) -> None:
    """SIGKILL in the middle of sixty credits; loading the file again credits the rest, each order once."""
    orders = [await office.shop.purchase.create_order(new_id(), 2) for _ in range(60)]
    path = office.write(map(line_of, orders))
    command = [sys.executable, "-m", "emeterai", "settlements", "load", str(path), "--provider", "sandbox"]
    environment = {**os.environ, "EMETERAI_DATABASE_URL": database_url}

    async def paid_count() -> int:
        count: int = await office.shop.db.fetchval("SELECT count(*) FROM purchase.orders WHERE state = 'paid'")
        return count

    loading = await asyncio.create_subprocess_exec(*command, env=environment)
    await until(paid_count, bool)
    loading.kill()
    await loading.wait()
    assert await paid_count() < len(orders)
    report = await office.files.load(path, "sandbox")
    assert len(orders) == sum(counts(report).values())
    assert {"credited", "known"} == set(counts(report))
    assert [2] * len(orders) == [await office.shop.bought(order.account_id) for order in orders]


async def test_file_notification_and_sweep_at_one_moment_are_one_credit(office: Office) -> None:
    """Whoever comes first."""
    orders = [await office.shop.purchase.create_order(new_id(), 2) for _ in range(6)]
    for order in orders:
        assert order.pay_url is not None
        await office.shop.provider.pay(order.pay_url.rsplit("/", 1)[-1])
        await office.shop.check_is_due(order)
    path = office.write(map(line_of, orders))
    await asyncio.gather(
        office.files.load(path, "sandbox"),
        office.files.load(path, "sandbox"),
        office.shop.purchase.check_orders(),
        *(office.shop.notify(order) for order in orders),
    )
    assert [2] * 6 == [await office.shop.bought(order.account_id) for order in orders]
    assert 6 == await office.shop.db.fetchval("SELECT count(*) FROM purchase.settlement_lines")


async def aged(office: Office, order_id: UUID, at: datetime) -> None:
    """Let the order have been paid at that time."""
    async with office.shop.db.transaction() as tx:
        await tx.execute("UPDATE purchase.orders SET paid_at = $2 WHERE id = $1", order_id, at)


async def test_what_is_paid_here_and_in_no_file_is_listed_once_its_day_is_over(office: Office) -> None:
    """By the days (GMT+7) of the file; a later file shortens the list; today is not over."""
    yesterday = (utc_now().astimezone(WIB) - timedelta(days=1)).replace(hour=12)
    told, untold, late, today, _ = [await office.paid(1) for _ in range(5)]
    for order in (told, untold):
        await aged(office, order.id, yesterday)
    await aged(office, late.id, yesterday.replace(hour=0, minute=0, second=1))
    lines = [line_of(order).rpartition(",")[0] + f",{yesterday.isoformat()}" for order in (told, untold, late)]
    report = await office.load(lines[0])
    assert (yesterday.date(), yesterday.date()) == (report.first_day, report.last_day)
    assert (2, [late.id, untold.id]) == (report.missing_count, [it.id for it in report.missing])
    assert untold.provider_reference == report.missing[1].reference
    report = await office.load(lines[1], line_of(today))
    assert [late.id] == [it.id for it in report.missing]
    assert (0, []) == await office.files.missing("midtrans", yesterday.date(), yesterday.date())


async def test_a_file_of_another_provider_is_refused_before_anything(office: Office) -> None:
    """Nothing of it is on record, so that it can still be loaded under its own name."""
    path = office.write(["x"], header="Order ID,Transaction ID,Status,Amount")
    with pytest.raises(Refused, match="settlement_file_unreadable"):
        await office.files.load(path, "sandbox")
    assert 0 == await office.shop.db.fetchval("SELECT count(*) FROM purchase.settlement_files")


async def test_many_lines_are_read_in_batches(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than five hundred lines at once; a report notes a thousand at most, and counts them all."""
    sizes: list[int] = []
    write = settlement_store.write_lines

    async def counted(db: object, digest: bytes, lines: list[object]) -> None:
        sizes.append(len(lines))
        await write(db, digest, lines)  # type: ignore[arg-type]

    monkeypatch.setattr(settlement_store, "write_lines", counted)
    at = datetime(2026, 11, 21, tzinfo=UTC).isoformat()
    report = await office.load(*(f"{new_id()},c-{number},settlement,10000,IDR,{at}" for number in range(2_100)))
    assert [500, 500, 500, 500, 100] == sizes
    assert ({"unknown_order": 2_100}, 1_000) == (counts(report), len(report.noted))


async def test_the_command_of_the_operator(
    office: Office, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`settlements load` says the sums and what to look at; with --json one object; a refusal has its exit code."""
    monkeypatch.setenv("EMETERAI_DATABASE_URL", database_url)
    order = await office.shop.purchase.create_order(new_id(), 2)
    path = office.write([line_of(order), f"{new_id()},c,settlement,10000,IDR,2026-11-21"])

    async def say(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["settlements", *words])
        return code, capsys.readouterr().out

    code, said = await say("load", str(path), "--provider", "sandbox", "--dry-run", "--json")
    assert (0, True) == (code, msgspec.json.decode(said)["dry_run"])
    code, said = await say("load", str(path), "--provider", "sandbox")
    assert 0 == code
    assert "credited" in said
    assert "line 3: unknown_order" in said
    assert "paid" == await office.shop.state_of(order)
    assert "loaded before" in (await say("load", str(path), "--provider", "sandbox"))[1]
    assert EXIT_REFUSED == (await say("load", str(path), "--provider", "xendit", "--json"))[0]
    assert 78 == (await say("load", str(path) + "x", "--provider", "sandbox"))[0]
    assert (0, "nothing is missing\n") == await say("missing", "2026-11-21", "--provider", "sandbox")
