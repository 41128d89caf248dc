"""A form as a page shows it again: what the person typed and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
