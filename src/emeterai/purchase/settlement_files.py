"""Settlement files: a provider's daily list of payments, loaded by an operator. Every line is proof of money.

A line leads to the same single credit as a notification and our own question (`Purchase.apply_seen`). A file loaded
twice changes nothing; one whose load died is loaded again and goes on where it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState, OrderState, Seen, order_number
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.purchase import settlement_store
from emeterai.purchase.model import Source
from emeterai.purchase.service import Purchase
from emeterai.purchase.settlement_formats import WIB, SettlementLine, format_of, read_lines
from emeterai.purchase.settlement_store import MissingOrder, OrderOnLine, RecordedLine, Total

__all__ = ["LineOutcome", "LoadReport", "MissingOrder", "NotedLine", "SettlementFiles", "Total"]

_LINES_AT_ONCE = 500
_NOTED_MAX = 1_000
_MISSING_MAX = 200
_DETAIL_LENGTH_MAX = 300
_REFERENCE_LENGTH_MAX = 200
_T = TypeVar("_T")


class LineOutcome(StrEnum):
    """What became of a line."""

    CREDITED = "credited"
    """It was the first proof: the order became quota."""
    KNOWN = "known"
    """The money is in our books already."""
    QUARANTINED = "quarantined"
    """Another amount or currency than asked: shown to staff, never guessed."""
    CONTRADICTED = "contradicted"
    """The order was paid with other money than the line says."""
    PAID_AGAIN = "paid_again"
    """A further payment of an order that has its money."""
    RETURNED = "returned"
    """Money that is on its way back already, or is back."""
    NO_ANSWER = "no_answer"
    """A further payment about which its provider did not answer: a case for care."""
    REVERSED = "reversed"
    """Money that went back, by the provider's own word; nothing is done from a file."""
    DOUBLED = "doubled"
    """The same payment as on a line above."""
    UNKNOWN_ORDER = "unknown_order"
    NOT_SETTLED = "not_settled"
    OTHER = "other"
    """No payment: a withdrawal, a fee."""
    UNREADABLE = "unreadable"


_OUTCOMES = {
    OrderState.PAID.value: LineOutcome.CREDITED,
    "unchanged": LineOutcome.KNOWN,
}
_QUIET = {LineOutcome.CREDITED, LineOutcome.KNOWN, LineOutcome.NOT_SETTLED, LineOutcome.OTHER}
_NOTED = [outcome.value for outcome in LineOutcome if outcome not in _QUIET]


