"""What runs without being asked: the sealer's work on claimed jobs, and the steward's sweeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from emeterai.infra import jobs, metrics
from emeterai.infra.database import Database
from emeterai.infra.jobs import Claim
from emeterai.stamping.documents import INSPECT, Documents
from emeterai.stamping.endings import Endings
from emeterai.stamping.journey import Journey
from emeterai.stamping.levels import UPGRADE, Levels
from emeterai.stamping.orphans import Orphans
from emeterai.stamping.passwords import Passwords
from emeterai.stamping.service import SEAL

KINDS = (INSPECT, SEAL, UPGRADE)
"""Every kind of job that a sealer works on."""
GIVE_BACK_EVERY_S = 1.0
"""The pause between two sweeps that give back units whose hold is over."""
_RECLAIM_MAX = 1_000
_leases_over = metrics.counter("emeterai_lease_expiries", "Jobs whose worker was silent for longer than its lease")


def sealer_work(
    journey: Journey, levels: Levels | None = None
) -> dict[str, Callable[[Sequence[Claim]], Awaitable[None]]]:
    """What a sealer does with each kind of job; without `levels` it raises none."""
    work: dict[str, Callable[[Sequence[Claim]], Awaitable[None]]] = {SEAL: journey.seal, INSPECT: journey.inspect}
    if levels is not None:
        work[UPGRADE] = levels.raise_levels
    return work


def steward_work(
    db: Database, documents: Documents, endings: Endings, passwords: Passwords, orphans: Orphans
) -> dict[str, tuple[float, Callable[[], Awaitable[object]]]]:
    """What the steward does, and every how many seconds."""

    async def reclaim() -> int:
        freed = await jobs.reclaim(db, limit=_RECLAIM_MAX)
        _leases_over.inc(freed)
        return freed

    return {
        "reclaim_jobs": (1.0, reclaim),
        "give_back_expired": (GIVE_BACK_EVERY_S, endings.sweep),
        "finish_or_abandon_uploads": (2.0, documents.sweep),
        "remove_orphans": (60.0, orphans.sweep),
        "forget_passwords": (10.0, passwords.sweep),
    }
