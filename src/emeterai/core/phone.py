"""Phone numbers in one form: E.164, Indonesian where no country is said. Pure."""

from __future__ import annotations

import re
import unicodedata

TYPED_LENGTH_MAX = 32
_PHONE = re.compile(r"\+(?:62[1-9][0-9]{6,11}|(?!62)[1-9][0-9]{7,14})")
_MOBILE = re.compile(r"\+628[0-9]{8,11}")
_PUNCTUATION = re.compile(r"[\s.()\-\u2010-\u2015]+")


def canonical_phone(typed: str) -> str | None:
    """A phone number in E.164; None for what is none. 08..., 8..., 62... without a country become +62...."""
    if len(typed) > TYPED_LENGTH_MAX:
        return None
    digits = _PUNCTUATION.sub("", unicodedata.normalize("NFKC", typed))
    for prefix, meant in (("00", "+"), ("0", "+62"), ("62", "+62"), ("8", "+628")):
        if digits.startswith(prefix):
            digits = meant + digits.removeprefix(prefix)
            break
    if digits.startswith("+620"):
        digits = "+62" + digits.removeprefix("+620")
    return digits if _PHONE.fullmatch(digits) else None


def indonesian_mobile(typed: str) -> str | None:
    """An Indonesian mobile number as `+628...`, which can get a short message; None for any other."""
    phone = canonical_phone(typed)
    return phone if phone is not None and _MOBILE.fullmatch(phone) else None