class NotedLine(msgspec.Struct, frozen=True):
    """A line that somebody has to look at."""

    line: int
    outcome: LineOutcome
    order: str
    """Its order's number, or what stands there in its place."""
    reference: str
    detail: str


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file. With `dry_run` nothing was changed, and `credited` is what would have been."""

    digest: str
    provider: str
    dry_run: bool
    again: bool
    """Whether this very file was loaded before."""
    lines: int
    totals: list[Total]
    noted: list[NotedLine]
    first_day: date | None
    last_day: date | None
    missing_count: int
    missing: list[MissingOrder]
    """Paid in our books on these days, and in no file: the oldest 200."""

    @property
    def noted_count(self) -> int:
        """How many lines somebody has to look at; `noted` has the first thousand of them."""
        return sum(total.lines for total in self.totals if total.outcome in _NOTED)


class SettlementFiles:
    """Loads settlement files."""

    def __init__(self, db: Database, purchase: Purchase) -> None:
        self._db = db
        self._purchase = purchase

    async def load(self, path: Path, provider: str, *, dry_run: bool = False) -> LoadReport:
        """Load a file line by line and say what became of each.

        Raises OSError, `settlement_provider_unknown` or `settlement_file_unreadable`; the lines before the one that
        could not be read stay as they are, and loading again goes on after them.
        """
        with path.open("rb") as file:
            digest, size_bytes = await asyncio.to_thread(_looked_through, file, provider)
            if dry_run:
                return await self._rehearse(file, digest, provider)
            again = await settlement_store.begin_file(
                self._db, digest, provider=provider, name=path.name[:200], size_bytes=size_bytes
            )
            if not again:
                await self._load(file, digest, provider)
        return await self._report(digest, provider, again=again)

    async def missing(self, provider: str, first_day: date, last_day: date) -> tuple[int, list[MissingOrder]]:
        """How many orders the provider's money paid on these days (GMT+7) that no file has, and the oldest 200."""
        return await settlement_store.missing_orders(self._db, provider, first_day, last_day, limit=_MISSING_MAX)

    async def _load(self, file: BufferedReader, digest: bytes, provider: str) -> None:
        done = await settlement_store.last_line(self._db, digest)
        async for judged in self._judged(file, provider):
            fresh = [one for one in judged if one.line.number > done]
            recorded = [_recorded(one.line, await self._applied(one, provider)) for one in fresh]
            if recorded:
                await settlement_store.write_lines(self._db, digest, recorded)
                may_die_at("settlement.recorded")
        await settlement_store.finish_file(self._db, digest)

    async def _rehearse(self, file: BufferedReader, digest: bytes, provider: str) -> LoadReport:
        tally = _Tally()
        async for judged in self._judged(file, provider):
            for one in judged:
                tally.add(_recorded(one.line, one.outcome or _expected(one)))
        missing = await self.missing(provider, *tally.days) if tally.days else (0, [])
        return _report(
            digest, provider, tally.totals, noted=tally.noted, days=tally.days, missing=missing, dry_run=True
        )

    async def _report(self, digest: bytes, provider: str, *, again: bool) -> LoadReport:
        noted = await settlement_store.noted_lines(self._db, digest, _NOTED, limit=_NOTED_MAX)
        days = await settlement_store.days_of(self._db, digest)
        missing = await self.missing(provider, *days) if days else (0, [])
        totals = await settlement_store.totals(self._db, digest)
        return _report(digest, provider, totals, noted=noted, days=days, missing=missing, again=again)

    async def _judged(self, file: BufferedReader, provider: str) -> AsyncIterator[list[_Judged]]:
        """The lines in batches, each with its order and with what is clear of it before anything is done."""
        seen: set[tuple[UUID, str]] = set()
        firsts: dict[UUID, str] = {}
        names_charge = format_of(provider).names_charge
        for lines in _batches(read_lines(file, provider), _LINES_AT_ONCE):
            order_ids = [line.order_id for line in lines if line.order_id is not None]
            orders = await settlement_store.orders_on_lines(self._db, order_ids)
            earlier = await settlement_store.earlier_references(self._db, provider, order_ids)
            judged = []
            for line in lines:
                order = orders.get(line.order_id) if line.order_id is not None else None
                outcome, first = _clear(line, order, seen=seen), line.reference
                if outcome is None and order is not None:
                    first = firsts.setdefault(order.id, earlier.get(order.id, line.reference))
                    is_further = first != line.reference and not names_charge
                    outcome = None if is_further else _known(line, order, provider, names_charge=names_charge)
                judged.append(_Judged(line, order, outcome, first=first))
            yield judged

    async def _applied(self, judged: _Judged, provider: str) -> LineOutcome:
        """What becomes of a line: what was clear of it, or what follows from it now."""
        line = judged.line
        if judged.outcome is not None or line.order_id is None:
            return judged.outcome or LineOutcome.UNKNOWN_ORDER
        names_charge = format_of(provider).names_charge
        if judged.is_first or names_charge:
            became = await self._seen(line, line.order_id, Source(provider, line.reference if names_charge else None))
        else:
            payments = (judged.first, line.reference)
            became = await self._purchase.looking.look_at_payments(line.order_id, provider, payments)
        may_die_at("settlement.applied")
        return _OUTCOMES.get(became) or LineOutcome(became)

    async def _seen(self, line: SettlementLine, order_id: UUID, source: Source) -> str:
        seen = Seen(ChargeState.SETTLED, line.amount, line.currency)
        return (await self._purchase.apply_seen(order_id, seen, source))[1]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A line, its order, and what is clear of it; None when it has to be applied to find out."""

    line: SettlementLine
    order: OrderOnLine | None
    outcome: LineOutcome | None
    first: str
    """The first payment of its order that a file told of."""

    @property
    def is_first(self) -> bool:
        """Whether it is that one."""
        return self.first == self.line.reference


def _clear(line: SettlementLine, order: OrderOnLine | None, *, seen: set[tuple[UUID, str]]) -> LineOutcome | None:
    """What a line is by itself; `seen` are the payments on the lines above, to which it is added."""
    if line.fault:
        return LineOutcome.UNREADABLE
    if line.state is None:
        return LineOutcome.OTHER
    if line.state is not ChargeState.SETTLED:
        return LineOutcome.REVERSED if line.state is ChargeState.REVERSED else LineOutcome.NOT_SETTLED
    if order is None:
        return LineOutcome.UNKNOWN_ORDER
    if (order.id, line.reference) in seen:
        return LineOutcome.DOUBLED
    seen.add((order.id, line.reference))
    return None


def _known(line: SettlementLine, order: OrderOnLine, provider: str, *, names_charge: bool) -> LineOutcome | None:
    """`known` when this very money is in the books; None when that is not so clear."""
    same_payment = order.paid_provider == provider and (not names_charge or order.paid_reference == line.reference)
    same_money = (order.seen_amount, order.seen_currency) == (line.amount, line.currency)
    return LineOutcome.KNOWN if order.has_money and same_payment and same_money else None


def _expected(judged: _Judged) -> LineOutcome:
    """What would become of a line that has to be applied."""
    assert judged.order is not None
    if judged.order.has_money or not judged.is_first:
        return LineOutcome.PAID_AGAIN
    pays = Seen(ChargeState.SETTLED, judged.line.amount, judged.line.currency).pays(judged.order.total_idr)
    return LineOutcome.CREDITED if pays else LineOutcome.QUARANTINED


class _Tally:
    """The sums of a rehearsal, as the database would give them."""

    def __init__(self) -> None:
        self.noted: list[RecordedLine] = []
        self._lines: dict[str, int] = defaultdict(int)
        self._amounts: dict[str, Decimal] = defaultdict(Decimal)
        self._moments: list[datetime] = []

    def add(self, line: RecordedLine) -> None:
        """Count a line."""
        self._lines[line.outcome] += 1
        self._amounts[line.outcome] += line.amount if line.amount is not None and line.currency == CURRENCY else 0
        if line.outcome in _NOTED and len(self.noted) < _NOTED_MAX:
            self.noted.append(line)
        if line.paid_at is not None and line.outcome not in settlement_store.NOT_PAYMENTS:
            self._moments = [min([*self._moments, line.paid_at]), max([*self._moments, line.paid_at])]

    @property
    def totals(self) -> list[Total]:
        """The lines by outcome."""
        return [Total(outcome, count, self._amounts[outcome]) for outcome, count in sorted(self._lines.items())]

    @property
    def days(self) -> tuple[date, date] | None:
        """The first and the last day (GMT+7) of settled payments."""
        first, last = (at.astimezone(WIB).date() for at in self._moments) if self._moments else (None, None)
        return (first, last) if first is not None and last is not None else None


def _recorded(line: SettlementLine, outcome: LineOutcome) -> RecordedLine:
    has_money = outcome not in {LineOutcome.UNREADABLE, LineOutcome.OTHER}
    detail = line.fault or (line.order_text if outcome is LineOutcome.UNKNOWN_ORDER else "")
    return RecordedLine(
        line=line.number,
        order_id=line.order_id,
        reference=_storable(line.reference)[:_REFERENCE_LENGTH_MAX],
        amount=line.amount if has_money else None,
        currency=_storable(line.currency) if has_money else None,
        paid_at=line.paid_at,
        outcome=outcome.value,
        detail=_storable(detail)[:_DETAIL_LENGTH_MAX],
    )


def _storable(text: str) -> str:
    """Text as PostgreSQL takes it and a terminal may show it: a file's control characters steer neither."""
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return plain.encode(errors="replace").decode()


