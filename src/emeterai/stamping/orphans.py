"""Blobs that nothing points to: tails of failed attempts, originals whose record failed, parts of ended uploads.

A blob is written before the row that names it, so "no row" alone proves nothing. One is removed only when it is old,
when what it belongs to can no longer take it up, and when both were still so at a second look some time later. A blob
of an unknown stamp, or of an unknown kind, is never touched; and many at once whose document was never heard of are no
orphans but a sign that the database is not the one these blobs belong to.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from emeterai.infra import metrics
from emeterai.infra.blobs import BlobStore
from emeterai.infra.database import Database

AGE_S = 86_400.0
"""A younger blob is left alone. No request and no attempt lives nearly as long."""
SECOND_LOOK_S = 600.0
_PREFIXES = ("originals", "repaired", "tails", "parts")
_PIECES_A_RUN = 10
_PASS_EVERY_S = 3_600.0
_SUSPECTS_MAX = 10_000
_TOO_MANY = 100
_KEY = re.compile(
    rf"(?P<kind>{'|'.join(_PREFIXES)})/(?P<owner>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})(?P<rest>[./].+)?"
)
_removed = metrics.counter("emeterai_orphans_removed", "Blobs removed because nothing points to them")
_refused = metrics.counter("emeterai_orphans_refused", "Pieces of the store in which suspiciously many were orphans")
_log = structlog.get_logger(__name__)


class Orphans:
    """One slow walk through the store, a bounded piece each time. What it remembers is lost with the process."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        *,
        clock: Callable[[], datetime],
        age_s: float = AGE_S,
        second_look_s: float = SECOND_LOOK_S,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._clock = clock
        self._age_s = age_s
        self._second_look_s = second_look_s
        self._suspects: dict[str, float] = {}
        self._walk: AsyncIterator[list[tuple[str, datetime]]] | None = None
        self._next_pass = 0.0

    async def sweep(self) -> int:
        """Look at some blobs, and again at those under suspicion; answers how many were removed."""
        removed = await self._remove_confirmed()
        for _ in range(_PIECES_A_RUN):
            piece = await self._next_piece()
            if piece is None or len(self._suspects) >= _SUSPECTS_MAX:
                break
            await self._suspect(piece)
        return removed

    async def _next_piece(self) -> list[tuple[str, datetime]] | None:
        """The next piece of the walk; None at its end, and until it is time for another."""
        if self._walk is None:
            if time.monotonic() < self._next_pass:
                return None
            self._walk = self._everything()
        try:
            return await anext(self._walk)
        except StopAsyncIteration:
            self._walk = None
            self._next_pass = time.monotonic() + _PASS_EVERY_S
            return None

    async def _everything(self) -> AsyncIterator[list[tuple[str, datetime]]]:
        for prefix in _PREFIXES:
            async for piece in self._blobs.walk(prefix):
                yield piece
        await self._blobs.drop_leavings(older_than_s=self._age_s)

    async def _suspect(self, piece: Sequence[tuple[str, datetime]]) -> None:
        written_before = self._clock() - timedelta(seconds=self._age_s)
        old = [key for key, written_at in piece if written_at < written_before]
        found = await self._unowned(old)
        strangers = [key for key, is_known in found.items() if not is_known]
        if len(strangers) >= _TOO_MANY and 2 * len(strangers) > len(old):
            _refused.inc()
            _log.error("too_many_orphans", found=len(strangers), looked_at=len(old), examples=strangers[:5])
            return
        for key in found:
            self._suspects.setdefault(key, time.monotonic())

    async def _remove_confirmed(self) -> int:
        looked_before = time.monotonic() - self._second_look_s
        due = [key for key, at in self._suspects.items() if at <= looked_before]
        confirmed = list(await self._unowned(due))
        await self._blobs.delete(confirmed)
        for key in due:
            del self._suspects[key]
        _removed.inc(len(confirmed))
        if confirmed:
            _log.info("orphans_removed", count=len(confirmed), examples=confirmed[:5])
        return len(confirmed)

    async def _unowned(self, keys: Sequence[str]) -> dict[str, bool]:
        """Of these keys those that no row points to and none can take up any more: is what they belonged to known?"""
        known = [found for key in keys if (found := _KEY.fullmatch(key))]
        rows = await self._db.fetch(
            _UNOWNED,
            [found[0] for found in known],
            [found["kind"] for found in known],
            [UUID(found["owner"]) for found in known],
        )
        return {row["key"]: row["is_known"] for row in rows}


# A held stamp, a document under inspection and an upload under way may take up what is there; a file may be raised.
_UNOWNED = """
    SELECT blob.key, blob.kind = 'tails' OR EXISTS (SELECT FROM stamping.documents WHERE id = blob.owner) AS is_known
    FROM unnest($1::text[], $2::text[], $3::uuid[]) AS blob(key, kind, owner)
    WHERE CASE blob.kind
        WHEN 'originals' THEN NOT EXISTS (
            SELECT FROM stamping.documents WHERE id = blob.owner AND state <> 'abandoned')
        WHEN 'repaired' THEN EXISTS (
            SELECT FROM stamping.documents WHERE id = blob.owner AND state <> 'received'
                AND repaired_key IS DISTINCT FROM blob.key)
        WHEN 'tails' THEN EXISTS (
            SELECT FROM stamping.stamps WHERE id = blob.owner AND state <> 'held'
                AND tail_key IS DISTINCT FROM blob.key AND blob.key <> ALL (addendum_keys))
            AND NOT EXISTS (SELECT FROM infra.jobs WHERE id = blob.owner)
        ELSE NOT EXISTS (SELECT FROM stamping.documents WHERE id = blob.owner AND state = 'receiving')
            AND NOT EXISTS (SELECT FROM stamping.parts WHERE document_id = blob.owner AND parts.key = blob.key)
    END
"""
