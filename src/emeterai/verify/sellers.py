"""Is this an official seller? Asked with a name, a phone number or a web address, or by the QR code on a seller's sign.

The record is the partners' own; what is public of it is the name, the contact and whether the partner may sell now.
"""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import Protocol
from uuid import UUID

import msgspec

from emeterai.accounts.details import known_contact
from emeterai.core.refusal import RefusalKind

SELLER_MISTYPED = RefusalKind(
    "seller_mistyped",
    422,
    "Tulis nama, nomor telepon, atau alamat web penjual, 3 sampai {length_max} karakter.",
    "Enter the seller's name, phone number or web address, 3 to {length_max} characters.",
)
SELLER_LENGTH_MAX = 120
SELLERS_MAX = 20_000
_LETTERS_MIN = 3
_A_PAGE = 100
_FRESH_S = 15.0
_SHOWN_MAX = 5
_LOOKED_AT_MAX = 50
_SIMILAR = 0.75
_OFFICIAL = "active"
_ADDRESS = re.compile(
    r"(?:[a-z]+://)?(?:www\.)?(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+)(?:[/?#:].*)?"
)


class ListedPartner(Protocol):
    """What is read of a partner."""

    @property
    def id(self) -> UUID:
        """Its number."""
        ...

    @property
    def name(self) -> str:
        """Its name, in public."""
        ...

    @property
    def contact(self) -> str:
        """How it is reached, in public."""
        ...

    @property
    def state(self) -> str:
        """Whether it may sell: `active`."""
        ...

    @property
    def registered_at(self) -> datetime:
        """Since when it is on record."""
        ...


class PartnerRecord(Protocol):
    """The record of partners."""

    async def listed(self, *, after: tuple[str, UUID] | None = None, limit: int = 50) -> Sequence[ListedPartner]:
        """Partners in the order of names and ids, those after `after`."""
        ...


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """A seller on record. `is_official` is false for one that was stopped."""

    id: UUID
    name: str
    contact: str
    is_official: bool
    since: datetime


class SellerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is on record for something typed: those that are meant exactly, and others that merely look like it."""

    asked: str
    sellers: list[Seller]
    similar: list[Seller]


class Sellers:
    """Answers whether somebody is an official seller. The whole list is kept for some seconds: it is short."""

    def __init__(self, record: PartnerRecord) -> None:
        self._record = record
        self._kept = _Directory([])
        self._kept_until_s = 0.0
        self._reading = asyncio.Lock()

    async def find(self, typed: str) -> SellerAnswer:
        """Who is meant by a name, a phone number or a web address, however it is written. Raises `seller_mistyped`."""
        asked = " ".join(typed.split())
        if len(asked) > SELLER_LENGTH_MAX or len(_word(asked)) < _LETTERS_MIN:
            raise SELLER_MISTYPED(length_max=SELLER_LENGTH_MAX)
        known = await self._known()
        exact = known.meant(asked)
        return SellerAnswer(asked=asked, sellers=exact[:_SHOWN_MAX], similar=known.similar(asked, without=exact))

    async def numbered(self, seller_id: UUID) -> Seller | None:
        """The seller to which a sign's QR code leads; None when there is none of that number."""
        return (await self._known()).by_id.get(seller_id)

    async def _known(self) -> _Directory:
        async with self._reading:
            if time.monotonic() >= self._kept_until_s:
                self._kept = _Directory(await self._read())
                self._kept_until_s = time.monotonic() + _FRESH_S
            return self._kept

    async def _read(self) -> list[Seller]:
        found: list[Seller] = []
        after: tuple[str, UUID] | None = None
        while len(found) < SELLERS_MAX:
            page = await self._record.listed(after=after, limit=_A_PAGE)
            found += [
                Seller(
                    id=one.id,
                    name=one.name,
                    contact=one.contact,
                    is_official=one.state == _OFFICIAL,
                    since=one.registered_at,
                )
                for one in page
            ]
            if len(page) < _A_PAGE:
                break
            after = (page[-1].name, page[-1].id)
        return found


class _Directory:
    """The sellers by what they are known by, and by the three-letter pieces of their names."""

    def __init__(self, sellers: Sequence[Seller]) -> None:
        self.by_id = {seller.id: seller for seller in sellers}
        self._by_key: dict[str, list[Seller]] = defaultdict(list)
        self._by_piece: dict[str, list[UUID]] = defaultdict(list)
        for seller in sellers:
            for key in _keys(seller.name) | _keys(seller.contact):
                self._by_key[key].append(seller)
            for piece in _pieces(_word(seller.name)):
                self._by_piece[piece].append(seller.id)

    def meant(self, asked: str) -> list[Seller]:
        """Those that are exactly meant."""
        found = {seller.id: seller for key in sorted(_keys(asked)) for seller in self._by_key.get(key, [])}
        return list(found.values())

    def similar(self, asked: str, *, without: Sequence[Seller]) -> list[Seller]:
        """Those whose names look like it, the most alike first. Only names that share pieces are looked at, and few."""
        word = _word(asked)
        shared = Counter(seller_id for piece in _pieces(word) for seller_id in self._by_piece.get(piece, []))
        for seller in without:
            shared.pop(seller.id, None)
        near = [self.by_id[seller_id] for seller_id, _ in shared.most_common(_LOOKED_AT_MAX)]
        likeness = [(_likeness(word, _word(seller.name)), seller) for seller in near]
        alike = sorted((it for it in likeness if it[0] >= _SIMILAR), key=lambda it: -it[0])
        return [seller for _, seller in alike[:_SHOWN_MAX]]


def _pieces(word: str) -> set[str]:
    return {word[at : at + 3] for at in range(len(word) - 2)}


def _keys(text: str) -> frozenset[str]:
    """What a name or a contact is known by: its letters, and the phone numbers, addresses and hosts that are in it."""
    keys = {f"name {_word(text)}"}
    for part in (text, *re.split(r"[,;|\n]+", text)):
        plain = unicodedata.normalize("NFKC", part).strip()
        contact = known_contact(plain)
        if contact is not None:
            keys.add(f"contact {contact}")
        address = _ADDRESS.fullmatch(plain.lower())
        if address is not None:
            keys.add(f"host {address['host']}")
    return frozenset(keys)


def _word(text: str) -> str:
    """The letters and digits of a text, so that case, blanks and punctuation do not matter."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def _likeness(one: str, other: str) -> float:
    """How much two names look alike, 1 for the same: a part of the other counts as much as a typing error."""
    if not one or not other:
        return 0.0
    if one in other or other in one:
        return max(_SIMILAR, len(min(one, other, key=len)) / len(max(one, other, key=len)))
    return SequenceMatcher(a=one, b=other, autojunk=False).ratio()
