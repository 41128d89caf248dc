"""`emeterai bench partners`: what one partner sells a second from its one stock, and what its rush does to another.

Sales of one unit each to people drawn from many, by the service's verb in one process: the buyer is found by e-mail
address, the units are given and received in the books, the sale is on record under its own key. Beside it, in the same
run and on the same server: transfers of one hot account posted by the same number of callers, and pgbench's TPC-B.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import ledger_peers
import uvloop
from figures import Figures, parser

from emeterai.accounts.passwords import Passwords
from emeterai.accounts.service import Accounts
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.settings import Settings
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from emeterai.partners.audit import check_all_partners
from emeterai.partners.deposits import Deposits
from emeterai.partners.model import SaleWanted
from emeterai.partners.organisations import is_active_partner, partners_among
from emeterai.partners.sales import Sales
from emeterai.partners.service import PartnerKind, Partners
from emeterai.purchase.units_received import UnitsReceived
from ledger import CALLERS, QUOTA_EACH, Taken, post_requests, take

BUYERS = 100_000
DUTY_IDR = 10_000
STOCK = 100_000_000
CONNECTIONS = 16
RUSH = 4_000
"""Callers at once of the partner that is rushed."""
PATIENCE_S = 1.0
"""Whoever is refused asks again after so long."""
CALM = 16
"""Callers at once of the other partner."""
Measure = Callable[[float], Awaitable[float]]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=3, help="how often each measurement is taken; medians are shown")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as name:
        Path(name).chmod(0o755)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                run(Figures(as_json=chosen.json), Path(name), rounds=chosen.rounds, seconds=chosen.seconds or 3.0)
            )


async def run(figures: Figures, folder: Path, *, rounds: int, seconds: float) -> None:
    """One server for all; afterwards the books are audited."""
    server = EmbeddedPostgres(folder / "data")
    await server.start()
    db = await Database.connect(server.url(), connections_max=CONNECTIONS, wait_s=30)
    try:
        await migrate(server.url())
        market = await Market.open(db)
        await asyncio.to_thread(ledger_peers.prepare_pgbench, server)
        hot = new_id()
        ledger = Ledger(db)
        await ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, QUOTA_EACH, account=hot)])
        measures: dict[str, Measure] = {
            "TPC-B": functools.partial(ledger_peers.tpcb_tps, server, CONNECTIONS),
            "hot account": functools.partial(post_requests, ledger, [hot], itertools.repeat(0)),
            "sales of one stock": functools.partial(market.rush, market.hot),
        }
        taken: dict[str, list[Taken]] = {name: [] for name in measures}
        for turn in range(rounds + 1):
            for name, measure in measures.items():
                found = await take(server, measure, seconds)
                if turn:  # the first one warms up
                    taken[name].append(found)
        show(figures, {name: Taken(*map(statistics.median, zip(*them, strict=True))) for name, them in taken.items()})
        await show_neighbours(figures, market, seconds)
        rules = [*(await check_ledger(db)).rules, *await check_all_partners(db)]
    finally:
        await db.close()
        await server.stop()
        server.remove()
    broken = [rule.name for rule in rules if rule.broken]
    figures.note(f"{market.sold:,} sales; the audit holds: {not broken}")
    if broken:
        sys.exit(f"the books do not hold: {broken}")


def show(figures: Figures, medians: dict[str, Taken]) -> None:
    """Units a second and the processor's time of each, beside both yardsticks."""
    sales = medians["sales of one stock"]
    for name in ("hot account", "TPC-B"):
        beside, what = medians[name], f"{name}, {CALLERS} callers" if name == "hot account" else name
        figures.say("sales of one stock", sales.per_s, "units/s", yardstick=what, yardstick_value=beside.per_s)
        figures.say("CPU: sales of one stock", sales.cpu_us, "us/unit", yardstick=what, yardstick_value=beside.cpu_us)


