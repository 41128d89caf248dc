"""Guesses at passwords: how many tries one address has at one contact, counted in the database.

In the database and not in the process, because the count must be the same for all web processes and nodes and must
survive their restarts; it costs one upsert beside an Argon2 hash that is a hundred times dearer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from emeterai.accounts import store
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Database

SIGN_IN_PAUSED = RefusalKind(
    "sign_in_paused",
    429,
    "Terlalu banyak percobaan masuk; tunggu {retry_after_s} detik, lalu coba lagi.",
    "Too many attempts to sign in; wait {retry_after_s} seconds, then try again.",
)

_IPV6_NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class GuessLimit:
    """At most `tries` wrong passwords per contact and address in `window_s` seconds."""

    tries: int = 10
    window_s: int = 900


async def take_guess(db: Database, key: bytes, limit: GuessLimit, *, paused: RefusalKind = SIGN_IN_PAUSED) -> None:
    """Count a try before it is made, so that tries at the same moment count too. Raises `paused` beyond the limit."""
    tries, left_s = await store.count_guess(db, key, limit.window_s)
    if tries > limit.tries:
        raise paused(retry_after_s=max(1, left_s))


async def forgive_guesses(db: Database, key: bytes) -> None:
    """Forget the tries under `key`: the last one was right."""
    async with db.transaction() as tx:
        await store.forget_guesses(tx, key)


def guess_key(contact: str, address: str) -> bytes:
    """The digest under which the tries of `address` at `contact` are counted; an IPv6 address counts as its /64."""
    return hashlib.sha256(f"{_network(address)} {contact}".encode("utf-8", "surrogatepass")).digest()


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
