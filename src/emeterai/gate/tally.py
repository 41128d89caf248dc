"""What a web process counts of its waiting people: kept here, written to its own row of the database each second.

Written as sums since the process began its row, so a write that is lost or comes twice changes nothing. A row that was
folded away meanwhile (`room_store.fold_counts`) is begun anew with what was counted since.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import replace
from uuid import UUID

from emeterai.gate import room_store
from emeterai.gate.now import ESTIMATE_TOLERANCE_S, NowServing
from emeterai.gate.room_store import Counts
from emeterai.gate.tickets import Ticket
from emeterai.infra import metrics
from emeterai.infra.database import Database

_REMEMBERED_MAX = 200_000
_COMPARED = 64
_ERRORS = (-1800, -600, -300, -120, -60, -30, -10, 0, 10, 30, 60, 120, 300, 600, 1800)
_given = metrics.counter("emeterai_gate_tickets", "Numbers given out", ["lane"])
_came = metrics.counter("emeterai_gate_entered", "People who came in at their turn", ["lane"])
_finishing = metrics.counter("emeterai_gate_finishing", "People let in to finish what is under way", ["lane"])
_error_s = metrics.histogram(
    "emeterai_gate_estimate_error_seconds",
    "Wait less the middle of the promised range (of who was drawn: a minute after the draw), of those who came in",
    ["lane"],
    buckets=_ERRORS,
)
_promises = metrics.counter(
    "emeterai_gate_promises",
    f"Waits that were promised, of those who came in; kept: within the range, {ESTIMATE_TOLERANCE_S:g} s more or less",
    ["outcome"],
)
for _outcome in ("kept", "broken"):
    _promises.labels(_outcome)
_overtaken_s = metrics.histogram(
    "emeterai_gate_overtaken_seconds",
    "By how much somebody with a lower number had come later, of those who came in; 0 for most",
    ["lane"],
    buckets=(0, *metrics.SECONDS),
)


class Tally:
    """Counts; `flush` writes them."""

    def __init__(self, process: UUID) -> None:
        self._process = process
        self._counts: dict[str, Counts] = {}
        self._changed: set[str] = set()
        self._written: dict[str, Counts] = {}
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._latest: dict[str, deque[tuple[int, int]]] = {}

    def gave(self, lane: str, number: int) -> None:
        """A number was given."""
        counts = self._changing(lane)
        counts.given += 1
        counts.last_number = max(counts.last_number, number)
        _given.labels(lane).inc()

    def finishing(self, lane: str) -> None:
        """Somebody came in to finish what is under way."""
        self._changing(lane).finishing += 1
        _finishing.labels(lane).inc()

    def came(self, ticket: Ticket, now: NowServing, *, now_s: float, called_lately: bool) -> None:
        """Somebody came in. What they were promised, with their ticket or by the draw, is judged when they were
        `called_lately`: who comes in later than they could has not waited that long, and who was never to wait proves
        nothing. Who comes in twice counts once.
        """
        key = ticket.lane, ticket.number
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED_MAX:
            self._seen.popitem(last=False)
        self._changing(ticket.lane).came += 1
        _came.labels(ticket.lane).inc()
        self._compare(ticket)
        if called_lately and (promise := _promise_of(ticket, now)):
            since_s, low_s, high_s = promise
            self._judge(ticket.lane, now_s - since_s, low_s, high_s)

    async def flush(self, db: Database) -> None:
        """Write what has changed since the last time."""
        changed, self._changed = self._changed, set()
        while changed:
            # Copies: people go on coming while they are written.
            counts = {lane: replace(self._counts[lane]) for lane in sorted(changed)}
            try:
                written = await room_store.write_counts(
                    db, self._process, [(lane, one, lane in self._written) for lane, one in counts.items()]
                )
            except BaseException:
                self._changed |= changed
                raise
            self._written |= {lane: counts[lane] for lane in written}
            changed -= written
            for lane in changed:
                self._counts[lane] = self._counts[lane].since(self._written.pop(lane))

    def _judge(self, lane: str, waited_s: float, low_s: float, high_s: float) -> None:
        late_s = waited_s - (low_s + high_s) / 2
        kept = low_s - ESTIMATE_TOLERANCE_S <= waited_s <= high_s + ESTIMATE_TOLERANCE_S
        counts = self._changing(lane)
        counts.promised += 1
        counts.kept += int(kept)
        counts.late_s += late_s
        _promises.labels("kept" if kept else "broken").inc()
        _error_s.labels(lane).observe(late_s)

    def _compare(self, ticket: Ticket) -> None:
        """Among those who came in just now: who has a lower number although they came later?"""
        latest = self._latest.setdefault(ticket.lane, deque(maxlen=_COMPARED))
        later = [issued_ms for number, issued_ms in latest if number < ticket.number and issued_ms > ticket.issued_ms]
        _overtaken_s.labels(ticket.lane).observe((max(later) - ticket.issued_ms) / 1000 if later else 0)
        latest.append((ticket.number, ticket.issued_ms))

    def _changing(self, lane: str) -> Counts:
        """What was counted of a lane, to be changed and then written with the next flush."""
        self._changed.add(lane)
        if lane not in self._counts:
            self._counts[lane] = Counts()
        return self._counts[lane]


def _promise_of(ticket: Ticket, now: NowServing) -> tuple[float, float, float] | None:
    """When somebody was told their wait (seconds since 1970), and its range: with the ticket, or else by the draw."""
    if ticket.low_s is not None and ticket.high_s:
        return ticket.issued_ms / 1000, ticket.low_s, ticket.high_s
    return now.promised_at_draw(ticket.number)
