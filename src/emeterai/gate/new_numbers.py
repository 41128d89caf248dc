"""New numbers: where they come from, and what they cost whoever has no account.

Before a draw a number is a lot, of which an address has few (lots.py); afterwards it is a part of the address's rate.
Whoever gets no number has paid nothing, as an account has not (places.py): he may ask as often as it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate.addresses import Addresses, Network, is_of_this_machine, networks_of
from emeterai.gate.giver import NumberGiver
from emeterai.gate.lots import Lots
from emeterai.gate.now import NowServing
from emeterai.gate.tally import Tally
from emeterai.gate.tickets import Ticket
from emeterai.web import paths

NUMBERS_TOO_MANY = RefusalKind(
    "numbers_too_many",
    429,
    "Terlalu banyak nomor diambil dari jaringan ini; masuk dengan akun Anda, atau ulangi dalam {retry_after_s} detik.",
    "Too many numbers were taken from this network; sign in, or try again in {retry_after_s} seconds.",
)
LOTS_TOO_MANY = RefusalKind(
    "lots_too_many",
    429,
    "Dari jaringan ini sudah cukup nomor tanpa akun ikut undian; masuk dengan akun Anda di {sign_in} untuk ikut, atau "
    "ambil nomor saat jalur dibuka.",
    "Enough numbers without an account are in the draw from this network; sign in at {sign_in} to take part, or take a "
    "number when the lane opens.",
)


class NewNumbers:
    """Makes tickets with numbers that nobody has. One for each web process; `clock_s` tells seconds since 1970."""

    def __init__(self, giver: NumberGiver, lots: Lots, tally: Tally, *, clock_s: Callable[[], float]) -> None:
        self._giver, self._lots, self._tally = giver, lots, tally
        self._clock_s = clock_s
        self._addresses = Addresses()

    async def new(self, now: NowServing) -> Ticket:
        """The next number of a lane, behind a draw. Raises `numbers_paused`."""
        closed_at = now.draw.count if now.draw is not None and now.draw.count is not None else 0
        number = await self._giver.take(now.lane, above=closed_at)
        self._tally.gave(now.lane, number)
        turn = now.turn_of(number)
        low_s, high_s = (None, None) if turn is None else now.wait_of(turn)
        return Ticket(
            now.lane,
            number,
            int(self._clock_s() * 1000),
            low_s=None if high_s is None or low_s is None else int(low_s),
            high_s=None if high_s is None else int(high_s + 0.999),
        )

    async def of_nobody(self, now: NowServing, address: str) -> Ticket:
        """A new number without an account. Before the draw it costs one of few lots, then a part of a rate.

        Raises `lots_too_many`, `numbers_too_many`, `numbers_paused`.
        """
        if now.awaits_draw:
            return await self._lot(now, address)
        networks = _charged(address)
        if wait_s := self._addresses.take(networks, time.monotonic()):
            raise _too_many(wait_s)
        try:
            return await self.new(now)
        except BaseException:
            self._addresses.give_back(networks)
            raise

    def refused(self, address: str) -> Refused | None:
        """What an address hears that has had its numbers for now (`numbers_too_many`); None while there are some."""
        wait_s = self._addresses.wait_s(_charged(address), time.monotonic())
        return _too_many(wait_s) if wait_s else None

    async def _lot(self, now: NowServing, address: str) -> Ticket:
        lot = await self._lots.take(now.lane, address, draw=now.draw.commitment if now.draw else "")
        if lot is None:
            raise LOTS_TOO_MANY(sign_in=paths.SIGN_IN, retry_after_s=60)
        try:
            return await self.new(now)
        except BaseException:
            self._lots.give_back(lot)
            raise


def _charged(address: str) -> Sequence[Network]:
    """Whose rate a number costs; nobody's for whoever is on this machine."""
    return () if is_of_this_machine(address) else networks_of(address)


def _too_many(wait_s: float) -> Refused:
    return NUMBERS_TOO_MANY(retry_after_s=int(wait_s) + 1)
