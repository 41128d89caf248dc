"""The invariants in public: the steward's minute, its whole audit, and what anyone may read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.ledger.check import Rule, check_ledger
from emeterai.ledger.watch import LedgerWatch, Look
from emeterai.purchase.money_audit import check_money
from emeterai.stamping.audit import check_all_stamps, check_stamps
from emeterai.status import store
from emeterai.status.lines import FIRST_PREVIOUS, Line, SignedLine, digest_of, sign

Audit = Callable[[Database], Awaitable[list[Rule]]]
Crowded = Callable[[], Awaitable[bool]]
"""Whether people are in line: what can wait should."""
LINES_A_PAGE_MAX = 1_000
_CROWD_TIMES = 2
"""While people are in line, so many times as long may pass from one whole audit to the next."""
_PARTS = ("bought", "available", "held", "used", "refunded")
_stamps = metrics.gauge_latest("emeterai_ledger_stamps", "Stamps by the last look", ["part"])
_broken = metrics.gauge_latest("emeterai_ledger_broken_rules", "Rules that the last look or audit found broken")
_line_at_s = metrics.gauge_latest("emeterai_invariants_line_timestamp_seconds", "When the last public line was made")
_fresh = metrics.counter("emeterai_invariants_transfers_checked", "New transfers that looks have checked")
_log = structlog.get_logger(__name__)


async def nobody_waits() -> bool:
    """Nobody is in line."""
    return False


class PublicLines:
    """What anyone may read."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def newest(self, *, before: int | None = None, limit: int = 60) -> tuple[list[SignedLine], int | None]:
        """The newest lines, oldest first, and `before` for those that came before them; None at the first line."""
        found = await store.newest(self._db, before=before, limit=min(limit, LINES_A_PAGE_MAX))
        earlier = found[0][0] if found and found[0][0] > 1 else None
        return [line for _, line in found], earlier

    async def key(self) -> bytes | None:
        """The public key of the newest line; None while there is no line."""
        lines, _ = await self.newest(limit=1)
        return bytes.fromhex(lines[-1].key) if lines else None


class Invariants:
    """What the steward does: a look and a line each minute, and now and then the whole audit."""

    def __init__(
        self,
        db: Database,
        *,
        secret: bytes,
        every_s: float,
        audit_every_s: float,
        audits: Sequence[Audit] = (),
        is_crowded: Crowded = nobody_waits,
    ) -> None:
        """`secret` is the 32 bytes of the Ed25519 key that signs; `audits` are those of other capabilities."""
        self._db = db
        self._watch = LedgerWatch(db, every_s=every_s)
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self._audit_every_s = audit_every_s
        self._audits = audits
        self._is_crowded = is_crowded

    async def minute(self) -> None:
        """Look at what is new and publish a line about it. Whatever keeps the look from its end leaves no line."""
        seen = await self._watch.look(check_stamps, of_money=check_money)
        if seen is None:
            return
        _tell(seen.rules)
        _show(seen)
        await self._publish(seen)
        _line_at_s.set(seen.at.timestamp())

    async def audit_if_due(self) -> None:
        """Audit everything when it is time, when a look found something, or at the first start; then start over.

        It reads all there is, and takes what it costs from the stamps of that hour: one that is merely due waits while
        people are in line, up to as long again.
        """
        every_s = self._audit_every_s
        if not await self._watch.wants_audit(every_s):
            return
        if await self._is_crowded() and not await self._watch.wants_audit(_CROWD_TIMES * every_s):
            return
        begun = await self._watch.begin_audit()
        rules = [*(await check_ledger(self._db)).rules, *await check_all_stamps(self._db)]
        for audit in self._audits:
            rules += await audit(self._db)
        _tell(rules)
        await self._watch.start_over(begun, sorted({rule.name for rule in rules if rule.broken}))

    async def _publish(self, seen: Look) -> None:
        last = await store.newest(self._db, before=None, limit=1)
        number, previous = (last[0][0] + 1, digest_of(last[0][1].line)) if last else (1, FIRST_PREVIOUS)
        sums = {part: getattr(seen, part) for part in _PARTS}
        line = Line(
            number=number, at=seen.at.replace(microsecond=0), **sums, broken=len(seen.broken), previous=previous
        )
        if not await store.add(self._db, number, sign(line, self._key)):
            _log.warning("line_published_by_another", number=number)


def _tell(rules: Sequence[Rule]) -> None:
    for rule in rules:
        if rule.broken:
            _log.error("ledger_rule_broken", rule=rule.name, broken=rule.broken, examples=rule.examples)


def _show(seen: Look) -> None:
    for part in _PARTS:
        _stamps.labels(part).set(getattr(seen, part))
    _broken.set(len(seen.broken))
    _fresh.inc(seen.fresh)