def _report(
    digest: bytes,
    provider: str,
    totals: list[Total],
    *,
    noted: list[RecordedLine],
    days: tuple[date, date] | None,
    missing: tuple[int, list[MissingOrder]],
    again: bool = False,
    dry_run: bool = False,
) -> LoadReport:
    first_day, last_day = days or (None, None)
    return LoadReport(
        digest=digest.hex(),
        provider=provider,
        dry_run=dry_run,
        again=again,
        lines=sum(total.lines for total in totals),
        totals=totals,
        noted=[_noted(line) for line in noted],
        first_day=first_day,
        last_day=last_day,
        missing_count=missing[0],
        missing=missing[1],
    )


def _noted(line: RecordedLine) -> NotedLine:
    order = order_number(line.order_id) if line.order_id is not None else ""
    money = f"{line.amount} {line.currency}" if line.amount is not None else ""
    return NotedLine(line.line, LineOutcome(line.outcome), order, line.reference, line.detail or money)


def _batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch


def _looked_through(file: BufferedReader, provider: str) -> tuple[bytes, int]:
    """The digest and the size of a file whose header is right. Raises as `read_lines` does."""
    with closing(read_lines(file, provider)) as lines:
        next(lines, None)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()
    size_bytes = file.tell()
    file.seek(0)
    return digest, size_bytes
