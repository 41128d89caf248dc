"""The verbs of the sealing engine: inspect, place, seal, read back, verify. PDF in, tail out; no database, no web.

Files from people are opened only by the openers of a pool. What happens here is ours: laying out the tail, digests, the
signature.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.core.refusal import Refused
from emeterai.infra import metrics
from emeterai.seal.digests import feed
from emeterai.seal.mark import Mark
from emeterai.seal.messages import Planned, PlanSeal, ReadBack, Reopened
from emeterai.seal.model import PLACES, Box, Placement, Plan, Report, SealedTail, SealOrder, StampFacts, VerifyReport
from emeterai.seal.place import resolve_box
from emeterai.seal.pool import OpenerPool
from emeterai.seal.reader import TAIL_SIZE_BYTES_MAX, FileReader, Roots, path_text
from emeterai.seal.refusals import SEAL_NOT_VALID, SEAL_SLOT_OVERFLOW, SEALER_BUSY, SEALING_CERTIFICATE_EXPIRED
from emeterai.seal.revocation import RevocationClient
from emeterai.seal.signature import find_seals
from emeterai.seal.signer import KeyPlace, Signed, Signer, SignerError, load_signer, load_signer_from
from emeterai.seal.specimen import specimen
from emeterai.seal.tail import SlotOverflowError, UnsignedTail, build_tail
from emeterai.seal.timestamp import TimestampClient, TimestampFailedError
from emeterai.seal.token_key import TokenPlace
from emeterai.seal.upgrade import MadeAddendum, NeverError, NotNowError, Upgrades

if TYPE_CHECKING:
    from _hashlib import HASH

__all__ = [
    "PLACES",
    "Box",
    "KeyPlace",
    "MadeAddendum",
    "NeverError",
    "NotNowError",
    "Placement",
    "Report",
    "RevocationClient",
    "SealEngine",
    "SealOrder",
    "SealedTail",
    "Signer",
    "SignerError",
    "StampFacts",
    "TimestampClient",
    "TokenPlace",
    "VerifyReport",
    "load_signer",
    "load_signer_from",
]

_SIGNERS_KEPT = 3
_decode_plan = msgspec.msgpack.Decoder(Plan).decode
_sealed = metrics.counter("emeterai_seals", "Seals made, by their level", ["level"])
_sealed_at_level = {level: _sealed.labels(level) for level in ("B-B", "B-T")}
_INLINE_SIZE_BYTES_MAX = 262_144
"""Up to this size a file is hashed at once (0.5 ms); beyond, threads keep the event loop free."""


class SealEngine:
    """The sealing engine of one process. Safe for many requests at once; started once, closed at the end."""

    def __init__(
        self,
        pool: OpenerPool,
        signer: Signer,
        *,
        size_bytes_max: int,
        timestamps: TimestampClient | None = None,
        revocations: RevocationClient | None = None,
        roots: Roots | None = None,
        mark: Mark | None = None,
    ) -> None:
        self._pool = pool
        self._mark = mark or specimen()
        self._signers = [signer]
        self._timestamps = timestamps
        self._reader = FileReader(
            pool, roots or self._own_roots, size_bytes_max=size_bytes_max, timestamp_roots=_encoded(timestamps)
        )
        self._upgrades = (
            Upgrades(pool, self._reader, timestamps=timestamps, revocations=revocations, size_bytes_max=size_bytes_max)
            if timestamps and revocations
            else None
        )
        self._size_bytes_max = size_bytes_max

    @classmethod
    async def start(
        cls,
        *,
        signer: Signer,
        openers: int = 1,
        size_bytes_max: int,
        timeout_s: float = 10,
        timestamps: TimestampClient | None = None,
        revocations: RevocationClient | None = None,
        roots: Roots | None = None,
        mark: Mark | None = None,
    ) -> SealEngine:
        """Start so many opener processes (0.1 s). A file may have `size_bytes_max` and take `timeout_s` to open.

        With `timestamps` seals reach level B-T while that authority answers in time; with `revocations` as well,
        `upgrade` works. The caller closes both. `roots` are trusted when verifying: by default the signer's own.
        `mark` is what seals show: by default the SPECIMEN.
        """
        pool = OpenerPool(openers, timeout_s=timeout_s)
        await pool.start()
        return cls(
            pool,
            signer,
            size_bytes_max=size_bytes_max,
            timestamps=timestamps,
            revocations=revocations,
            roots=roots,
            mark=mark,
        )

    @property
    def signer(self) -> Signer:
        """The signer that seals now."""
        return self._signers[0]

    def use(self, signer: Signer) -> None:
        """Seal with another signer from now on. What the last few signers made can still be read back."""
        if signer is not self._signers[0]:
            self._signers = [signer, *self._signers][:_SIGNERS_KEPT]

    @property
    def opener_pids(self) -> list[int]:
        """The process ids of the openers, for supervision."""
        return self._pool.pids

    @property
    def reader(self) -> FileReader:
        """What looks into files for this engine; it holds no key."""
        return self._reader

    async def inspect(self, path: Path, *, password: str | None = None) -> Report:
        """What a file is, see `FileReader.inspect`."""
        return await self._reader.inspect(path, password=password)

    async def repair(self, path: Path, *, password: str | None = None) -> bytes:
        """A file written anew, see `FileReader.repair`."""
        return await self._reader.repair(path, password=password)

    async def placement(self, path: Path, order: SealOrder) -> Placement:
        """Where an order's mark will stand, see `FileReader.placement`."""
        return await self._reader.placement(
            path, page=order.page, box=order.box, place=order.place, password=order.password
        )

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """Make the tail that seals a file; nothing is written. Raises Refused.

        Without a box the mark goes to the preset place of the order, whatever is there: `placement` looks first.
        """
        signer = self._signer_at(order.sealed_at)
        kept = self._kept_plan(path, order)
        if kept is None:
            # The opener reads the structure of the file while this process draws the mark and digests the bytes.
            plan, overlay, digests = await asyncio.gather(
                self._plan(path, order), _overlay(self._mark, order), _digests(path)
            )
        else:
            plan, overlay, digests = kept, self._mark.overlay(order), await _digests(path)
        sha256, sha512, size_bytes = digests
        if size_bytes != plan.size_bytes:
            raise RuntimeError("the file changed while it was being sealed")
        box = resolve_box(plan.geometry, order.box, order.place)
        original_sha256 = sha256.digest()
        token_room_bytes = self._timestamps.room_bytes() if self._timestamps else 0
        unsigned = build_tail(
            plan,
            order,
            mark=self._mark,
            box=box,
            overlay=overlay,
            original_sha256=original_sha256,
            signer_name=signer.name,
            cms_size_bytes_max=signer.cms_size_bytes_max + token_room_bytes,
        )
        sha512.update(unsigned.before)
        sha512.update(unsigned.after)
        signed = await signer.sign(sha512.digest())
        tail, level = await self._filled(unsigned, signed, wants_timestamp=token_room_bytes > 0)
        _sealed_at_level[level].inc()
        sha256.update(tail)
        return SealedTail(
            tail=tail,
            sealed_size_bytes=plan.size_bytes + len(tail),
            sealed_sha256=sha256.digest(),
            original_sha256=original_sha256,
            page=plan.page,
            box=box,
            level=level,
        )

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Read the stored original and tail again and check that together they are the sealed file that was promised.

        Digests, byte range, the CMS signature, and that qpdf opens the whole and finds seal and mark.
        Raises Refused: seal_not_valid; sealer_busy, which says nothing about the seal.
        """
        size_bytes_max = self._size_bytes_max + TAIL_SIZE_BYTES_MAX
        try:
            request = ReadBack(path_text(original), path_text(tail), size_bytes_max, expected.page, password)
            answer = await self._pool.ask(request)
        except Refused as refused:
            raise refused if refused.kind is SEALER_BUSY else SEAL_NOT_VALID() from refused
        assert isinstance(answer, Reopened)
        if expected.sealed_size_bytes <= _INLINE_SIZE_BYTES_MAX:
            valid = self._is_as_promised(original, tail, expected, answer.byte_range)
        else:
            valid = await asyncio.to_thread(self._is_as_promised, original, tail, expected, answer.byte_range)
        if not (valid and answer.mark_on_page):
            raise SEAL_NOT_VALID()

    async def upgrade(self, original: Path, tails: Sequence[Path], *, level: str, at: datetime) -> MadeAddendum:
        """The bytes to append to a sealed file of this level so that it has the next, see `Upgrades.next`."""
        if self._upgrades is None:
            raise NeverError("no timestamp authority is configured")
        return await self._upgrades.next(original, tails, level=level, signer=self._signer_at(at), at=at)

    async def verify(self, path: Path) -> VerifyReport:
        """Whether a file is genuine and as it was sealed. Raises Refused for what is not a PDF or too large."""
        return await self._reader.verify(path)

    async def close(self) -> None:
        """End the openers."""
        await self._pool.close()

    def _signer_at(self, moment: datetime) -> Signer:
        if moment > self.signer.not_after:
            raise SEALING_CERTIFICATE_EXPIRED(retry_after_s=60)
        return self.signer

    def _own_roots(self) -> list[bytes]:
        return [root for signer in self._signers for root in signer.roots]

    async def _filled(self, unsigned: UnsignedTail, signed: Signed, *, wants_timestamp: bool) -> tuple[bytes, str]:
        """The finished tail and its level: a timestamp that fails, or does not fit, costs the level only."""
        if wants_timestamp and self._timestamps:
            with suppress(TimestampFailedError, SlotOverflowError):
                token = await self._timestamps.token(hashlib.sha512(signed.signature).digest())
                return unsigned.filled(signed.cms(token)), "B-T"
        try:
            return unsigned.filled(signed.cms()), "B-B"
        except SlotOverflowError as error:
            raise SEAL_SLOT_OVERFLOW() from error

    def _kept_plan(self, path: Path, order: SealOrder) -> Plan | None:
        """How to append, as inspection left it; None when it left nothing for this page."""
        kept = _decoded(order.plan)
        if kept is None or kept.page != order.page or kept.size_bytes != _size_bytes(path):
            return None
        return kept

    async def _plan(self, path: Path, order: SealOrder) -> Plan:
        answer = await self._pool.ask(PlanSeal(path_text(path), self._size_bytes_max, order.page, order.password))
        assert isinstance(answer, Planned)
        return answer.plan

    def _is_as_promised(self, original: Path, tail: Path, expected: SealedTail, byte_range: list[int]) -> bool:
        sha256, sha512 = hashlib.sha256(), hashlib.sha512()
        size_bytes = feed(original, sha256, sha512)
        content = tail.read_bytes()
        seals = find_seals(content)
        if len(seals) != 1 or sha256.digest() != expected.original_sha256:
            return False
        sha256.update(content)
        seal = seals[0]
        start, end = seal.slot_start, seal.slot_end
        sha512.update(content[:start])
        sha512.update(content[end:])
        return (
            sha256.digest() == expected.sealed_sha256
            and size_bytes + len(content) == expected.sealed_size_bytes
            and byte_range == [0, *seal.byte_range]
            and seal.byte_range == (size_bytes + start, size_bytes + end, len(content) - end)
            and seal.facts.original_size_bytes == size_bytes
            and any(signer.holds(seal.contents, sha512.digest()) for signer in self._signers)
        )


def _encoded(timestamps: TimestampClient | None) -> list[bytes]:
    return [root.public_bytes(Encoding.DER) for root in timestamps.roots] if timestamps else []


def _decoded(plan: bytes) -> Plan | None:
    """A kept plan; None when there is none, or it was kept by a release that wrote plans in another way."""
    try:
        return _decode_plan(plan) if plan else None
    except msgspec.DecodeError:
        return None


async def _overlay(mark: Mark, order: SealOrder) -> bytes:
    return mark.overlay(order)


async def _digests(path: Path) -> tuple[HASH, HASH, int]:
    """SHA-256 and SHA-512 of a file, ready to take more, and its size: at once when small, else in two threads."""
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    if _size_bytes(path) <= _INLINE_SIZE_BYTES_MAX:
        return sha256, sha512, feed(path, sha256, sha512)
    sizes = await asyncio.gather(*(asyncio.to_thread(feed, path, digest) for digest in (sha256, sha512)))
    if sizes[0] != sizes[1]:
        raise RuntimeError("the file changed while it was being sealed")
    return sha256, sha512, sizes[0]


def _size_bytes(path: Path) -> int:
    return path.stat().st_size
