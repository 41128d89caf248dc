"""A new key or certificate comes into use without a stop, and an old one is watched on its way to expiry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from emeterai.infra import metrics
from emeterai.seal.roots import state_of
from emeterai.seal.signer import KeyPlace, Signer, SignerError, load_signer_from

LOOK_AGAIN_S = 2.0
_WARN_DAYS = (0, 1, 3, 7, 14, 30)
_days_left = metrics.gauge_latest("emeterai_sealing_certificate_days_left", "Until the sealing certificate expires")
_rejected = metrics.counter("emeterai_sealing_key_rejected", "New keys or certificates that could not be used")
_log = structlog.get_logger(__name__)


class KeyWatch:
    """Looks at the files of a key and hands on each new signer; one that cannot be used leaves the old one at work."""

    def __init__(
        self, place: KeyPlace, signer: Signer, *, use: Callable[[Signer], None], clock: Callable[[], datetime]
    ) -> None:
        self._place = place
        self._use = use
        self._clock = clock
        self._signer = signer
        self._before: list[Signer] = []
        self._seen = self._state()
        self._warned_days = _WARN_DAYS[-1] + 1

    async def run(self) -> None:
        """Look every two seconds until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_AGAIN_S)

    async def look(self) -> None:
        """Look once: take up what is new, and tell how long the certificate still lasts."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            await self._take_up()
        self._tell_days_left()

    def close(self) -> None:
        """Let go of all keys that were in use."""
        for signer in (self._signer, *self._before):
            signer.close()

    async def _take_up(self) -> None:
        """Key and certificate are two files: while only one of them is new they do not fit, and the next look tries."""
        try:
            signer = await asyncio.to_thread(load_signer_from, self._place, now=self._clock())
        except SignerError as error:
            _rejected.inc()
            _log.warning("new_sealing_key_rejected", error=str(error))
            return
        # Signatures under way with the old key are finished; it is let go at the rotation after this one.
        for old in self._before:
            await asyncio.to_thread(old.close)
        self._before = [self._signer]
        self._signer = signer
        self._warned_days = _WARN_DAYS[-1] + 1
        self._use(signer)
        _log.info("sealing_key_changed", name=signer.name, not_after=signer.not_after.isoformat())

    def _tell_days_left(self) -> None:
        days = (self._signer.not_after - self._clock()).total_seconds() / 86_400
        _days_left.set(days)
        reached = next((bound for bound in _WARN_DAYS if days <= bound), self._warned_days)
        if reached < self._warned_days:
            self._warned_days = reached
            _log.warning("sealing_certificate_expires", days=round(days, 1), name=self._signer.name)

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [state_of(file) for file in self._place.files]
