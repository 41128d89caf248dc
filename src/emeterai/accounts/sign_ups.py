"""How many accounts may be opened from one network: each is a lot in the draw, and has limits of its own.

Counted in the database, the same for all web processes. The bounds are for programs: a school, an office or a mobile
carrier's gateway is one address, and the people behind it open few accounts an hour.
"""

from __future__ import annotations

from collections.abc import Sequence

from emeterai.accounts import store
from emeterai.accounts.guesses import guess_key
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.database import Database
from emeterai.infra.networks import is_of_this_machine, networks_of
from emeterai.infra.settings import Settings

SIGN_UPS_PAUSED = RefusalKind(
    "sign_ups_paused",
    429,
    "Dari jaringan Anda sudah terlalu banyak akun dibuat. Coba lagi dalam {minutes} menit, atau dari jaringan lain. "
    "Akun yang sudah ada tetap dapat masuk.",
    "Too many accounts were opened from your network. Try again in {minutes} minutes, or from another network. "
    "Accounts that exist can sign in as before.",
)
HOUR_S, DAY_S = 3_600, 86_400
BLOCK_TIMES = 200
"""A block of addresses may open so many times as many as one: of a mobile carrier thousands of phones share an IPv4
/24, and an IPv6 /48 holds 65,536 of them."""
_REPEATS_MAX = 3
_REPEATED_S = 60
Bounds = Sequence[tuple[int, int]]
"""The most accounts of one address, and the seconds of the window in which they are counted."""
USUAL: Bounds = ((60, HOUR_S), (300, DAY_S))


def bounds_of(settings: Settings) -> Bounds:
    """The bounds that the settings give."""
    return (settings.address_sign_ups_an_hour_max, HOUR_S), (settings.address_sign_ups_a_day_max, DAY_S)


async def refuse_sign_up(db: Database, address: str, bounds: Bounds, *, contacts: str) -> None:
    """Raise `sign_ups_paused` where `take_sign_up` would, and count nothing: so nobody need wait to hear it."""
    if is_of_this_machine(address):
        return
    same, places = _same_key(address, contacts), _places(address, bounds)
    windows = await store.windows_open(db, [same, *(key for key, _, _ in places)])
    if _is_repeated(windows.get(same)):
        return
    for key, accounts_max, _ in places:
        opened, left_s = windows.get(key, (0, 0))
        if opened >= accounts_max:
            raise _paused(left_s)


async def take_sign_up(db: Database, address: str, bounds: Bounds, *, contacts: str) -> None:
    """Count an account before it is opened, for its address and for the block that this is of.

    Whoever is on this very machine is not counted, nor the same `contacts` sent again within the minute by a second
    click: what was counted once tells nobody more. Raises `sign_ups_paused`; a refusal of the address itself takes
    nothing from its block, and one of the hour nothing from the day.
    """
    if is_of_this_machine(address):
        return
    same = _same_key(address, contacts)
    if not _is_repeated((await store.windows_open(db, [same])).get(same)):
        for key, accounts_max, window_s in _places(address, bounds):
            opened, left_s = await store.count_guess(db, key, window_s)
            if opened > accounts_max:
                raise _paused(left_s)
    await store.count_guess(db, same, _REPEATED_S)


def _same_key(address: str, contacts: str) -> bytes:
    return guess_key(f"sign-up of {contacts}", address)


def _is_repeated(window: tuple[int, int] | None) -> bool:
    return window is not None and window[0] <= _REPEATS_MAX


def _places(address: str, bounds: Bounds) -> list[tuple[bytes, int, int]]:
    """Where an account of that address is counted: the key, the most accounts, and the seconds of the window."""
    return [
        (guess_key(f"sign-up {window_s}", network), accounts_max * (BLOCK_TIMES if place else 1), window_s)
        for accounts_max, window_s in bounds
        for place, (network, _) in enumerate(networks_of(address))
    ]


def _paused(left_s: int) -> Refused:
    return SIGN_UPS_PAUSED(retry_after_s=max(1, left_s), minutes=max(1, -(-left_s // 60)))
