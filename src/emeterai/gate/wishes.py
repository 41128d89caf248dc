"""Leave and be called: what somebody may wish, and at which address or number."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from emeterai.core.phone import indonesian_mobile
from emeterai.core.refusal import RefusalKind
from emeterai.gate import call_store
from emeterai.gate.addresses import CALLS_OF_ONE, CallBounds
from emeterai.gate.now import EMAIL, NowServing
from emeterai.gate.passes import room_path
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import Database
from emeterai.infra.http import REQUEST_MALFORMED

EMAIL_UNUSABLE = RefusalKind(
    "call_email_unusable",
    422,
    "Alamat surel ini tidak dapat dipakai; periksa penulisannya.",
    "This e-mail address cannot be used; check how it is written.",
)
PHONE_UNUSABLE = RefusalKind(
    "call_phone_unusable",
    422,
    "Nomor ponsel ini tidak dapat dipakai; tulis nomor ponsel Indonesia, seperti 0812-3456-7890.",
    "This phone number cannot be used; write an Indonesian mobile number, such as 0812-3456-7890.",
)
CHANNEL_NOT_OFFERED = RefusalKind(
    "call_channel_not_offered",
    422,
    "Jalur ini tidak memanggil ke alamat atau nomor seperti ini; lihat di {room} lewat apa Anda dapat dipanggil.",
    "This lane calls nobody at such an address or number; see at {room} how you can be called.",
)
CALLS_NOT_OFFERED = RefusalKind(
    "calls_not_offered",
    409,
    "Panggilan tidak tersedia untuk jalur atau nomor ini; simpan kode Anda dan lihat lagi nanti.",
    "Calls are not offered for this lane or number; keep your code and look again later.",
)
CALLS_TOO_MANY = RefusalKind(
    "calls_too_many",
    429,
    "Terlalu banyak panggilan diminta dari jaringan, untuk alamat, atau untuk nomor ponsel ini; ulangi dalam "
    "{retry_after_s} detik.",
    "Too many calls were asked for from this network, for this address or for this phone; try again in "
    "{retry_after_s} seconds.",
)
CALL_MADE_ALREADY = RefusalKind(
    "call_made_already",
    409,
    "Anda sudah dipanggil, dan tidak dipanggil lagi: giliran Anda sudah dekat; tetaplah di halaman {room}.",
    "You were called already, and are not called again: your turn is near; stay on the page {room}.",
)
EMAIL_LENGTH_MAX = 254
PHONE_AGAIN_S = 3_600
_NAMES = {EMAIL: ("surel", "e-mail"), "whatsapp": ("WhatsApp", "WhatsApp"), "sms": ("SMS", "SMS")}
_ATOM, _LABEL = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+", r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@({_LABEL}\.){{1,4}}[A-Za-z][A-Za-z0-9-]{{0,61}}[A-Za-z0-9]")
"""A dot-atom of RFC 5322, without what could begin an encoded word (RFC 2047), at a domain with a dot in it."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Where somebody wants to be called: one of the two, the other is empty."""

    email: str = ""
    phone: str = ""

    @classmethod
    def typed(cls, text: str) -> Contact:
        """What somebody has typed into the one field of the page."""
        return cls(email=text.strip()) if "@" in text else cls(phone=text.strip())


def ways_of(call_by: Sequence[str]) -> tuple[str, str]:
    """How people are called, as a sentence says it in both languages: `surel, WhatsApp atau SMS`."""
    names = [_NAMES.get(way, (way, way)) for way in call_by]
    return _listed([id_ for id_, _ in names], "atau"), _listed([en for _, en in names], "or")


async def wish(
    db: Database, bounds: CallBounds, now: NowServing, *, ticket: Ticket, contact: Contact, address: str
) -> None:
    """Remember to call the holder of a ticket, who asks from a network address.

    Raises `calls_not_offered`, `call_channel_not_offered`, `call_email_unusable`, `call_phone_unusable`,
    `calls_too_many`, `call_made_already`, `request_malformed`.
    """
    turn = now.turn_of(ticket.number)
    if not now.calls or now.state == "closed" or (turn is not None and turn <= now.now_serving):
        raise CALLS_NOT_OFFERED()
    usable = _usable(now, contact)
    wait_s = bounds.take(address, usable.email or usable.phone, time.monotonic())
    if wait_s:
        raise CALLS_TOO_MANY(retry_after_s=int(wait_s) + 1)
    place = now.lane, ticket.number
    # A message costs its receiver's peace, and money: however many processes and networks ask for one number.
    if usable.phone and await call_store.calls_of_phone(db, usable.phone, beside=place) >= CALLS_OF_ONE:
        raise CALLS_TOO_MANY(retry_after_s=PHONE_AGAIN_S)
    if not await call_store.add_call(db, *place, turn, usable.email or None, phone=usable.phone or None):
        raise CALL_MADE_ALREADY(room=room_path(now.lane))


def _usable(now: NowServing, contact: Contact) -> Contact:
    """The contact in the form in which it is kept, if people of this lane may be called there."""
    if contact.email and contact.phone:
        raise REQUEST_MALFORMED(detail="either `email` or `phone` is wanted, not both")
    offered = {"email" if way == EMAIL else "phone" for way in now.call_by}
    if ("phone" if contact.phone else "email" if contact.email else "") not in offered:
        raise CHANNEL_NOT_OFFERED(room=room_path(now.lane))
    if contact.email:
        if len(contact.email) > EMAIL_LENGTH_MAX or _EMAIL.fullmatch(contact.email) is None:
            raise EMAIL_UNUSABLE()
        return contact
    phone = indonesian_mobile(contact.phone)
    if phone is None:
        raise PHONE_UNUSABLE()
    return Contact(phone=phone)


def _listed(names: Sequence[str], last: str) -> str:
    return f" {last} ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
