"""A form as a page shows it again: what the person typed and what is wrong with it; and numbers as people type them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_WHOLE = re.compile(r"[0-9]+|[0-9]{1,3}(?P<mark>[. ])[0-9]{3}(?:(?P=mark)[0-9]{3})*")


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: its name and one sentence in each language that says how to put it right."""

    field: str
    id: str
    en: str


@dataclass(frozen=True, slots=True)
class Form:
    """The values typed so far and the errors found; `Form()` is the empty form of a first visit."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()

    def value(self, name: str, default: str = "") -> str:
        """What the person typed in the field, or the default."""
        return self.values.get(name, default)

    def error(self, name: str) -> FieldError | None:
        """The first error of the field, or None."""
        return next((error for error in self.errors if error.field == name), None)


def whole_number(typed: str, *, digits_max: int) -> int | None:
    """A whole number as people type it: 1000, 1.000 or 1 000. None for more digits, and for all that is none.

    Dots and blanks stand before three digits only: 1.5 is not fifteen, nor 50000.00 five million.
    """
    tidy = typed.strip()
    if _WHOLE.fullmatch(tidy) is None:
        return None
    digits = tidy.replace(".", "").replace(" ", "")
    return int(digits) if len(digits) <= digits_max else None
