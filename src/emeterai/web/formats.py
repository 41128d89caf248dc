"""How numbers, money, sizes and times are written for people: Indonesian first, English where a sentence is English."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from babel import Locale
from babel.numbers import format_decimal
from markupsafe import Markup

# Indonesia has no daylight saving time, so fixed offsets are exact and need no zone files on the machine.
ZONES: Mapping[str, timezone] = {
    "Asia/Jakarta": timezone(timedelta(hours=7), "WIB"),
    "Asia/Makassar": timezone(timedelta(hours=8), "WITA"),
    "Asia/Jayapura": timezone(timedelta(hours=9), "WIT"),
}
"""The three time zones a person may choose: IANA name to zone, whose `tzname` is the name people use."""
ZONE_DEFAULT = "Asia/Jakarta"

_MONTHS: Mapping[str, Mapping[int, str]] = {
    language: Locale(language).months["format"]["abbreviated"] for language in ("id", "en")
}
_UNITS = ("byte", "kB", "MB", "GB")
_MINUS = "\N{MINUS SIGN}"


@lru_cache(maxsize=4096)
def number(value: int | Decimal, language: str = "id") -> str:
    """The number with the grouping of the language: 1.234.567 in Indonesian, 1,234,567 in English."""
    return str(format_decimal(value, locale=language)).replace("-", _MINUS)


def signed(value: int) -> str:
    """The number in Indonesian with its sign always written: +1, 0, or a true minus sign before 1."""
    return f"+{number(value)}" if value > 0 else number(value)


def rupiah(amount_idr: int, language: str = "id") -> str:
    """Whole rupiah: Rp10.000 in Indonesian, Rp10,000 in English; the minus stands before the Rp."""
    sign = _MINUS if amount_idr < 0 else ""
    return f"{sign}Rp{number(abs(amount_idr), language)}"


def size(size_bytes: int, language: str = "id") -> str:
    """A size in decimal units with at most one decimal: 999 byte, 320 kB, 1,5 MB."""
    value, unit = Decimal(size_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{number(value.quantize(Decimal('0.1'), ROUND_HALF_UP).normalize(), language)} {_UNITS[unit]}"


def moment(at: datetime, zone: str = ZONE_DEFAULT, language: str = "id") -> str:
    """The time to the minute in the person's zone: `21 Nov 2026 19.07 WIB`, in English `21 Nov 2026, 19:07 WIB`.

    Raises ValueError for a naive time and KeyError for a zone that is not in `ZONES`.
    """
    if at.tzinfo is None:
        raise ValueError("a time shown to people must know its zone")
    here = at.astimezone(ZONES[zone])
    clock = f"{here:%H:%M}" if language == "en" else f"{here:%H.%M}"
    comma = "," if language == "en" else ""
    return f"{here.day} {_MONTHS[language][here.month]} {here.year}{comma} {clock} {here.tzname()}"


def moment_html(at: datetime, zone: str = ZONE_DEFAULT, language: str = "id") -> Markup:
    """`moment` inside a `time` element that carries the exact time in UTC."""
    shown = moment(at, zone, language)
    return Markup('<time datetime="{}">{}</time>').format(f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", shown)
