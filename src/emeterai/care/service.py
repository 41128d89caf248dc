"""The tracker: an order number and four digits show an order's life, without signing in and with nothing about people.

It needs orders and the contact of an account, and nothing of sessions and passwords: it works while sign-in is down.
"""

from __future__ import annotations

import hmac

import msgspec

from emeterai.accounts.guesses import GuessLimit, forgive_guesses, guess_key, take_guess
from emeterai.accounts.service import Accounts
from emeterai.care.words import Awaited, Step, awaited_of, headline_of, steps_of
from emeterai.core.ordering import OrderState
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.purchase.tracking import NumberedOrder, OrderLives, tidy_number

TRACK_NUMBER_MISTYPED = RefusalKind(
    "track_number_mistyped",
    422,
    "Nomor pesanan terdiri dari delapan huruf dan angka, seperti 4F7K-2M9Q; periksa penulisannya.",
    "An order number has eight letters and digits, such as 4F7K-2M9Q; check the spelling.",
)
TRACK_DIGITS_MISTYPED = RefusalKind(
    "track_digits_mistyped",
    422,
    "Isi empat angka: akhir nomor telepon akun Anda, atau kode lacak di halaman pesanan.",
    "Enter four digits: the end of your account's phone number, or the tracking code on the order's page.",
)
TRACK_UNMATCHED = RefusalKind(
    "track_unmatched",
    404,
    "Tidak ada pesanan dengan nomor dan empat angka ini; periksa keduanya, atau lihat halaman pesanan Anda.",
    "There is no order with this number and these four digits; check both, or look at your order's page.",
)
TRACKING_PAUSED = RefusalKind(
    "tracking_paused",
    429,
    "Terlalu banyak percobaan melacak; tunggu {retry_after_s} detik, lalu coba lagi. Pesanan Anda tetap diurus.",
    "Too many attempts to track; wait {retry_after_s} seconds, then try again. Your order is being looked after.",
)

_DIGITS = 4
_BY_NUMBER = GuessLimit(tries=10, window_s=3_600)
"""Wrong digits at one number: all ten thousand would take forty days."""
_BY_ADDRESS = GuessLimit(tries=240, window_s=60)
"""Looks from one address, right or wrong: many people share one behind an operator's network."""


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """An order's life: `steps` are what happened, in order, `awaited` is what comes next and by when."""

    number: str
    state: OrderState
    headline: Step
    steps: list[Step]
    awaited: list[Awaited]


class Tracker:
    """Shows what became of an order. One per process."""

    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        lives: OrderLives,
        *,
        by_number: GuessLimit = _BY_NUMBER,
        by_address: GuessLimit = _BY_ADDRESS,
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._lives = lives
        self._by_number = by_number
        self._by_address = by_address

    async def look(self, number: str, digits: str, *, address: str) -> Tracked:
        """The life of the order with this number, for whoever knows its four digits; `address` is the client's.

        Raises `track_number_mistyped`, `track_digits_mistyped`, `tracking_paused` or, the same and after the same work
        for a number that nobody has and for other digits, `track_unmatched`.
        """
        tidy, typed = tidy_number(number), "".join(digits[:40].split())
        if tidy is None:
            raise TRACK_NUMBER_MISTYPED()
        if len(typed) != _DIGITS or not typed.isascii() or not typed.isdecimal():
            raise TRACK_DIGITS_MISTYPED()
        guess = guess_key(f"track {tidy}", "")
        await take_guess(self._db, guess_key("track", address), self._by_address, paused=TRACKING_PAUSED)
        await take_guess(self._db, guess, self._by_number, paused=TRACKING_PAUSED)
        found = await self._matching(tidy, typed)
        if found is None:
            raise TRACK_UNMATCHED()
        await forgive_guesses(self._db, guess)
        life = await self._lives.life(found.id)
        return Tracked(
            number=tidy, state=life.state, headline=headline_of(life), steps=steps_of(life), awaited=awaited_of(life)
        )

    async def _matching(self, number: str, digits: str) -> NumberedOrder | None:
        """The newest order with this number and these digits. A number that nobody has costs the same two reads."""
        orders = await self._lives.numbered(number)
        matching = None
        for order in orders or [_NOBODYS]:
            ends = await self._phone_end(order)
            matches = [hmac.compare_digest(digits, right) for right in (ends, order.code)]
            if matching is None and any(matches) and order is not _NOBODYS:
                matching = order
        return matching

    async def _phone_end(self, order: NumberedOrder) -> str:
        """The last four digits of the account's phone number; what nobody can type where there is none."""
        try:
            account = await self._accounts.account(order.account_id)
        except Refused:
            return "-" * _DIGITS
        return account.phone[-_DIGITS:] if account.phone else "-" * _DIGITS


_NOBODYS = NumberedOrder(new_id(), new_id(), "-" * _DIGITS)
"""Looked up in place of an order that is not there."""