async def show_neighbours(figures: Figures, market: Market, seconds: float) -> None:
    """How long a sale of a calm partner takes: by itself, beside one that is rushed, beside one that is sold out."""
    alone = await market.calm_median_ms(seconds)
    neighbours = {"a rushed one": market.hot, f"a sold-out one that {RUSH:,} ask each second": market.empty}
    for name, partner in neighbours.items():
        rush = asyncio.create_task(market.rush(partner, seconds + 1))
        await asyncio.sleep(0.5)
        beside = await market.calm_median_ms(seconds)
        await rush
        figures.say(f"a sale beside {name}, median", beside, "ms", yardstick="the same alone", yardstick_value=alone)


class Market:
    """Three partners (one to be rushed, one calm, one with nothing to sell) and their buyers."""

    def __init__(self, sales: Sales, partners: tuple[UUID, UUID, UUID]) -> None:
        self._sales = sales
        self.hot, self.calm, self.empty = partners
        self.sold = 0
        self._chance = random.Random(1)  # noqa: S311 - to choose buyers

    @classmethod
    async def open(cls, db: Database) -> Market:
        """Everything in place; two of the partners have made a deposit."""
        await db.fetch(_BUYERS, BUYERS)
        people = [row["id"] for row in await db.fetch("SELECT id FROM accounts.accounts ORDER BY id LIMIT 5")]
        ledger, accounts = Ledger(db), Accounts(db, session_life_s=3600, passwords=Passwords())
        partners = Partners(db, ledger, SerialChannels(db))
        deposits = Deposits(db, ledger, partners, duty_idr=DUTY_IDR)
        ids = []
        for number, account in enumerate(people[:3]):
            partner = await partners.register(
                account, name=f"Mitra {number}", contact="mitra@contoh.id", kind=PartnerKind.DISTRIBUTOR, by="bench"
            )
            ids.append(partner.id)
            if number < 2:
                deposit = await deposits.propose(
                    partner.id,
                    ntpn=f"BENCH{number:011}",
                    amount_idr=STOCK * DUTY_IDR,
                    paid_on=utc_now().date(),
                    by=people[3],
                )
                await deposits.approve(deposit.id, by=people[4])
        received = UnitsReceived(Settings(), is_partner=is_active_partner, partners_among=partners_among)
        sales = Sales(db, ledger, accounts, base_url="http://127.0.0.1:8080", left=received.left)
        return cls(sales, (ids[0], ids[1], ids[2]))

    async def rush(self, partner: UUID, seconds: float) -> float:
        """Units sold a second when many callers sell one after another; what is refused is no sale."""
        began = time.perf_counter()
        sold = await asyncio.gather(*(self._sell_until(partner, began + seconds) for _ in range(RUSH)))
        self.sold += sum(sold)
        return sum(sold) / (time.perf_counter() - began)

    async def calm_median_ms(self, seconds: float) -> float:
        """The median time of a sale of the calm partner, with a few callers at once."""
        end, times_ms = time.perf_counter() + seconds, []

        async def one_caller() -> None:
            while (began := time.perf_counter()) < end:
                await self._sales.sell(self.calm, self._wanted())
                self.sold += 1
                times_ms.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*(one_caller() for _ in range(CALM)))
        return statistics.median(times_ms)

    async def _sell_until(self, partner: UUID, end: float) -> int:
        sold = 0
        while time.perf_counter() < end:
            try:
                await self._sales.sell(partner, self._wanted())
                sold += 1
            except Refused:
                await asyncio.sleep(PATIENCE_S)
        return sold

    def _wanted(self) -> SaleWanted:
        buyer = self._chance.randrange(BUYERS)
        return SaleWanted(1, f"warga-{buyer}@contoh.id", "kasir 1", str(new_id()))


_BUYERS = """
    INSERT INTO accounts.accounts (id, name, email, password_hash, timezone)
    SELECT gen_random_uuid(), 'Warga', format('warga-%s@contoh.id', number), '$argon2id$none', 'Asia/Jakarta'
    FROM generate_series(0, $1::int - 1) AS number
"""

if __name__ == "__main__":
    main()
