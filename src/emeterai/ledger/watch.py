"""The watch: the rules of the audit on what is new, every minute, against sums that were verified before.

A look reads one REPEATABLE READ snapshot. Its horizon is the oldest transaction that was still under way: the transfers
of every transaction below it are there, and none can come later. So they are added to the verified sums, once; newer
ones count for this look and are counted again by the next. A transfer that commits late lies above the horizon of every
look before it, whatever its id or time says. docs/invariants.md has the whole argument.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from emeterai.infra.database import READS_ALL, Connection, Database
from emeterai.ledger.check import Rule
from emeterai.ledger.watch_queries import (
    ADVANCE_ACCOUNTS,
    ENDED_FROM,
    MAKE_FRESH,
    OPEN_HOLDS,
    REMAKE_ACCOUNTS,
    REMAKE_SUMS,
    RULES,
    TAKE_FRESH,
    TOTALS,
)

_EXAMPLES_MAX = 5
_TRIES_MAX = 3
_AUDIT_AGAIN_S = 600.0
"""While a rule is broken the whole ledger is audited so often, so that mending it is seen."""
ADDS_UP = "bought = available + held + used + refunded, over all accounts"
Result = TypeVar("Result")
MoreRules = Callable[[Connection, Sequence[UUID]], Awaitable[list[Rule]]]
"""Rules of those above the ledger on the subjects of new transfers, in the snapshot of the same look."""


class Look(msgspec.Struct, frozen=True):
    """What one look saw, in stamps. `broken`: the rules that it, or the last whole audit, found broken."""

    at: datetime
    bought: int
    available: int
    held: int
    used: int
    refunded: int
    fresh: int
    rules: list[Rule]
    broken: list[str]


class AuditStart(msgspec.Struct, frozen=True):
    """Where the books stood before a whole audit began: what it may count as verified is below `horizon`.

    `mark` is how the record names the audits that are under way; None when nothing was on record yet.
    """

    horizon: int
    posted_from: datetime
    mark: str | None


class LedgerWatch:
    """Looks at what is new, every `every_s`. Several stewards may have one each: one of them looks."""

    def __init__(self, db: Database, *, every_s: float, margin_s: float = 60.0) -> None:
        """`margin_s` is for transactions of other users, whose start is hidden, and for a clock set back by less."""
        self._db = db
        self._every_s = every_s
        self._margin_s = margin_s

    async def look(self, more: MoreRules, *, of_money: MoreRules | None = None) -> Look | None:
        """Check what is new and move on, unless a rule is broken; then the whole audit is asked for.

        `more` gets the subjects of new holds and their endings, `of_money` those of new transfers of money.

        None when there is nothing to start from (see `start_over`), before it is time to look again, and when the
        clock of the database was set back: then times do not tell what is new, until an audit has started over.
        """
        return await _retried(lambda: self._look_once(more, of_money))

    async def _look_once(self, more: MoreRules, of_money: MoreRules | None) -> Look | None:
        posted_from = await self._oldest_start()
        async with (
            self._db.connection() as tx,
            tx.transaction(isolation="repeatable_read"),
        ):
            await tx.execute("SET LOCAL statement_timeout = '600s'; SET LOCAL jit = off")
            position = await tx.fetchrow(_POSITION, self._every_s)
            if position is None:
                return None
            window = (position["horizon"], position["posted_from"], position["next_horizon"])
            await tx.execute(MAKE_FRESH)
            await tx.execute(TAKE_FRESH, *window, timeout=600)
            await tx.execute("ANALYZE pg_temp.fresh")
            totals = await tx.fetchrow(TOTALS, timeout=600)
            rules = [await _rule(tx, name, query) for name, query in [*RULES.items(), OPEN_HOLDS]]
            rules.append(_adds_up(position, totals))
            rules += await more(tx, totals["subjects"] or [])
            rules += await of_money(tx, totals["money_subjects"] or []) if of_money else []
            broken = sorted({rule.name for rule in rules if rule.broken})
            if broken:
                await tx.execute(_WANT_AUDIT, not set(broken) <= set(position["broken"]))
            else:
                await tx.execute(ADVANCE_ACCOUNTS, timeout=600)
                await tx.execute(
                    _ADVANCE,
                    window[2],
                    min(posted_from, totals["grows_from"] or posted_from),
                    *(totals[f"settled_{part}"] for part in ("bought", "held", "used", "refunded")),
                )
        return _seen(position, totals, rules, broken)

    async def wants_audit(self, every_s: float) -> bool:
        """Whether the whole ledger should be audited now.

        Never yet, long ago, one did not end, a look found something, or the clock was set back.
        """
        return bool(await self._db.fetchval(_WANTS_AUDIT, every_s, _AUDIT_AGAIN_S))

    async def begin_audit(self) -> AuditStart:
        """Call this before a whole audit; `start_over` takes the answer. Until then the audit stays wanted.

        What was wanted before is answered by this audit, what a look wants from now on is not.
        """
        posted_from = await self._oldest_start()
        async with self._db.transaction() as tx:
            return AuditStart(posted_from=posted_from, **await tx.fetchrow(_BEGIN_AUDIT))

    async def start_over(self, begun: AuditStart, broken: Sequence[str]) -> None:
        """Remake the sums after a whole audit, which found these rules `broken`, as far as the audit surely saw.

        The next look checks everything from there. While the sums are remade nobody looks. What another audit found
        that ended meanwhile stays told, for nobody knows here which of the two saw more.
        """
        await _retried(lambda: self._start_over_once(begun, broken))

    async def _start_over_once(self, begun: AuditStart, broken: Sequence[str]) -> None:
        start = (min(begun.posted_from, await self._oldest_start()), begun.horizon)
        async with (
            self._db.connection() as tx,
            tx.transaction(isolation="repeatable_read"),
        ):
            await tx.execute(READS_ALL)
            await tx.fetch("SELECT FROM ledger.watch FOR UPDATE")
            await tx.execute(REMAKE_ACCOUNTS, *start, timeout=600)
            await tx.execute(REMAKE_SUMS, *start, list(broken), begun.mark, timeout=600)

    async def _oldest_start(self) -> datetime:
        """No transaction that is under way, or begins later, posts with an earlier time. Read before the snapshot."""
        started: datetime = await self._db.fetchval(_OLDEST_START, self._margin_s)
        return started


async def _retried(work: Callable[[], Awaitable[Result]]) -> Result:
    """Another steward moved the sums meanwhile: what was read is out of date, so it is read again."""
    for _ in range(_TRIES_MAX - 1):
        with suppress(asyncpg.SerializationError):
            return await work()
    return await work()


async def _rule(tx: Connection, name: str, query: str) -> Rule:
    rows = await tx.fetch(
        f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken LIMIT {_EXAMPLES_MAX}",
        timeout=600,
    )
    return Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows])


def _adds_up(position: Any, totals: Any) -> Rule:
    """Bought, used and refunded come from the transfers, held from the open holds, available from the balances."""
    parts = _parts(position, totals)
    right = parts["bought"] == parts["available"] + parts["held"] + parts["used"] + parts["refunded"]
    return Rule(ADDS_UP, 0 if right else 1, [] if right else [str(parts)])


def _parts(position: Any, totals: Any) -> dict[str, int]:
    verified = position["bought"] - position["held"] - position["used"] - position["refunded"]
    return {
        "bought": position["bought"] + totals["bought"],
        "available": verified + totals["available_changed"],
        "held": totals["open_holds"],
        "used": position["used"] + totals["used"],
        "refunded": position["refunded"] + totals["refunded"],
    }


def _seen(position: Any, totals: Any, rules: list[Rule], broken: Sequence[str]) -> Look:
    return Look(
        at=position["at"],
        **_parts(position, totals),
        fresh=totals["fresh"],
        rules=rules,
        broken=sorted({*broken, *position["broken"]}),
    )


_CLOCK_WENT_BACK = "(looked_at > now() AND looked_at < 'infinity' OR posted_from > now() OR audited_at > now())"
_POSITION = f"""
    SELECT watch.*, now() AS at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS next_horizon
    FROM ledger.watch WHERE looked_at <= now() - make_interval(secs => $1) AND NOT {_CLOCK_WENT_BACK}
    FOR UPDATE SKIP LOCKED
