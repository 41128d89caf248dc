"""What people type about themselves, made canonical or refused: name, e-mail, phone, time zone, a key's label.

Canonical means: the same thing typed in two ways becomes one value, and canonical values stay as they are. Nothing
canonical holds a control, format, surrogate or unassigned character, so every value fits a PostgreSQL `text`.
"""

from __future__ import annotations

import re
import unicodedata

from emeterai.accounts.model import Timezone
from emeterai.core.phone import canonical_phone
from emeterai.core.refusal import RefusalKind, Refused

NAME_LENGTH_MAX = 120
LABEL_LENGTH_MAX = 80
EMAIL_LENGTH_MAX = 254
LOCAL_PART_LENGTH_MAX = 64

NAME_UNUSABLE = RefusalKind(
    "name_unusable",
    422,
    "Tulis nama Anda dengan huruf, paling panjang {length_max} karakter.",
    "Write your name in letters, at most {length_max} characters.",
)
NAME_IS_NUMBER = RefusalKind(
    "name_is_number",
    422,
    "Tulis nama, bukan nomor: kami tidak meminta dan tidak menyimpan NIK.",
    "Write a name, not a number: we neither ask for nor keep identity numbers.",
)
CONTACT_NEEDED = RefusalKind(
    "contact_needed",
    422,
    "Tulis alamat surel atau nomor telepon Anda; salah satu sudah cukup.",
    "Write your e-mail address or phone number; either is enough.",
)
EMAIL_UNUSABLE = RefusalKind(
    "email_unusable",
    422,
    "Periksa alamat surel Anda: bentuknya seperti nama@contoh.id.",
    "Check your e-mail address: it looks like name@example.id.",
)
PHONE_UNUSABLE = RefusalKind(
    "phone_unusable",
    422,
    "Periksa nomor telepon Anda: bentuknya seperti 0812 3456 7890, atau +65... untuk nomor luar negeri.",
    "Check your phone number: it looks like 0812 3456 7890, or +65... for a number abroad.",
)
TIMEZONE_UNKNOWN = RefusalKind(
    "timezone_unknown",
    422,
    "Pilih zona waktu WIB, WITA, atau WIT.",
    "Choose the time zone WIB, WITA or WIT.",
)
LABEL_UNUSABLE = RefusalKind(
    "label_unusable",
    422,
    "Beri kunci ini nama, paling panjang {length_max} karakter, agar Anda mengenalinya nanti.",
    "Give this key a name, at most {length_max} characters, so that you know it again later.",
)

_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\"\\]+"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])?"
)
_IDENTITY_NUMBER = re.compile(r"(?<!\d)(?:\d[\s.\-]?){15}\d(?!\d)")


def has_unprintable(text: str) -> bool:
    """Whether a control, format, surrogate, private or unassigned character is in `text`."""
    if text.isascii():
        return not text.isprintable()
    return any(unicodedata.category(character).startswith("C") for character in text)


def _one_line(text: str, length_max: int) -> str:
    """`text` in NFC with single spaces, or nothing when it is longer than `length_max`; only so much work is done."""
    line = " ".join(unicodedata.normalize("NFC", text[: length_max * 4 + 1]).split())
    return "" if len(text) > length_max * 4 or len(line) > length_max else line


def clean_name(typed: str) -> str:
    """A person's name in NFC with single spaces. Refuses emptiness, bounds, unprintables and identity numbers."""
    name = _one_line(typed, NAME_LENGTH_MAX)
    if re.fullmatch(r"[\d\s.\-]*\d[\d\s.\-]*", name) or _IDENTITY_NUMBER.search(name):
        raise NAME_IS_NUMBER()
    if has_unprintable(name) or not any(character.isalpha() for character in name):
        raise NAME_UNUSABLE(length_max=NAME_LENGTH_MAX)
    return name


def clean_label(typed: str) -> str:
    """The label of a key in NFC with single spaces. Refuses emptiness, bounds and unprintables."""
    label = _one_line(typed, LABEL_LENGTH_MAX)
    if not label or has_unprintable(label):
        raise LABEL_UNUSABLE(length_max=LABEL_LENGTH_MAX)
    return label


def clean_email(typed: str) -> str:
    """An e-mail address in NFKC and lower case: one mailbox, one value. Refuses what cannot be an address."""
    if len(typed) > EMAIL_LENGTH_MAX * 2:
        raise EMAIL_UNUSABLE()
    email = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", typed.strip()).lower())
    local_part = email.partition("@")[0]
    too_long = len(email) > EMAIL_LENGTH_MAX or len(local_part) > LOCAL_PART_LENGTH_MAX
    if too_long or has_unprintable(email) or ".." in email or not _EMAIL.fullmatch(email):
        raise EMAIL_UNUSABLE()
    return email


def clean_phone(typed: str) -> str:
    """A phone number in E.164. Numbers without a country are Indonesian: 08..., 8..., 62... become +62...."""
    phone = canonical_phone(typed)
    if phone is None:
        raise PHONE_UNUSABLE()
    return phone


def clean_email_and_phone(email: str | None, phone: str | None) -> tuple[str | None, str | None]:
    """The e-mail address and the phone number, at least one of which is there; a blank one is None."""
    clean = (
        clean_email(email) if email and email.strip() else None,
        clean_phone(phone) if phone and phone.strip() else None,
    )
    if clean == (None, None):
        raise CONTACT_NEEDED()
    return clean


def clean_contact(typed: str) -> str:
    """An e-mail address or a phone number, whichever it is, canonical. Raises the refusal that helps most."""
    shown = unicodedata.normalize("NFKC", typed[: EMAIL_LENGTH_MAX * 2])
    if "@" in shown:
        return clean_email(typed)
    if any(character.isalpha() for character in shown) or not shown.strip():
        raise CONTACT_NEEDED()
    return clean_phone(typed)


def masked_contact(contact: str) -> str:
    """A canonical contact as a history may keep it: who knows it recognises it, and nobody can write to it."""
    local, at, domain = contact.partition("@")
    return f"{local[:1]}***@{domain}" if at else f"{contact[:3]}***{contact[-2:]}"


def known_contact(typed: str) -> str | None:
    """A contact as it would be stored; None when nobody can have it."""
    try:
        return clean_contact(typed)
    except Refused:
        return None


def clean_timezone(typed: str) -> Timezone:
    """The zone, typed as WIB, WITA or WIT in any case, or by its IANA name."""
    name = typed.strip()
    if name.upper() in Timezone.__members__:
        return Timezone[name.upper()]
    try:
        return Timezone(name)
    except ValueError:
        raise TIMEZONE_UNKNOWN() from None