"""
_ADVANCE = """
    UPDATE ledger.watch SET horizon = $1, posted_from = $2, bought = bought + $3, held = held + $4, used = used + $5,
        refunded = refunded + $6, looked_at = now()
"""
_WANT_AUDIT = "UPDATE ledger.watch SET looked_at = now(), audit_wanted = audit_wanted OR $1"
_WANTS_AUDIT = f"""
    SELECT NOT EXISTS (
        SELECT FROM ledger.watch WHERE NOT audit_wanted AND NOT {_CLOCK_WENT_BACK}
            AND audited_at > now() - make_interval(secs => $1)
            AND (broken = '{{}}' OR audited_at > now() - make_interval(secs => $2))
    )
"""
_MARK = "timestamptz '0001-01-01 00:00+00' + pg_current_xact_id()::text::bigint * interval '1 microsecond'"
"""Not the same for any two beginnings, and before `ENDED_FROM`."""
_BEGIN_AUDIT = f"""
    WITH begun AS (
        UPDATE ledger.watch SET audit_wanted = false,
            audited_at = CASE WHEN audit_wanted OR audited_at >= {ENDED_FROM} THEN {_MARK} ELSE audited_at END,
            looked_at = CASE WHEN {_CLOCK_WENT_BACK} THEN 'infinity' ELSE looked_at END
        RETURNING audited_at::text AS mark
    )
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon, (SELECT mark FROM begun)
"""
"""Whoever begins an audit answers for what was wanted until then, and marks the record so that no audit that began
before can end it: three may be under way, and of those only the last saw what was wanted between the second and itself.
With nothing wanted an audit under way serves as well. A clock that was set back comes by the same times again, so
nobody looks until an audit has started over, however late that is."""
_OLDEST_START = """
    SELECT least(clock_timestamp(), min(xact_start)) - make_interval(secs => $1) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
